//! The numbers of one server, route and host.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::metrics::{Histogram, Kind, METHODS, Snapshot};

/// Nanoseconds, as Prometheus's clients have them if nothing else is said.
static DURATIONS: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Bytes.
static SIZES: [u64; 8] = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304];

/// The numbers of one server, route and host.
#[derive(Default)]
pub(in crate::http) struct Series {
    in_flight: AtomicI64,
    requests: AtomicU64,
    errors: AtomicU64,
    /// By method, what is told apart by status.
    by_status: [List; METHODS.len()],
}

/// A list that only grows, so that it can be walked without a lock. It has as many members as there
/// are different statuses.
#[derive(Default)]
struct List(OnceLock<Box<Member>>);

struct Member {
    status: StatusCode,
    answers: Answers,
    next: List,
}

/// What is told apart by method and status.
struct Answers {
    request_duration: Histogram<{ DURATIONS.len() }>,
    response_duration: Histogram<{ DURATIONS.len() }>,
    request_size: Histogram<{ SIZES.len() }>,
    response_size: Histogram<{ SIZES.len() }>,
    has_head: std::sync::atomic::AtomicBool,
}

impl Answers {
    fn new() -> Self {
        let durations = || Histogram::new(&DURATIONS, 1e-9);
        let sizes = || Histogram::new(&SIZES, 1.0);
        Self {
            request_duration: durations(),
            response_duration: durations(),
            request_size: sizes(),
            response_size: sizes(),
            has_head: std::sync::atomic::AtomicBool::new(false),
        }
    }
}

/// A request that has ended.
pub(super) struct Ended {
    pub(super) method: usize,
    pub(super) status: StatusCode,
    pub(super) duration: Duration,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) has_failed: bool,
}

impl Series {
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The head of an answer has gone out.
    pub(super) fn answered(&self, method: usize, status: StatusCode, after: Duration) {
        let answers = self.answers(method, status);
        answers.has_head.store(true, Ordering::Relaxed);
        answers.response_duration.observe(nanoseconds(after));
    }

    pub(super) fn end(&self, ended: &Ended) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        if ended.has_failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        let answers = self.answers(ended.method, ended.status);
        answers.request_duration.observe(nanoseconds(ended.duration));
        answers.request_size.observe(ended.request_bytes);
        answers.response_size.observe(ended.response_bytes);
    }

    fn answers(&self, method: usize, status: StatusCode) -> &Answers {
        let mut list = &self.by_status[method];
        loop {
            let member = list
                .0
                .get_or_init(|| Box::new(Member { status, answers: Answers::new(), next: List::default() }));
            if member.status == status {
                return &member.answers;
            }
            list = &member.next;
        }
    }

    pub(super) fn collect(&self, into: &mut Snapshot, server: &str, handler: &str, host: Option<&str>) {
        let (requests, in_flight) =
            (self.requests.load(Ordering::Relaxed), self.in_flight.load(Ordering::Relaxed));
        if requests == 0 && in_flight == 0 {
            return;
        }
        let mut labels = vec![("handler", handler), ("server", server)];
        if let Some(host) = host {
            labels.insert(1, ("host", host));
        }
        into.family(
            "caddy_http_requests_in_flight",
            Kind::Gauge,
            "Number of requests currently handled by this server.",
        )
        .number(&labels, in_flight as f64);
        let mut count = |name, help, count: u64| {
            if count > 0 {
                into.family(name, Kind::Counter, help).number(&labels, count as f64);
            }
        };
        count("caddy_http_requests_total", "Counter of HTTP(S) requests made.", requests);
        count(
            "caddy_http_request_errors_total",
            "Number of requests resulting in middleware errors.",
            self.errors.load(Ordering::Relaxed),
        );
        for (list, method) in self.by_status.iter().zip(METHODS) {
            let mut next = list.0.get();
            while let Some(member) = next {
                let mut labels = vec![("code", member.status.as_str())];
                labels.push(("handler", handler));
                labels.extend(host.map(|host| ("host", host)));
                labels.extend([("method", method), ("server", server)]);
                member.answers.collect(into, &labels);
                next = member.next.0.get();
            }
        }
    }
}

impl Answers {
    fn collect(&self, into: &mut Snapshot, labels: &[(&str, &str)]) {
        into.family(
            "caddy_http_request_duration_seconds",
            Kind::Histogram,
            "Histogram of round-trip request durations.",
        )
        .histogram(labels, &self.request_duration);
        into.family(
            "caddy_http_request_size_bytes",
            Kind::Histogram,
            "Total size of the request. Includes body",
        )
        .histogram(labels, &self.request_size);
        into.family("caddy_http_response_size_bytes", Kind::Histogram, "Size of the returned response.")
            .histogram(labels, &self.response_size);
        if self.has_head.load(Ordering::Relaxed) {
            into.family(
                "caddy_http_response_duration_seconds",
                Kind::Histogram,
                "Histogram of times to first byte in response bodies.",
            )
            .histogram(labels, &self.response_duration);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
