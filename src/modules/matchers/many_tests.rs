//! Long lists of routes, which are not asked one by one, answer as if they were.

use std::fmt::Write as _;

use serde_json::json;

use crate::http::Exchange;
use crate::modules::testing::{matches, site};

const PATHS: [&str; 14] = [
    "/a/*",
    "/a",
    "/A/b",
    "/api/v1/models/list/*",
    "/api/v1/models/*",
    "/api/v1/models/lisp",
    "*.php",
    "/x//y/*",
    "/café",
    "/p%2Fq",
    "/glob/?",
    "{http.request.header.x-path}",
    "/api*",
    "/",
];

const HOSTS: [&str; 5] = ["a.example", "B.example", "*.wild.example", "{http.request.header.x-host}", "::1"];

/// What is asked for: no two of them are alike in what has to be decoded, cleaned or put in lower case.
const TARGETS: [&str; 22] = [
    "/",
    "/a",
    "/a/",
    "/A",
    "/a/b",
    "/A/B",
    "//a/b",
    "/x//y/z",
    "/x/y/z",
    "/./a",
    "/b/../a/c",
    "/%61/x",
    "/api",
    "/api/v1/models/list/1",
    "/api/v1/models/lisp",
    "/api/v1/models/lisps",
    "/caf%C3%A9",
    "/p%2fq",
    "/p/q",
    "/glob/z",
    "/index.PHP",
    "/none",
];

fn request(target: &str, host: &str) -> Exchange {
    Exchange::get(target, &[("host", host), ("x-path", "/none"), ("x-host", "given.example")])
}

#[test]
fn the_first_route_that_matches_answers() {
    let mut directives = "route {\n".to_owned();
    let mut rows = Vec::new();
    for (number, path) in PATHS.iter().enumerate() {
        for host in [None, Some(HOSTS[number % HOSTS.len()]), Some(HOSTS[(number + 2) % HOSTS.len()])] {
            // Those for a host come before those for all, and a method stands beside one of them.
            rows.insert(if host.is_some() { 0 } else { rows.len() }, (*path, host));
        }
    }
    for (number, (path, host)) in rows.iter().enumerate() {
        let host = host.map(|host| format!("host {host}\n")).unwrap_or_default();
        let _ = write!(directives, "@m{number} {{\npath {path}\n{host}}}\nrespond @m{number} \"{number}\"\n");
    }
    let site = site(&(directives + "}"));
    let mut answered = 0;
    for target in TARGETS {
        for host in
            ["a.example", "b.EXAMPLE:80", "x.wild.example", "given.example", "[::1]:80", "[::1]", "c.example"]
        {
            let first = rows.iter().position(|(path, of)| {
                let x = &mut request(target, host);
                matches("path", &json!([path]), x) && of.is_none_or(|of| matches("host", &json!([of]), x))
            });
            let x = &mut request(target, host);
            let (_, body) = crate::modules::testing::text(site.serve(x));
            assert_eq!(body, first.map(|first| first.to_string()).unwrap_or_default(), "{host}{target}");
            answered += usize::from(first.is_some());
        }
    }
    assert!(answered > TARGETS.len(), "{answered}");
}

#[test]
fn alternatives_and_several_hosts_are_found_too() {
    let mut directives = "route {\n".to_owned();
    for number in 0..20 {
        let _ = write!(
            directives,
            "@h{number} host h{number}.example www.h{number}.example\nrespond @h{number} \"h{number}\"\n\
             @p{number} path /p{number} /q{number}/*\nrespond @p{number} \"p{number}\"\n"
        );
    }
    let site = site(&(directives + "respond last\n}"));
    for (host, target, expected) in [
        ("h7.example", "/", "h7"),
        ("www.h19.example", "/p3", "p3"),
        ("www.h19.example", "/x", "h19"),
        ("other", "/q12/x", "p12"),
        ("other", "/q12", "last"),
    ] {
        let (_, body) = crate::modules::testing::text(site.serve(&mut request(target, host)));
        assert_eq!(body, expected, "{host}{target}");
    }
}
