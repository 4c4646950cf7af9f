//! Integration tests.

mod entrypoint;
mod images;
mod support;
