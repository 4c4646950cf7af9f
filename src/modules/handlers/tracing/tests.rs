use super::*;
use crate::modules::testing::{routes, site, text, try_site};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn later_handlers_see_the_span() {
    let site = site(
        "tracing\nrespond \"{http.vars.trace_id} {vars.span_id} {header.traceparent} {header.tracestate}\"",
    );
    let shown = |headers: &[(&str, &str)]| site.get("/", headers).1;
    let below = shown(&[("traceparent", PARENT), ("tracestate", "a=b")]);
    let [trace, span, parent, state] = below.split(' ').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
    assert_ne!(span, "b7ad6b7169203331");
    assert_eq!(parent, format!("00-{trace}-{span}-01"));
    assert_eq!(state, "a=b");
    for odd in [&[][..], &[("traceparent", "nonsense"), ("tracestate", "a=b")]] {
        let root = shown(odd);
        let [trace, span, parent, state] = root.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((trace.len(), span.len()), (32, 16), "{root}");
        assert_eq!(parent, format!("00-{trace}-{span}-01"));
        assert_eq!(state, "", "what belongs to no trace is not passed on");
    }
}

#[test]
fn who_began_a_trace_decides_whether_it_is_recorded() {
    let site = site("tracing\nrespond {header.traceparent}");
    let (_, text) = site.get("/", &[("traceparent", &PARENT.replace("-01", "-00"))]);
    assert!(text.ends_with("-00"), "{text}");
}

#[test]
fn a_span_ends_with_the_answer_and_tells_of_it() {
    let (spans, mut ended) = tokio::sync::mpsc::channel(8);
    let handler = Provisioned {
        name: Template::compile("{http.request.method} {http.request.uri.path}", Unknown::Empty),
        attributes: [("agent".into(), Template::compile("{http.request.header.User-Agent}", Unknown::Empty))]
            .into(),
        spans: Some(spans),
    };
    let mut x = Exchange::get("/a?key=secret", &[("traceparent", PARENT), ("user-agent", "probe")]);
    let is_filter = matches!(handler.handle(&mut x), Step::Now(Outcome::Filter(_)));
    assert!(is_filter && ended.try_recv().is_err());
    let mut response = Response::new(Body::from("x"));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    handler.filter(&mut x, &mut response).unwrap();
    let span = ended.try_recv().unwrap();
    assert_eq!(span.name, "GET /a");
    assert_eq!(span.parent.unwrap().to_string(), PARENT);
    assert!(span.has_failed && span.begin > 0 && span.end >= span.begin);
    let told = format!("{:?}", span.attributes);
    for part in ["\"agent\", Text(\"probe\")", "status_code\", Number(502)", "url.path\", Text(\"/a\")"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("secret"), "{told}");
}

#[test]
fn a_span_lasts_as_long_as_its_stream_and_ends_if_there_is_no_answer() {
    let (spans, mut ended) = tokio::sync::mpsc::channel(8);
    let handler = Provisioned {
        name: Template::compile("n", Unknown::Empty),
        attributes: [].into(),
        spans: Some(spans),
    };
    let mut x = Exchange::get("/", &[]);
    assert!(matches!(handler.handle(&mut x), Step::Now(Outcome::Filter(_))));
    let mut response = Response::new(Body::stream(http_body_util::Empty::<bytes::Bytes>::new()));
    handler.filter(&mut x, &mut response).unwrap();
    assert!(ended.try_recv().is_err());
    drop(response);
    assert!(ended.try_recv().is_ok());
    assert!(matches!(handler.handle(&mut x), Step::Now(Outcome::Filter(_))));
    drop(x);
    assert!(ended.try_recv().unwrap().attributes.iter().all(|(name, _)| !name.contains("status")));
}

#[test]
fn json_has_what_the_caddyfile_says() {
    let json = routes("tracing {\nspan s\nspan_attributes {\na {path}\n}\n}");
    let expected = serde_json::json!({"handler": "tracing", "span": "s", "span_attributes": {"a": "{http.request.uri.path}"}});
    assert_eq!(json[0]["handle"][0], expected);
    assert!(try_site("tracing x").is_err());
    assert_eq!(text(site("tracing\nrespond x").serve(&mut Exchange::get("/", &[]))), (200, "x".into()));
}
