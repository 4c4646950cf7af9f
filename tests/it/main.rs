//! Integration tests.

// A panic is how a test fails; clippy knows that only of the functions marked #[test].
#![allow(clippy::unwrap_used)]

mod adapt;
mod demo;
mod entrypoint;
mod images;
mod readme;
mod support;
mod tidy;
