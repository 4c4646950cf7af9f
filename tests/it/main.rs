//! Integration tests.

mod adapt;
mod entrypoint;
mod images;
mod readme;
mod support;
mod tidy;
