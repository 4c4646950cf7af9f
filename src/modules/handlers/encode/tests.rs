use std::io::Read as _;

use http_body_util::BodyExt as _;

use super::*;
use crate::http::{Body, Response};
use crate::modules::testing::{site, try_site};

/// Text of this length.
fn text(bytes: usize) -> String {
    "0123456789abcdef".chars().cycle().take(bytes).collect()
}

fn response(method: &str, directives: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = http::Request::builder().method(method).uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site(directives).serve(&mut Exchange::for_test(request.body(Body::Empty).unwrap()))
}

/// Status, the fields that tell of compression, and the body as the client reads it.
fn answer(directives: &str, headers: &[(&str, &str)]) -> String {
    let response = response("GET", directives, headers);
    let names = ["content-encoding", "content-length", "vary", "etag", "accept-ranges"];
    let mut shown = response.status().as_str().to_owned();
    for name in names {
        for value in response.headers().get_all(name) {
            shown += &format!(" {name}={}", value.to_str().unwrap());
        }
    }
    let coding = response.headers().get("content-encoding").cloned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    let mut plain = String::new();
    match coding.as_ref().map(|coding| coding.to_str().unwrap()) {
        Some("gzip") => drop(flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut plain).unwrap()),
        Some("zstd") => plain = String::from_utf8(zstd::stream::decode_all(&body[..]).unwrap()).unwrap(),
        Some("br") => drop(brotli::Decompressor::new(&body[..], 4096).read_to_string(&mut plain).unwrap()),
        _ => plain = String::from_utf8(body.to_vec()).unwrap(),
    }
    let is_right = plain == text(plain.len());
    format!("{shown} {}{}", plain.len(), if is_right { "" } else { " WRONG" })
}

const GZIP: &[(&str, &str)] = &[("accept-encoding", "gzip")];

// What Caddy 2.11.7 answers, here and below.
#[test]
fn long_text_is_compressed_and_nothing_else() {
    let of = |bytes: usize| format!("encode\nrespond {}", text(bytes));
    assert_eq!(answer(&of(513), GZIP), "200 content-encoding=gzip vary=Accept-Encoding 513");
    assert_eq!(answer(&of(100_000), GZIP), "200 content-encoding=gzip vary=Accept-Encoding 100000");
    assert_eq!(answer(&of(512), GZIP), "200 512");
    assert_eq!(answer(&of(513), &[]), "200 513");
    let typed = |name: &str| answer(&format!("header Content-Type {name}\n{}", of(513)), GZIP);
    assert_eq!(typed("image/png"), "200 513");
    assert_eq!(typed("application/x-ndjson"), "200 513");
    assert_eq!(typed("image/svg+xml;x"), "200 content-encoding=gzip vary=Accept-Encoding 513");
    let short = format!(
        "header Content-Type \"Text/Event-Stream ; x\"\nencode {{\ngzip\nmatch status 200\n}}\nrespond {}",
        text(5)
    );
    assert_eq!(answer(&short, GZIP), "200 content-encoding=gzip vary=Accept-Encoding 5");
}

#[test]
fn settings_count() {
    let with = |inner: &str, bytes: usize| {
        answer(
            &format!("encode {{\n{inner}\n}}\nrespond {} 404", text(bytes)),
            &[("accept-encoding", "br, gzip, zstd")],
        )
    };
    let compressed =
        |name: &str, bytes: usize| format!("404 content-encoding={name} vary=Accept-Encoding {bytes}");
    assert_eq!(with("minimum_length 10", 11), compressed("zstd", 11));
    assert_eq!(with("minimum_length 10", 10), "404 10");
    assert_eq!(with("minimum_length -1", 1000), "404 1000");
    assert_eq!(with("match status 4xx", 600), compressed("zstd", 600));
    assert_eq!(with("match status 2xx", 600), "404 600");
    assert_eq!(with("match header X-No *", 600), "404 600");
    assert_eq!(with("br 5\ngzip 9", 600), compressed("br", 600));
    assert_eq!(with("gzip\nbr", 600), compressed("gzip", 600));
    assert_eq!(with("zstd best {\ndisable_checksum\n}", 600), compressed("zstd", 600));
    assert!(
        try_site("encode gzip {\ngzip\n}").err().unwrap().contains("encoding gzip is duplicated in prefer")
    );
    assert!(try_site("encode {\ngzip 10\n}").err().unwrap().contains("quality too high"));
    assert!(try_site("encode lz4").err().unwrap().contains("module not registered: http.encoders.lz4"));
}

