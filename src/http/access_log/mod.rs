//! What a server logs of its requests: access logs, and errors that no route dealt with.
//!
//! A server without access logs pays one look at an `Option` for each request. With them, the request
//! is taken down before any handler can change it, and written when the answer has gone.

mod entry;
mod fields;
mod names;
mod redaction;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};

pub use entry::{AccessEntry, BodyForm, LOGGED_BODY_BYTES_MAX, LateField, LogField};

use fields::RequestFields;
use names::{HostLoggers, LoggedHosts, without_port};
use redaction::Redaction;

use super::{Exchange, HandlerError, Provision, Response, Value};
use crate::config::http::ServerLogs;
use crate::log::{Fields, Level, Logger, Logging, Value as LogValue, Visitor};

/// The variable that, if true, keeps a request out of access logs.
pub const LOG_SKIP_VAR: &str = "log_skip";
/// The variable that names the loggers of a request, instead of its host's.
pub const LOGGER_NAMES_VAR: &str = "access_logger_names";

/// What became of a request in the routes.
#[derive(Debug)]
pub enum Fate {
    /// It was answered.
    Answered,
    /// It failed; `handled` tells whether error routes answered.
    Failed {
        /// Whether error routes answered.
        handled: bool,
    },
    /// It failed, and then the error routes did.
    FailedTwice(HandlerError),
}

/// A server's logs.
pub(super) struct ServerLog {
    access: Option<Arc<Access>>,
    errors: HostLoggers,
    redaction: Redaction,
}

/// A server's access logs.
struct Access {
    loggers: HostLoggers,
    hosts: LoggedHosts,
    redaction: Redaction,
    /// For loggers that requests ask for.
    logging: Arc<Logging>,
}

impl ServerLog {
    /// The logs of a server whose routes have been provisioned, so that it is known what is secret.
    pub(super) fn provision(config: Option<&ServerLogs>, ctx: &Provision<'_>) -> Self {
        let logging = ctx.logging();
        let none = ServerLogs::default();
        let errors = HostLoggers::new("http.log.error", config.unwrap_or(&none), logging);
        let shows_all = config.is_some_and(|config| config.should_log_credentials);
        let redaction = Redaction { shows_all, sensitive: ctx.sensitive_names().clone() };
        let access = config.map(|config| Access {
            loggers: HostLoggers::new("http.log.access", config, logging),
            hosts: LoggedHosts::new(config),
            redaction: redaction.clone(),
            logging: logging.clone(),
        });
        // Nothing is taken down that nobody would read.
        let access = access.filter(|access| {
            access.loggers.all().any(|logger| logger.enabled(Level::Fatal))
                || logging.listens_within("http.log.access")
        });
        Self { access: access.map(Arc::new), errors, redaction }
    }

    /// Begins to log a request, if it is to be logged. No handler has seen it yet.
    pub(super) fn begin(&self, x: &mut Exchange) {
        if let Some(access) = &self.access
            && access.hosts.contains(without_port(x.host()))
        {
            x.log = Some(AccessEntry::begin(access.clone(), x));
        }
    }

    /// Logs what became of a request.
    pub(super) fn finish(&self, x: &mut Exchange, mut response: Response, fate: &Fate) -> Response {
        match (fate, &x.error) {
            (Fate::Answered, _) | (_, None) => {}
            (Fate::Failed { handled }, Some(error)) => {
                let grave = !handled && error.status.is_server_error();
                let level = if grave { Level::Error } else { Level::Debug };
                self.log_error(x, level, &error.message(), &ErrorFields(error));
            }
            (Fate::FailedTwice(second), Some(first)) => {
                let fields = TwoErrors { first, second };
                self.log_error(x, Level::Error, "error handling handler error", &fields);
            }
        }
        let (Some(entry), Some(access)) = (x.log.take(), &self.access) else { return response };
        if x.vars.get(LOG_SKIP_VAR) == Some(&Value::Bool(true)) {
            entry.skip();
            return response;
        }
        let loggers = access.chosen_loggers(x);
        let status = response.status().as_u16();
        let body = std::mem::take(response.body_mut());
        // Placeholders find the answer's header fields where handlers put them.
        std::mem::swap(&mut x.response_headers, response.headers_mut());
        *response.body_mut() = entry.answered(x, loggers, status, body);
        std::mem::swap(&mut x.response_headers, response.headers_mut());
        response
    }

    fn log_error(&self, x: &Exchange, level: Level, message: &str, error: &dyn Fields) {
        for logger in self.errors.of(without_port(x.host())).iter().filter(|logger| logger.enabled(level)) {
            let (method, uri) = match &x.original {
                Some(original) => (&original.method, &original.uri),
                None => (&x.method, &x.uri),
            };
            // Without an access log the header fields are those that handlers have left.
            let request = x.log.as_ref().map_or(
                RequestFields {
                    conn: &x.conn,
                    client_ip: x.client_ip,
                    version: x.version,
                    method,
                    uri,
                    headers: &x.headers,
                    redaction: &self.redaction,
                },
                |entry| entry.request(),
            );
            logger.log(level, message, &Failure { request, duration: x.started.elapsed(), error });
        }
    }
}

impl Access {
    /// The loggers of the host that a request was for.
    fn loggers_of(&self, headers: &HeaderMap) -> &Arc<[Logger]> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        self.loggers.of(without_port(host))
    }

    /// The loggers that a request has asked for instead.
    fn chosen_loggers(&self, x: &Exchange) -> Option<Arc<[Logger]>> {
        let Some(Value::List(names)) = x.vars.get(LOGGER_NAMES_VAR) else { return None };
        let named =
            |name: &Value| self.loggers.named(&String::from_utf8_lossy(&name.to_text()), &self.logging);
        Some(names.iter().map(named).collect())
    }
}

/// A request that failed.
struct Failure<'a> {
    request: RequestFields<'a>,
    duration: Duration,
    error: &'a dyn Fields,
}

impl Fields for Failure<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.field("request", LogValue::Object(&self.request));
        visitor.field("duration", LogValue::Duration(self.duration));
        self.error.visit(visitor);
    }
}

/// The fields of one error.
struct ErrorFields<'a>(&'a HandlerError);

impl Fields for ErrorFields<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.field("status", LogValue::Uint(self.0.status.as_u16().into()));
        visitor.field("err_id", LogValue::text(self.0.id()));
        visitor.field("err_trace", LogValue::text(""));
    }
}

/// The fields of an error that error routes met while they dealt with another.
struct TwoErrors<'a> {
    first: &'a HandlerError,
    second: &'a HandlerError,
}

impl Fields for TwoErrors<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.field("error", LogValue::text(&self.second.to_string()));
        visitor.field("first_error", LogValue::Object(&WithMessage(self.first)));
    }
}

struct WithMessage<'a>(&'a HandlerError);

impl Fields for WithMessage<'_> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.field("msg", LogValue::text(&self.0.message()));
        ErrorFields(self.0).visit(visitor);
    }
}

#[cfg(test)]
mod tests;
