//! Whether a request that failed is tried again, and when.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::upstreams::TargetError;
use crate::http::upstream::{UpstreamError, UpstreamErrorKind};
use crate::http::{BodyTooLarge, Exchange, HandlerError, MatcherSets};

/// What the configuration says of further attempts.
pub struct Retries {
    /// So many further attempts at most; 0 is no limit of its own.
    pub count_max: usize,
    /// Further attempts begin within this time.
    pub duration: Option<Duration>,
    /// The wait before each.
    pub interval: Option<Duration>,
    /// Requests that may be sent again although an upstream has seen them; GETs without any.
    pub request_match: Option<MatcherSets>,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No upstream is available.
    #[error("no upstreams available")]
    NoUpstream,
    /// The upstream's address, which depends on the request, is none.
    #[error("making dial info: upstream {name}: {source}")]
    Target {
        /// The upstream as it was written.
        name: String,
        /// What is wrong with its address.
        source: TargetError,
    },
    /// The request can't be sent at all.
    #[error("preparing request for upstream round-trip: {0}")]
    Request(String),
    /// The transport can't send such a request, and has its own answer to it.
    #[error("{}", .0.message())]
    Refused(HandlerError),
    /// The upstream gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It gave one that asks for another attempt.
    #[error("upstream response matched retry_match (status {})", .0.as_u16())]
    Answer(StatusCode),
}

impl Failure {
    /// What the client is told in the end.
    pub fn into_error(self) -> HandlerError {
        if let Self::Refused(error) = self {
            return error;
        }
        let status = match &self {
            Self::NoUpstream => StatusCode::SERVICE_UNAVAILABLE,
            Self::Answer(status) => *status,
            Self::Upstream(error) => match &error.kind {
                UpstreamErrorKind::Timeout(_) | UpstreamErrorKind::HeadLate => StatusCode::GATEWAY_TIMEOUT,
                UpstreamErrorKind::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                UpstreamErrorKind::RequestBody(error) if error.is::<BodyTooLarge>() => {
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                UpstreamErrorKind::RequestBody(_) => StatusCode::BAD_REQUEST,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Target { .. } | Self::Request(_) | Self::Refused(_) => StatusCode::BAD_GATEWAY,
        };
        HandlerError::new(status, self)
    }

    /// Whether it is the upstream's fault. A client whose body breaks off must not take an upstream
    /// out of service.
    pub fn is_upstreams_fault(&self) -> bool {
        match self {
            Self::Upstream(error) => !matches!(error.kind, UpstreamErrorKind::RequestBody(_)),
            _ => false,
        }
    }
}

impl Retries {
    /// Whether there may be more than one attempt.
    pub fn are_possible(&self) -> bool {
        self.count_max > 0 || self.duration.is_some()
    }

    /// Waits for the next attempt, if there is to be one after `failure`.
    pub async fn wait(&self, x: &mut Exchange, failure: &Failure, started: Instant, retries: usize) -> bool {
        if !self.are_possible()
            || self.duration.is_some_and(|duration| started.elapsed() >= duration)
            || (self.count_max > 0 && retries >= self.count_max)
            || !self.is_allowed(x, failure).await
        {
            return false;
        }
        if let Some(interval) = self.interval {
            tokio::time::sleep(interval).await;
        }
        true
    }

    /// Whether another attempt does no harm, or is asked for all the same.
    async fn is_allowed(&self, x: &mut Exchange, failure: &Failure) -> bool {
        match failure {
            Failure::NoUpstream | Failure::Answer(_) => true,
            Failure::Target { .. } | Failure::Request(_) | Failure::Refused(_) => false,
            Failure::Upstream(error) if matches!(error.kind, UpstreamErrorKind::RequestBody(_)) => false,
            Failure::Upstream(error) if !error.reached => true,
            Failure::Upstream(_) => match &self.request_match {
                None => x.method == Method::GET,
                Some(sets) => matches_failed(sets, x).await,
            },
        }
    }
}

async fn matches_failed(sets: &MatcherSets, x: &mut Exchange) -> bool {
    if let Some(info) = &mut x.upstream {
        info.is_transport_error = true;
    }
    let matched = sets.matches_after_lookups(x).await.unwrap_or_else(|error| {
        tracing::error!(%error, "matching request for retry");
        false
    });
    if let Some(info) = &mut x.upstream {
        info.is_transport_error = false;
    }
    matched
}
