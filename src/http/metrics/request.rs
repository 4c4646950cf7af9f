//! One request that is counted: from the first route that counts it to the end of the answer.

use std::sync::Arc;
use std::time::Instant;

use http::{StatusCode, header};
use smallvec::SmallVec;

use super::RouteCounts;
use super::series::{Ended, Series};
use crate::http::error::CLIENT_LEFT;
use crate::http::{Body, Exchange, Handler, Outcome, Response, Step, Watch};
use crate::metrics::method_place;

/// Counts the requests that enter a route.
pub(in crate::http) struct Meter(Arc<RouteCounts>);

impl Meter {
    pub(super) fn new(counts: Arc<RouteCounts>) -> Self {
        Self(counts)
    }
}

impl Handler for Meter {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let series = self.0.of(x.host(), x.conn.tls.is_some());
        series.begin();
        let request = match x.metered.take() {
            Some(metered) => metered,
            None => Box::new(Metered::new(x)),
        };
        x.metered.insert(request).routes.push((series, Instant::now()));
        Step::Now(Outcome::Next)
    }
}

/// A request that is being counted. Dropped before it has ended, its client has left.
pub struct Metered {
    /// Where it is counted, and since when.
    routes: SmallVec<[(Arc<Series>, Instant); 2]>,
    method: usize,
    request_bytes: u64,
    /// The status of the answer that is being sent.
    status: Option<StatusCode>,
    response_bytes: u64,
    has_failed: bool,
}

impl Metered {
    fn new(x: &Exchange) -> Self {
        Self {
            routes: SmallVec::new(),
            method: method_place(x.method.as_str()),
            request_bytes: request_bytes(x),
            status: None,
            response_bytes: 0,
            has_failed: false,
        }
    }

    /// The routes have failed: what the client gets is none of theirs.
    pub(in crate::http) fn failed(mut self, status: StatusCode) {
        self.has_failed = true;
        self.status = Some(status);
    }

    /// There is an answer; the request is counted when its body has been sent.
    pub(in crate::http) fn answered(mut self: Box<Self>, response: &mut Response) {
        let status = response.status();
        self.status = Some(status);
        for (series, since) in &self.routes {
            series.answered(self.method, status, since.elapsed());
        }
        match response.body() {
            Body::Empty => {}
            Body::Full(bytes) => self.response_bytes = bytes.len() as u64,
            _ => {
                let body = std::mem::take(response.body_mut());
                *response.body_mut() = body.watched(self);
            }
        }
    }
}

impl Watch for Box<Metered> {
    fn passed(&mut self, data: &[u8]) {
        self.response_bytes += data.len() as u64;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let left = StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST);
        for (series, since) in &self.routes {
            series.end(&Ended {
                method: self.method,
                status: self.status.unwrap_or(left),
                duration: since.elapsed(),
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
                has_failed: self.has_failed || self.status.is_none(),
            });
        }
    }
}

/// About as many bytes as the request has, by what it says itself.
fn request_bytes(x: &Exchange) -> u64 {
    let target = x.uri.path_and_query().map_or(1, |target| target.as_str().len());
    // `HTTP/1.1` has eight letters, and every other version too.
    let mut bytes = target + x.method.as_str().len() + 8;
    for (name, value) in &x.headers {
        // The host has no name in HTTP/2, and counts without it.
        bytes += if name == header::HOST { 0 } else { name.as_str().len() } + value.len();
    }
    let body =
        x.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    (bytes as u64).saturating_add(body.unwrap_or(0))
}
