//! Integration tests.

mod adapt;
mod demo;
mod entrypoint;
mod images;
mod readme;
mod support;
mod tidy;
