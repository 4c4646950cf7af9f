//! Integration tests.

mod adapt;
mod entrypoint;
mod images;
mod support;
mod tidy;
