//! An upstream's answer on its way to the client.

use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SERVER, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, StatusCode, Version};
use smallvec::SmallVec;

use super::bodies;
use super::hop_by_hop::{self, has_token};
use super::hosts::InFlight;
use super::request::via;
use super::tunnel::Tunnels;
use crate::http::{Exchange, HandlerError, Response, ResponseHeaderOps};

/// What the proxy does to every answer that it passes on. `copy_response` does the same later.
pub struct Finish {
    /// `header_down`.
    pub headers: Option<ResponseHeaderOps>,
    /// What becomes of connections that change their protocol.
    pub tunnels: Tunnels,
}

/// An upstream's answer as it came.
pub struct Answer {
    /// Head and body.
    pub response: Response,
    /// Counts the request for as long as its answer lasts.
    pub running: InFlight,
}

/// An upstream's answer that `handle_response` routes may pass on after all.
pub struct HeldAnswer {
    /// The answer.
    pub answer: Answer,
    /// What is still to be done to it.
    pub finish: Arc<Finish>,
}

impl HeldAnswer {
    /// Takes the answer that is held back for the request, if there is one.
    pub fn take(x: &mut Exchange) -> Option<Self> {
        x.held.take().and_then(|held| held.downcast().ok()).map(|held| *held)
    }

    /// The answer that is held back for the request.
    pub fn peek(x: &Exchange) -> Option<&Self> {
        x.held.as_ref().and_then(|held| held.downcast_ref())
    }
}

impl Finish {
    /// Makes the client's answer of the upstream's.
    ///
    /// # Errors
    /// A 502 for a change of protocol that can't be.
    pub fn finish(&self, x: &mut Exchange, answer: Answer) -> Result<Response, HandlerError> {
        let Answer { mut response, running } = answer;
        let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let protocol = response.headers().get(UPGRADE).filter(|_| is_upgrade).cloned();
        remove_hop_by_hop(&mut response);
        if is_upgrade {
            self.tunnels.begin(x, &mut response, protocol.as_ref(), running)?;
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.extend(protocol.map(|protocol| (UPGRADE, protocol)));
            merge(&mut x.response_headers, response.headers_mut());
            return Ok(response);
        }
        let mut gathered = std::mem::take(&mut x.response_headers);
        if let Some(headers) = &self.headers {
            headers.apply_to(x, &mut response);
        }
        gathered.remove(SERVER);
        let version = response.version();
        add_via(version, response.headers_mut());
        merge(&mut gathered, response.headers_mut());
        x.response_headers = gathered;
        *response.version_mut() = Version::default();
        // Over HTTP/2 too, where our own answers keep it.
        if response.status() == StatusCode::NOT_MODIFIED {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = bodies::counted(body, running);
        Ok(response)
    }
}

/// Removes what concerns only the upstream's connection.
fn remove_hop_by_hop(response: &mut Response) {
    // Trailers are announced again if they can come at all.
    let may_come = response.version() == Version::HTTP_2
        || has_token(response.headers(), &TRANSFER_ENCODING, b"chunked");
    let announced = response.headers().get(TRAILER).filter(|_| may_come).cloned();
    hop_by_hop::remove(response.headers_mut());
    response.headers_mut().extend(announced.map(|trailer| (TRAILER, trailer)));
}

/// Adds us to the upstream's own `Via`, before what it says there.
fn add_via(version: Version, headers: &mut HeaderMap) {
    put_before(headers, VIA, HeaderValue::from_static(via(version)));
}

/// Puts the fields that handlers have gathered before the upstream's of the same name.
fn merge(gathered: &mut HeaderMap, headers: &mut HeaderMap) {
    if gathered.is_empty() {
        return;
    }
    let mut name = None;
    let mut values: SmallVec<[HeaderValue; 2]> = SmallVec::new();
    let mut flush = |name: Option<HeaderName>, values: &mut SmallVec<[HeaderValue; 2]>| {
        if let Some(name) = name {
            for value in values.drain(..).rev() {
                put_before(headers, name.clone(), value);
            }
        }
    };
    for (next, value) in gathered.drain() {
        // Only the first of several values has the name with it.
        if next.is_some() {
            flush(name.take(), &mut values);
            name = next;
        }
        values.push(value);
    }
    flush(name, &mut values);
}

fn put_before(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        http::header::Entry::Vacant(vacant) => {
            vacant.insert(value);
        }
        http::header::Entry::Occupied(mut occupied) => {
            let theirs: SmallVec<[HeaderValue; 2]> = occupied.iter().cloned().collect();
            occupied.insert(value);
            for value in theirs {
                occupied.append(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Body;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn shown(map: &HeaderMap) -> Vec<String> {
        let mut lines = Vec::new();
        for name in map.keys() {
            let values: Vec<_> = map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            lines.push(format!("{name}: {}", values.join(" | ")));
        }
        lines.sort();
        lines
    }

    #[test]
    fn gathered_fields_come_before_the_upstreams() {
        let mut headers = map(&[("x-a", "up1"), ("x-a", "up2"), ("x-b", "up"), ("via", "1.0 cache")]);
        add_via(Version::HTTP_11, &mut headers);
        merge(&mut map(&[("x-a", "own1"), ("x-a", "own2"), ("x-c", "own")]), &mut headers);
        let expected = ["via: 1.1 Caddy | 1.0 cache", "x-a: own1 | own2 | up1 | up2", "x-b: up", "x-c: own"];
        assert_eq!(shown(&headers), expected);
    }

    #[test]
    fn fields_of_the_upstreams_connection_stay_behind() {
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = map(&[
            ("connection", "X-Private, keep-alive, content-length"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "X-T"),
            ("x-private", "1"),
            ("x-stay", "1"),
            ("content-length", "0"),
        ]);
        remove_hop_by_hop(&mut response);
        assert_eq!(shown(response.headers()), ["content-length: 0", "x-stay: 1"]);
    }

    #[test]
    fn trailers_are_announced_where_they_can_come() {
        let mut response = Response::new(Body::Empty);
        *response.headers_mut() = map(&[("transfer-encoding", "chunked"), ("trailer", "X-Sum")]);
        remove_hop_by_hop(&mut response);
        assert_eq!(shown(response.headers()), ["trailer: X-Sum"]);
    }
}
