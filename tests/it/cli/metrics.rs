//! What has been counted, as the admin endpoint and a site tell it.

use super::Place;
use crate::support::eventually;

/// The number behind this name and these labels; none if there is no such line.
fn number(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|error| panic!("{sample} {line}: {error}")))
}

fn scrape(place: &Place) -> String {
    let answer = place.admin("GET", "/metrics", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{answer:?}");
    answer.body
}

#[test]
fn requests_are_counted_if_the_option_says_so() {
    let place = Place::new();
    let site = place.caddyfile(
        "handle /inside {\n\t\trespond x\n\t}\n\terror /missing 404\n\trespond /short x\n\trespond fallback",
    );
    place.write("Caddyfile", &format!("{{\n\tmetrics\n}}\n{site}"));
    let _running = place.serve(&[], "fallback");
    for target in ["/short", "/missing", "/inside"] {
        place.get(target).expect("an answer");
    }
    let text = scrape(&place);
    let of = |handler: &str, code: &str| {
        format!(r#"{{code="{code}",handler="{handler}",method="GET",server="srv0"}}"#)
    };
    let requests = |handler: &str| {
        number(&text, &format!(r#"caddy_http_requests_total{{handler="{handler}",server="srv0"}}"#))
    };
    let answers = requests("static_response");
    assert!(answers >= Some(2.0), "{text}");
    assert_eq!(requests("error"), Some(1.0), "{text}");
    assert_eq!(requests("subroute"), Some(1.0), "{text}");
    let errors = r#"caddy_http_request_errors_total{handler="error",server="srv0"}"#;
    assert_eq!(number(&text, errors), Some(1.0), "{text}");
    let sizes = format!("caddy_http_response_size_bytes_sum{}", of("subroute", "200"));
    assert_eq!(number(&text, &sizes), Some(1.0), "{text}");
    let heads = format!("caddy_http_response_duration_seconds_count{}", of("static_response", "200"));
    assert_eq!(number(&text, &heads), answers, "{text}");
    let durations = format!("caddy_http_request_duration_seconds_count{}", of("error", "404"));
    assert_eq!(number(&text, &durations), Some(1.0), "{text}");
    let admin = r#"caddy_admin_http_requests_total{code="200",handler="admin",method="GET",path="/metrics"}"#;
    assert_eq!(number(&text, admin), None, "{text}");
    assert_eq!(number(&scrape(&place), admin), Some(1.0));
}

#[test]
fn without_the_option_there_are_reloads_and_the_process() {
    let place = Place::new();
    place.write("Caddyfile", &place.caddyfile("metrics /metrics\n\trespond / x"));
    let _running = place.serve(&[], "x");
    let reloads = "caddy_config_last_reload_successful";
    assert_eq!(number(&scrape(&place), reloads), Some(1.0));
    assert_eq!(place.admin("POST", "/load", &["Content-Type: application/json"], "{").status, 400);
    assert_eq!(place.load(":80 {\n\tbind no-such-address\n}").status, 400);
    let text = scrape(&place);
    assert_eq!(number(&text, reloads), Some(0.0), "{text}");
    assert!(number(&text, "caddy_config_last_reload_success_timestamp_seconds") > Some(1.7e9), "{text}");
    assert!(!text.contains("caddy_http_request"), "{text}");
    let of_site = place.get("/metrics").expect("an answer");
    assert_eq!(number(&of_site.body, reloads), Some(0.0), "{of_site:?}");
    assert_eq!(place.load(&place.caddyfile("respond y")).status, 200);
    eventually("the reload counts", || (number(&scrape(&place), reloads) == Some(1.0)).then_some(()));
}
