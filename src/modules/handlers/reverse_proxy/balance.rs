//! Which upstream gets a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderName;
use http::header::HOST;

use super::cookie::StickyCookie;
use super::overlay::Overlay;
use super::random;
use super::upstreams::Upstream;
use super::xxhash::xxh64;
use crate::http::{Exchange, Template};

/// A rule for choosing among upstreams that are available.
#[expect(clippy::large_enum_variant, reason = "there is one for each proxy, and it stays where it is")]
pub enum Policy {
    /// Any of them.
    Random,
    /// The least busy of so many taken at random.
    RandomChoose(usize),
    /// The least busy.
    LeastConn,
    /// Each in turn.
    RoundRobin(AtomicU32),
    /// Each in turn, by weight.
    WeightedRoundRobin {
        /// How often each comes within a round.
        weights: Box<[u32]>,
        /// The turn.
        turn: AtomicU32,
    },
    /// The first.
    First,
    /// The same for the same peer.
    IpHash,
    /// The same for the same client, as trusted proxies name it.
    ClientIpHash,
    /// The same for the same target.
    UriHash,
    /// The same for the same query value.
    Query {
        /// The value.
        value: Template,
        /// What to do without one.
        fallback: Box<Policy>,
    },
    /// The same for the same header value.
    Header {
        /// The field.
        field: HeaderName,
        /// What to do without one.
        fallback: Box<Policy>,
    },
    /// The one that a cookie names.
    Cookie {
        /// The cookie.
        cookie: StickyCookie,
        /// What to do without one.
        fallback: Box<Policy>,
    },
}

/// What policies look at in a request.
pub struct Subject<'a, 'f> {
    /// The request.
    pub x: &'a Exchange,
    /// Its fields as they go to upstreams.
    pub fields: &'a Overlay<'f>,
    /// Path and query as they go to upstreams.
    pub target: &'a [u8],
}

/// A choice, and the cookie that is to remember it.
pub struct Choice<'u> {
    /// The upstream.
    pub upstream: &'u Arc<Upstream>,
    /// A `Set-Cookie` value.
    pub set_cookie: Option<String>,
}

impl Policy {
    /// Whether [`Policy::select`] looks at anything but the upstreams.
    pub fn looks_at_request(&self) -> bool {
        !matches!(
            self,
            Self::Random
                | Self::RandomChoose(_)
                | Self::LeastConn
                | Self::RoundRobin(_)
                | Self::WeightedRoundRobin { .. }
                | Self::First
        )
    }

    /// Chooses one of `pool`, if any is available.
    pub fn select<'u>(&self, pool: &'u [Arc<Upstream>], subject: &Subject<'_, '_>) -> Option<Choice<'u>> {
        let by_hash = |key: &[u8]| by_hash(pool, key);
        let chosen = match self {
            Self::Query { value, fallback } => match value.render(subject.x) {
                value if value.is_empty() => return fallback.select(pool, subject),
                value => by_hash(&value),
            },
            Self::Header { field, fallback } => match header_value(field, subject) {
                value if value.is_empty() => return fallback.select(pool, subject),
                value => by_hash(&value),
            },
            Self::Cookie { cookie, fallback } => return sticky(cookie, fallback, pool, subject),
            Self::IpHash => by_hash(&address_text(subject.x.conn.peer.map(|peer| peer.ip()))),
            Self::ClientIpHash => by_hash(&address_text(subject.x.client_ip)),
            Self::UriHash => by_hash(subject.target),
            _ => self.select_blindly(pool),
        };
        chosen.map(|upstream| Choice { upstream, set_cookie: None })
    }

    /// Chooses by a policy that looks at no request.
    pub fn select_blindly<'u>(&self, pool: &'u [Arc<Upstream>]) -> Option<&'u Arc<Upstream>> {
        match self {
            Self::First => available(pool).next(),
            Self::LeastConn => least_busy(available(pool)),
            Self::RandomChoose(choose) => least_busy(sample(pool, *choose).into_iter()),
            Self::RoundRobin(turn) => (0..pool.len())
                .map(|_| &pool[turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as usize % pool.len()])
                .find(|upstream| upstream.is_available()),
            Self::WeightedRoundRobin { weights, turn } => weighted(pool, weights, turn),
            _ => any(available(pool)),
        }
    }
}