#[test]
fn what_must_stay_as_it_is_stays() {
    let with = |fields: &str, status: u16| {
        answer(&format!("{fields}\nencode\nrespond {} {status}", text(600)), GZIP)
    };
    assert_eq!(with("header Cache-Control \"private, no-transform\"", 200), "200 600");
    assert_eq!(with("", 206), "206 600");
    let not_modified = |vary: &str| answer(&format!("header Vary {vary}\nencode\nrespond 304"), GZIP);
    assert_eq!(not_modified("\"Origin, accept-encoding\""), "304 vary=Origin, accept-encoding 0");
    assert_eq!(not_modified("Origin"), "304 vary=Origin vary=Accept-Encoding 0");
    let encoded = response("GET", &format!("header Content-Encoding x\nencode\nrespond {}", text(600)), GZIP);
    assert_eq!(encoded.headers()["content-encoding"], "x");
    let request = [("accept-encoding", "gzip"), ("cache-control", "no-transform")];
    assert_eq!(answer(&format!("encode\nrespond {}", text(600)), &request), "200 600");
}

#[test]
fn the_header_says_what_is_true_of_the_compressed_body() {
    let with =
        |fields: &str| answer(&format!("header {{\n{fields}\n}}\nencode\nrespond {}", text(600)), GZIP);
    let gzip = |vary: &str, tag: &str| format!("200 content-encoding=gzip vary={vary}{tag} 600");
    assert_eq!(with("Accept-Ranges bytes"), gzip("Accept-Encoding", ""));
    assert_eq!(with("Vary \"Accept-Encoding, Origin\""), gzip("Accept-Encoding, Origin", ""));
    assert_eq!(with("Vary *"), gzip("* vary=Accept-Encoding", ""));
    assert_eq!(with("Etag `\"a\"`"), gzip("Accept-Encoding", " etag=\"a-gzip\""));
    assert_eq!(with("Etag `W/\"a\"`"), gzip("Accept-Encoding", " etag=W/\"a\""));
    assert_eq!(with("Etag bare"), gzip("Accept-Encoding", " etag=bare-gzip\""));
}

#[test]
fn a_tag_of_ours_is_the_inner_ones_again_on_its_way_in() {
    let seen = |tag: &str, accept: &str| {
        let headers = [("if-none-match", tag), ("accept-encoding", accept)];
        let inner = "route {\nencode\nheader X-Seen {http.request.header.If-None-Match}\nrespond x\n}";
        let response = response("GET", inner, &headers);
        response.headers()["x-seen"].to_str().unwrap().to_owned()
    };
    assert_eq!(seen("\"a-gzip\"", "gzip"), "\"a\"");
    assert_eq!(seen("\"a-gzip\"", "zstd"), "\"a-gzip\"");
    assert_eq!(seen("W/\"a-gzip\"", "gzip"), "W/\"a-gzip\"");
    assert_eq!(seen("\"b\", \"a-gzip\"", "gzip"), "\"b\", \"a\"");
}

#[test]
fn errors_are_answered_without_it() {
    let long = text(600);
    let outside = format!("encode\nerror 404\nhandle_errors {{\nrespond {long}\n}}");
    assert_eq!(answer(&outside, GZIP), "404 600");
    let inside = format!("error 404\nhandle_errors {{\nencode\nrespond {long}\n}}");
    assert_eq!(answer(&inside, GZIP), "404 content-encoding=gzip vary=Accept-Encoding 600");
}

#[test]
fn what_a_head_request_asks_for_is_told_of_alike() {
    let response = |bytes: usize| response("HEAD", &format!("encode\nrespond {}", text(bytes)), GZIP);
    assert_eq!(response(600).headers()["content-encoding"], "gzip");
    assert!(!response(500).headers().contains_key("content-encoding"));
    let tells = "encode\nheader Content-Length 1000\nheader Content-Type text/html\nrespond 200";
    let response = self::response("HEAD", tells, GZIP);
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(!response.headers().contains_key("content-length"));
}

#[test]
fn json_may_leave_out_what_the_caddyfile_says() {
    let names = |json: Value| {
        let json: Encode = serde_json::from_value(json).unwrap();
        preferred(&json).map(|names| names.join(" ")).map_err(|error| error.to_string())
    };
    let all = json!({"gzip": {}, "br": null, "zstd": {}});
    assert_eq!(names(json!({"encodings": all})), Ok("zstd br gzip".into()));
    assert_eq!(names(json!({"encodings": all, "prefer": ["gzip"]})), Ok("gzip br zstd".into()));
    assert_eq!(names(json!({"prefer": ["br"]})), Err("encoding br not enabled".into()));
}
