//! Caddyfile blocks to configuration: what the directives and options of a Caddyfile mean in Caddy's JSON.
//!
//! This layer knows no runtime, and by itself no directive: what can be written reaches it as the rows of a
//! [`Vocabulary`], which [`crate::modules`] fills. The JSON that comes out is Caddy's, so that a Caddyfile and a
//! JSON file meet before anything is provisioned.

mod directive;
mod go_sort;
mod helper;
mod literal;
mod matchers;
mod options;
mod reader;
mod routes;
mod value;
mod vocabulary;

pub use directive::{Directive, GlobalOption, MatcherSyntax, Parse, SubmoduleSyntax};
pub use helper::{Helper, MatcherToken};
pub use literal::{STAR, matcher_text};
pub use options::{AutoHttpsOption, Options, ServerOptions, StorageClean};
pub use reader::{MatcherReader, OptionReader, SubmoduleReader};
pub use tollgate_grammar::{Cursor, Error, Scalar, Segment, Token, Warning};
pub use value::{Bind, ConfigValue, NamedLog};
pub use vocabulary::Vocabulary;
