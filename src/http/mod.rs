//! The vocabulary of one request, and the engine that runs it.
//!
//! This layer never names a directive: handlers and matchers reach it as trait objects that
//! [`crate::modules`] provisions. No string is scanned for `{` here at request time, see
//! [`Template`].

mod access_log;
mod alias_fields;
mod body;
mod buffers;
mod chunked;
mod clock;
pub mod conn_info;
pub mod constant_time;
mod content_type;
mod encoding;
mod error;
mod exchange;
pub mod files;
mod gathered;
mod handler;
mod header_fields;
mod header_maps;
mod header_match;
mod header_ops;
mod interims;
mod keep_body;
mod lookup;
mod matcher;
mod metrics;
mod original;
mod per_worker;
mod placeholder;
mod provision;
mod reading;
pub mod regexp;
mod response_matcher;
mod rewrite;
mod routes;
mod sensitive;
pub mod serve;
mod server;
pub mod sniff;
mod spares;
mod strict_sni;
pub mod target;
mod template;
mod traced;
mod trusted_proxies;
mod unsupported;
mod upgrade;
pub mod upstream;
mod upstream_info;
mod values;
mod watched;

/// What can be said of the modules whose types are of this layer.
pub fn schemas() -> impl Iterator<Item = &'static crate::config::schema::ModuleSchema> {
    serve::wrappers::SCHEMAS.iter().chain(trusted_proxies::SCHEMAS)
}

pub use access_log::{
    AccessEntry, BodyForm, Fate, LOG_SKIP_VAR, LOGGED_BODY_BYTES_MAX, LOGGER_NAMES_VAR, LateField, LogField,
};
pub use body::{Body, BodyError, BodyTooLarge};
pub use conn_info::ConnInfo;
pub use encoding::{Encoder, Encoding, EncodingType};
pub use error::HandlerError;
pub use exchange::{Exchange, InterceptedAnswer, OriginalRequest};
pub use gathered::{Gathered, discard, gather, gather_arrived, repeat};
pub use handler::{
    Handler, HandlerType, Intercepted, Interception, Interceptor, Outcome, Response, ResponseFilter, Step,
    Untyped,
};
pub use header_fields::{FieldValue, Fields};
pub use header_match::{HeaderMatch, TextPattern};
pub use header_ops::{HeaderOps, ResponseHeaderOps};
pub use interims::{InterimWay, Interims};
pub use lookup::unblock;
pub use matcher::{Matcher, MatcherSet, MatcherSets, MatcherType, Need};
pub use metrics::{HttpMetrics, Metered};
pub use original::replace_status;
pub use per_worker::PerWorker;
pub use placeholder::{Placeholder, status_text};
pub use provision::{Background, NamedRoute, Provision, ProvisionError};
pub use response_matcher::{AnswerMatcher, ResponseMatcher, parse_status, status_matches};
pub use rewrite::Rewrite;
pub use routes::{ErrorRoutes, Route, Routes, run};
pub use sensitive::{SensitiveNames, is_environment_value};
pub use serve::{Engine, Listen, ListenError, Protocols, UnknownProtocol};
pub use server::{PRODUCT, Server, ServerHandle};
pub use template::{Part, Template, TemplateError, Unknown, header_value};
pub use upgrade::{ClientIo, Upgrade};
pub use upstream_info::{DialText, UpstreamField, UpstreamInfo};
pub use values::{NamedSource, Value, Vars};
pub use watched::Watch;
