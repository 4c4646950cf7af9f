//! The vocabulary of one request, and the engine that runs it.
//!
//! This layer never names a directive: handlers and matchers reach it as trait objects that
//! [`crate::modules`] provisions. No string is scanned for `{` here at request time, see
//! [`Template`].

mod body;
pub mod conn_info;
mod error;
mod exchange;
mod handler;
mod matcher;
mod placeholder;
mod provision;
mod routes;
pub mod upstream;
mod upstream_info;

pub use body::{Body, BodyError};
pub use conn_info::ConnInfo;
pub use error::HandlerError;
pub use exchange::{Exchange, OriginalRequest, Value, Vars};
pub use handler::{Handler, HandlerType, Outcome, Response, ResponseFilter, Step};
pub use matcher::{Matcher, MatcherSet, MatcherSets, MatcherType};
pub use placeholder::{Placeholder, Template, Unknown};
pub use provision::{Provision, ProvisionError};
pub use routes::{ErrorRoutes, Route, Routes, run};
pub use upstream_info::{DialText, UpstreamField, UpstreamInfo};
