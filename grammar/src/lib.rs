//! The Caddyfile language.
//!
//! [`parse`] turns a text into [`ServerBlock`]s of [`Token`]s, with snippets and imports put in; a [`Cursor`] reads the
//! tokens of a directive; an [`Error`] knows its place in the file; [`format()`] lays a file out.
//!
//! What this crate never does: it knows no directive and nothing of HTTP or JSON, starts no thread, and reads files and
//! environment only through [`Files`] and [`Env`].

mod args;
mod block;
mod cursor;
mod env;
mod files;
mod format;
mod glob;
mod glyphs;
mod graph;
mod heredoc;
mod import;
mod lexer;
pub mod limits;
mod mistakes;
mod report;
mod source;
mod suggest;
mod token;
mod tree;

pub use block::{Parsed, ServerBlock, parse, parse_on};
pub use cursor::{Cursor, Scalar, Segment};
pub use env::{Env, ProcessEnv};
pub use files::{DiskFiles, Files, NoFiles};
pub use format::{first_unformatted_line, format, keeps_tokens};
pub use mistakes::{MISTAKES_MAX, Mistakes};
pub use report::{Error, Place, Warning};
pub use source::{FileId, LineCol, SourceFile, SourceMap, Span, decode};
pub use suggest::nearest;
pub use token::{EnvPiece, Origin, Quote, Token};
