use super::*;
use crate::config::ModuleJson;
use crate::http::{Body, Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Response, Step};
use crate::metrics::{Format, Registry};

fn app(json: serde_json::Value) -> App {
    serde_json::from_value(json).unwrap()
}

fn text(metrics: &Arc<HttpMetrics>) -> String {
    let registry = Registry::default();
    registry.add(metrics.clone());
    let text = String::from_utf8(registry.render(Format::Prometheus)).unwrap();
    text.lines()
        .filter(|line| line.starts_with("caddy_http_"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Takes a request for `host` past `meter`.
fn enter(meter: &Meter, host: &str) -> Exchange {
    let mut x = Exchange::get("/path?query", &[("host", host), ("content-length", "100")]);
    let is_next = matches!(meter.handle(&mut x), Step::Now(Outcome::Next));
    assert!(is_next);
    x
}

fn metrics(json: serde_json::Value) -> (Arc<HttpMetrics>, Meter) {
    let app = app(json);
    let metrics = HttpMetrics::new(&app).unwrap();
    let meter = metrics.meter("srv0", &app.servers["srv0"].routes[0]);
    (metrics, meter)
}

fn route() -> serde_json::Value {
    serde_json::json!({"match": [{"host": ["Named.test", "*.wild.test"]}], "handle": [{"handler": "probe"}]})
}

#[test]
fn a_request_is_counted_where_it_enters_and_observed_when_it_ends() {
    let (metrics, meter) =
        metrics(serde_json::json!({"metrics": {}, "servers": {"srv0": {"routes": [route()]}}}));
    assert_eq!(text(&metrics), "");
    let mut x = enter(&meter, "a");
    let labels = r#"{handler="probe",server="srv0"}"#;
    assert_eq!(text(&metrics), format!("caddy_http_requests_in_flight{labels} 1\n"));
    let mut response = Response::new(Body::from("0123456789"));
    x.metered.take().unwrap().answered(&mut response);
    let text = text(&metrics);
    let labels = r#"code="200",handler="probe",method="GET",server="srv0""#;
    for line in [
        r#"caddy_http_requests_in_flight{handler="probe",server="srv0"} 0"#.to_owned(),
        r#"caddy_http_requests_total{handler="probe",server="srv0"} 1"#.to_owned(),
        format!("caddy_http_response_size_bytes_sum{{{labels}}} 10"),
        // The target, the method, the version, "a", and the length's name, digits and worth.
        format!("caddy_http_request_size_bytes_sum{{{labels}}} {}", 11 + 3 + 8 + 1 + 14 + 3 + 100),
        format!("caddy_http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
        format!("caddy_http_response_duration_seconds_count{{{labels}}} 1"),
    ] {
        assert!(text.contains(&(line.clone() + "\n")), "{line}\n{text}");
    }
    assert!(!text.contains("errors"), "{text}");
}

#[test]
fn what_fails_or_is_left_is_an_error() {
    let (metrics, meter) =
        metrics(serde_json::json!({"metrics": {}, "servers": {"srv0": {"routes": [route()]}}}));
    let mut x = enter(&meter, "a");
    x.metered.take().unwrap().failed(http::StatusCode::BAD_GATEWAY);
    drop(enter(&meter, "a"));
    let text = text(&metrics);
    for line in [
        r#"caddy_http_request_errors_total{handler="probe",server="srv0"} 2"#,
        r#"caddy_http_requests_total{handler="probe",server="srv0"} 2"#,
        r#"caddy_http_requests_in_flight{handler="probe",server="srv0"} 0"#,
        r#"caddy_http_request_duration_seconds_count{code="502",handler="probe",method="GET",server="srv0"} 1"#,
        r#"caddy_http_request_duration_seconds_count{code="499",handler="probe",method="GET",server="srv0"} 1"#,
    ] {
        assert!(text.contains(&(line.to_owned() + "\n")), "{line}\n{text}");
    }
    assert!(!text.contains("response_duration"), "no head has gone out: {text}");
}

#[test]
fn hosts_are_told_apart_only_where_their_number_has_a_bound() {
    let servers = serde_json::json!({"srv0": {"routes": [route()]}});
    let (metrics, meter) =
        metrics(serde_json::json!({"metrics": {"per_host": true}, "servers": servers.clone()}));
    for host in ["named.test", "NAMED.test", "a.wild.test", "other", "named.test:80"] {
        drop(enter(&meter, host));
    }
    let counted = text(&metrics);
    assert!(
        counted.contains(r#"requests_total{handler="probe",host="named.test",server="srv0"} 2"#),
        "{counted}"
    );
    assert!(
        counted.contains(r#"requests_total{handler="probe",host="_other",server="srv0"} 3"#),
        "{counted}"
    );
    let all = serde_json::json!({"metrics": {"per_host": true, "observe_catchall_hosts": true}, "servers": servers});
    let (metrics, meter) = super::tests::metrics(all);
    for n in 0..HOSTS_MAX + 10 {
        drop(enter(&meter, &format!("h{n}")));
    }
    let counted = text(&metrics);
    assert!(counted.contains(r#"requests_total{handler="probe",host="h7",server="srv0"} 1"#), "{counted}");
    // One place is the named one's.
    assert!(counted.contains(r#"requests_total{handler="probe",host="_other",server="srv0"} 11"#));
}

#[test]
fn a_servers_own_setting_counts_for_all_and_without_any_nothing_is_counted() {
    assert!(HttpMetrics::new(&app(serde_json::json!({"servers": {"a": {}}}))).is_none());
    let metrics =
        HttpMetrics::new(&app(serde_json::json!({"servers": {"a": {"metrics": {"per_host": true}}}})));
    assert!(metrics.unwrap().hosts.is_some());
}

#[test]
fn only_outer_routes_count() {
    let app = app(serde_json::json!({"metrics": {}, "servers": {"srv0": {"routes": [
        {"handle": [{"handler": "outer"}]}, {"handle": [{"handler": "inner"}]},
    ]}}}));
    let metrics = HttpMetrics::new(&app).unwrap();
    fn inner(_: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
        Ok(Box::new(Nothing))
    }
    static INNER: HandlerType = HandlerType { id: "inner", provision: inner };
    fn outer(_: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
        let inner = serde_json::json!([{"handle": [{"handler": "inner"}]}]);
        ctx.routes(&serde_json::from_value(inner).unwrap())?;
        Ok(Box::new(Nothing))
    }
    static OUTER: HandlerType = HandlerType { id: "outer", provision: outer };
    let handlers = HashMap::from([("outer", &OUTER), ("inner", &INNER)]);
    let matchers = HashMap::new();
    let mut ctx = Provision::new(&handlers, &matchers).with_metrics(Some(metrics.clone()));
    ctx.count_requests_of(Some("srv0"));
    ctx.routes(&app.servers["srv0"].routes).unwrap();
    let names = |metrics: &HttpMetrics| -> Vec<String> {
        metrics.counts.lock().unwrap().iter().map(|counts| counts.handler.to_string()).collect()
    };
    assert_eq!(names(&metrics), ["outer", "inner"], "each once, the second as a route of the server");
    ctx.count_requests_of(None);
    ctx.routes(&serde_json::from_value(serde_json::json!([{"handle": [{"handler": "outer"}]}])).unwrap())
        .unwrap();
    assert_eq!(names(&metrics).len(), 2);
}

struct Nothing;

impl Handler for Nothing {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Next)
    }
}
