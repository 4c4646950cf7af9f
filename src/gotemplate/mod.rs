//! Templates in the language of Go's `text/template` (<https://pkg.go.dev/text/template>): text with
//! actions, which are read into a tree and then carried out.
//!
//! This layer knows the language, values and the functions that Go itself has. What else a template
//! may ask for, its [`Host`] answers. It does no I/O, and everything is bounded by a [`Budget`]: a
//! template that somebody else wrote may fail, and never fill the memory or run without end.

mod budget;
mod builtins;
mod eval;
mod format;
mod lex;
mod node;
mod parse;
mod value;

pub use budget::{Budget, TEXT_MAX};
pub use eval::{Host, Run, Templates};
pub use format::{float_text, quote};
pub use parse::Delimiters;
pub use value::{Map, Object, Value};

/// Why a template can't be read or carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with it.
    #[error("{0}")]
    Template(String),
    /// A function of the host has failed in a way that means something to the host.
    #[error("{0}")]
    Host(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An error that says this.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Template(message.into())
    }

    /// The same error, with the place in front.
    fn at(self, place: impl FnOnce() -> String) -> Self {
        match self {
            Self::Template(message) => Self::Template(format!("{}: {message}", place())),
            Self::Host(error) => Self::Host(error),
        }
    }
}

#[cfg(test)]
mod tests;