fn available(pool: &[Arc<Upstream>]) -> impl Iterator<Item = &Arc<Upstream>> {
    pool.iter().filter(|upstream| upstream.is_available())
}

/// One of them at random, each as likely as the next, although nobody knows how many they are.
fn any<'u>(upstreams: impl Iterator<Item = &'u Arc<Upstream>>) -> Option<&'u Arc<Upstream>> {
    let mut chosen = None;
    for (before, upstream) in upstreams.enumerate() {
        if random::below(before + 1) == 0 {
            chosen = Some(upstream);
        }
    }
    chosen
}

/// The one with the fewest requests; one of them at random if there are several.
fn least_busy<'u>(upstreams: impl Iterator<Item = &'u Arc<Upstream>>) -> Option<&'u Arc<Upstream>> {
    let mut best: Option<(usize, &Arc<Upstream>)> = None;
    let mut alike = 0;
    for upstream in upstreams {
        let requests = upstream.host.in_flight();
        match best {
            Some((fewest, _)) if fewest < requests => continue,
            Some((fewest, _)) if fewest == requests => alike += 1,
            _ => alike = 1,
        }
        if random::below(alike) == 0 {
            best = Some((requests, upstream));
        }
    }
    best.map(|(_, upstream)| upstream)
}

/// Up to `size` available upstreams, each as likely as the next.
fn sample(pool: &[Arc<Upstream>], size: usize) -> Vec<&Arc<Upstream>> {
    let mut chosen = Vec::with_capacity(size.min(pool.len()));
    for (before, upstream) in available(pool).enumerate() {
        if chosen.len() < size {
            chosen.push(upstream);
            continue;
        }
        let place = random::below(before + 1);
        if place < size {
            chosen[place] = upstream;
        }
    }
    chosen
}

/// The weights lay out a round; the turn's place in it falls to one of the upstreams with a weight.
fn weighted<'u>(pool: &'u [Arc<Upstream>], weights: &[u32], turn: &AtomicU32) -> Option<&'u Arc<Upstream>> {
    if weights.len() < 2 {
        return pool.first();
    }
    let total: u32 = weights.iter().sum();
    let mut place = turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) % total;
    let mut index = 0;
    for weight in weights.iter().filter(|weight| **weight > 0) {
        if place < *weight {
            break;
        }
        place -= weight;
        index += 1;
    }
    let weighted = || {
        let weighted = pool.iter().zip(weights).filter(|(_, weight)| **weight > 0);
        weighted.map(|(upstream, _)| upstream).filter(|upstream| upstream.is_available())
    };
    match weighted().count() {
        0 => None,
        usable => weighted().nth(index % usable),
    }
}

/// Rendezvous hashing: the upstream whose address makes the highest hash with `key`, so that few
/// keys move when upstreams come or go.
fn by_hash<'u>(pool: &'u [Arc<Upstream>], key: &[u8]) -> Option<&'u Arc<Upstream>> {
    let mut best = None;
    let mut highest = 0;
    for upstream in available(pool) {
        let hash = xxh64(upstream.name.as_bytes(), key);
        if hash > highest {
            highest = hash;
            best = Some(upstream);
        }
    }
    best
}

fn sticky<'u>(
    cookie: &StickyCookie,
    fallback: &Policy,
    pool: &'u [Arc<Upstream>],
    subject: &Subject<'_, '_>,
) -> Option<Choice<'u>> {
    let named = cookie.value(subject.x);
    if let Some(upstream) = available(pool).find(|upstream| cookie.names(&named, &upstream.name)) {
        return Some(Choice { upstream, set_cookie: None });
    }
    let Choice { upstream, .. } = fallback.select(pool, subject)?;
    Some(Choice { upstream, set_cookie: Some(cookie.to_set(&upstream.name, subject.x)) })
}

fn header_value<'a>(field: &HeaderName, subject: &'a Subject<'_, '_>) -> Cow<'a, [u8]> {
    let value = subject.fields.get_all(field).next().map(Cow::Borrowed);
    match value {
        None if *field == HOST => Cow::Borrowed(subject.x.host().as_bytes()),
        value => value.unwrap_or_default(),
    }
}

fn address_text(address: Option<std::net::IpAddr>) -> Vec<u8> {
    // Go calls the peer of a Unix socket "@".
    address.map_or_else(|| b"@".to_vec(), |ip| ip.to_canonical().to_string().into_bytes())
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
