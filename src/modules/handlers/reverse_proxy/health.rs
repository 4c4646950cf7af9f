//! Upstreams that fail requests count as down for a while (`fail_duration` and the like).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::json::PassiveHealthChecks;
use super::upstreams::Upstream;
use crate::http::status_matches;

/// What counts as a failure, and for how long.
pub struct Passive {
    fail_duration: Option<Duration>,
    statuses: Box<[i64]>,
    latency: Option<Duration>,
    /// Failures go with the handler that saw them.
    alive: Arc<()>,
}

impl Passive {
    /// The checks that the JSON asks for.
    pub fn new(json: &PassiveHealthChecks) -> Self {
        Self {
            fail_duration: json.fail_duration.positive(),
            statuses: json.unhealthy_status.clone().into(),
            latency: json.unhealthy_latency.positive(),
            alive: Arc::new(()),
        }
    }

    /// Looks at an answer, and counts what is wrong with it.
    pub fn look_at(&self, upstream: &Upstream, status: StatusCode, latency: Duration) {
        for _ in self.statuses.iter().filter(|expected| status_matches(status, **expected)) {
            self.count_failure(upstream);
        }
        if self.latency.is_some_and(|limit| latency >= limit) {
            self.count_failure(upstream);
        }
    }

    /// Remembers a failure.
    pub fn count_failure(&self, upstream: &Upstream) {
        if let Some(duration) = self.fail_duration {
            upstream.host.fail(Instant::now() + duration, &self.alive);
        }
    }
}
