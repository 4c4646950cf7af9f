use std::sync::atomic::AtomicBool;

use http::HeaderValue;

use super::*;
use crate::http::{Body, ConnInfo};
use crate::modules::handlers::reverse_proxy::hosts::Host;
use crate::modules::handlers::reverse_proxy::upstreams::{Location, Target};

/// Upstreams at `PREFIX-0.test:80` and so on.
fn pool(prefix: &str, size: usize) -> Vec<Arc<Upstream>> {
    (0..size)
        .map(|n| {
            let name = format!("{prefix}-{n}.test:80");
            Arc::new(Upstream {
                host: Host::named(&name),
                location: Location::fixed(Target::parse(&name).unwrap()),
                name: name.into(),
                max_requests: None,
                max_fails: None,
                unhealthy: AtomicBool::new(false),
            })
        })
        .collect()
}

fn take_down(upstream: &Upstream) {
    upstream.unhealthy.store(true, Ordering::Relaxed);
}

fn request(headers: &[(&'static str, &'static str)]) -> Exchange {
    let mut request = http::Request::new(Body::Empty);
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    let peer = Some("192.0.2.7:1000".parse().unwrap());
    Exchange::new(request, Arc::new(ConnInfo::new(peer, None, None)))
}

/// The indexes of the upstreams that `times` requests get; 99 for none.
fn play(policy: &Policy, pool: &[Arc<Upstream>], x: &Exchange, times: usize) -> Vec<usize> {
    let fields = Overlay::new(&x.headers);
    let subject = Subject { x, fields: &fields, target: b"/path?q=1" };
    let one = || {
        let chosen = policy.select(pool, &subject)?;
        pool.iter().position(|upstream| Arc::ptr_eq(upstream, chosen.upstream))
    };
    (0..times).map(|_| one().unwrap_or(99)).collect()
}

#[test]
fn round_robin_gives_each_its_turn_and_skips_those_that_are_down() {
    let pool = pool("robin", 3);
    let policy = Policy::RoundRobin(AtomicU32::new(0));
    let x = request(&[]);
    assert_eq!(play(&policy, &pool, &x, 6), [1, 2, 0, 1, 2, 0]);
    take_down(&pool[2]);
    assert_eq!(play(&policy, &pool, &x, 4), [1, 0, 1, 0]);
    take_down(&pool[0]);
    take_down(&pool[1]);
    assert_eq!(play(&policy, &pool, &x, 2), [99, 99]);
    assert_eq!(play(&policy, &[], &x, 1), [99]);
}

#[test]
fn weights_lay_out_the_round() {
    let pool = pool("weights", 3);
    let weighted =
        |weights: &[u32]| Policy::WeightedRoundRobin { weights: weights.into(), turn: AtomicU32::new(0) };
    let x = request(&[]);
    assert_eq!(play(&weighted(&[3, 1, 0]), &pool, &x, 8), [0, 0, 1, 0, 0, 0, 1, 0]);
    let policy = weighted(&[0, 1, 2]);
    assert_eq!(play(&policy, &pool, &x, 6), [2, 2, 1, 2, 2, 1]);
    take_down(&pool[1]);
    assert_eq!(play(&policy, &pool, &x, 3), [2, 2, 2]);
    take_down(&pool[2]);
    assert_eq!(play(&policy, &pool, &x, 1), [99]);
}

#[test]
fn first_is_the_first_that_is_up() {
    let pool = pool("first", 3);
    let x = request(&[]);
    assert_eq!(play(&Policy::First, &pool, &x, 2), [0, 0]);
    take_down(&pool[0]);
    assert_eq!(play(&Policy::First, &pool, &x, 2), [1, 1]);
}

#[test]
fn random_uses_all_that_are_up() {
    let pool = pool("random", 3);
    take_down(&pool[1]);
    let mut used = play(&Policy::Random, &pool, &request(&[]), 200);
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, [0, 2]);
}

#[test]
fn the_least_busy_gets_the_request() {
    let pool = pool("busy", 3);
    let busy: Vec<_> = [0, 0, 1].map(|n: usize| pool[n].host.begin(None)).into();
    let x = request(&[]);
    assert_eq!(play(&Policy::LeastConn, &pool, &x, 20), [2; 20]);
    assert_eq!(play(&Policy::RandomChoose(3), &pool, &x, 20), [2; 20]);
    // Of two taken at random, the busiest never wins.
    assert!(!play(&Policy::RandomChoose(2), &pool, &x, 50).contains(&0));
    drop(busy);
    let mut used = play(&Policy::LeastConn, &pool, &x, 200);
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, [0, 1, 2]);
}

#[test]
fn a_full_upstream_is_left_out() {
    let mut pool = pool("full", 2);
    Arc::get_mut(&mut pool[0]).unwrap().max_requests = Some(1);
    let x = request(&[]);
    assert_eq!(play(&Policy::First, &pool, &x, 1), [0]);
    let running = pool[0].host.begin(None);
    assert_eq!(play(&Policy::First, &pool, &x, 1), [1]);
    drop(running);
    assert_eq!(play(&Policy::First, &pool, &x, 1), [0]);
}

#[test]
fn the_same_key_goes_to_the_same_upstream_and_others_spread() {
    let pool = pool("hash", 4);
    let policy =
        Policy::Header { field: HeaderName::from_static("x-session"), fallback: Box::new(Policy::First) };
    let mut used = Vec::new();
    for session in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        let chosen = play(&policy, &pool, &request(&[("x-session", session)]), 3);
        assert!(chosen.iter().all(|n| *n == chosen[0]));
        used.push(chosen[0]);
    }
    used.sort_unstable();
    used.dedup();
    assert!(used.len() > 1);
    assert_eq!(play(&policy, &pool, &request(&[]), 1), [0]);
    for policy in [Policy::IpHash, Policy::ClientIpHash, Policy::UriHash] {
        let chosen = play(&policy, &pool, &request(&[]), 5);
        assert!(chosen.iter().all(|n| *n == chosen[0] && *n != 99));
    }
}

#[test]
fn the_cookie_policy_sets_its_cookie_only_when_it_chooses_anew() {
    let pool = pool("cookie", 3);
    let policy =
        Policy::Cookie { cookie: StickyCookie::new("lb", "s3cret", None), fallback: Box::new(Policy::First) };
    let x = request(&[]);
    let fields = Overlay::new(&x.headers);
    let chosen = policy.select(&pool, &Subject { x: &x, fields: &fields, target: b"/" }).unwrap();
    assert!(chosen.set_cookie.unwrap().starts_with("lb="));
    assert_eq!(*chosen.upstream.name, *pool[0].name);
}
