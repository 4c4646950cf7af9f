//! Spans of requests, as a collector and the upstream see them.

use std::io::Read as _;

use super::{Gateway, Upstream, field};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that tells of each batch: its head, and the body's bytes as characters.
fn collector() -> Upstream {
    Upstream::playing(|peer, tell| {
        let head = peer.head();
        let Some(length) = field(&head, "content-length").and_then(|length| length.parse().ok()) else {
            return;
        };
        let mut body = vec![0; length];
        peer.reader.read_exact(&mut body).unwrap();
        _ = tell.send(head + &body.iter().map(|byte| char::from(*byte)).collect::<String>());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    })
}

fn bytes(hex: &str) -> String {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(|at| char::from(digits(at))).collect()
}

#[test]
fn the_upstream_goes_on_with_the_trace_and_the_collector_gets_the_span() {
    let (upstream, collector) = (Upstream::echo(), collector());
    let directives = format!(
        "tracing {{\nspan \"gate {{method}}\"\nspan_attributes {{\nteam {{header.X-Team}}\n}}\n}}\n\
         reverse_proxy 127.0.0.1:{}",
        upstream.port
    );
    let gateway = Gateway::with_environment(
        &directives,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://localhost:{}", collector.port)),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k"),
            ("OTEL_SERVICE_NAME", "gate-test"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
    );
    let answer = gateway.get("/v1/models?key=secret", &format!("traceparent: {PARENT}\r\nX-Team: blue\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = upstream.next_head();
    let passed = field(&head, "traceparent").unwrap_or_default().to_owned();
    let parts: Vec<&str> = passed.split('-').collect();
    assert_eq!((parts[1], parts[3]), ("0af7651916cd43dd8448eb211c80319c", "01"), "{head}");
    assert_ne!(parts[2], "b7ad6b7169203331", "{head}");
    let batch = collector.next_head();
    assert!(batch.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{batch}");
    assert_eq!(field(&batch, "content-type"), Some("application/x-protobuf"));
    assert_eq!(field(&batch, "x-key"), Some("k"));
    let ids = [bytes(parts[1]), bytes(parts[2]), bytes("b7ad6b7169203331")];
    for part in ["gate-test", "gate GET", "/v1/models", "team", "blue"].map(str::to_owned).iter().chain(&ids)
    {
        assert!(batch.contains(part.as_str()), "{part:?}: {batch:?}");
    }
    assert!(!batch.contains("secret"), "{batch:?}");
}

#[test]
fn what_waits_is_sent_before_the_process_ends() {
    let collector = collector();
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let mut gateway = Gateway::with_environment(
        "tracing {\nspan last-words\n}\nrespond x",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "60000")],
    );
    gateway.get("/", "");
    let id = gateway.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(collector.next_head().contains("last-words"));
    let ended = crate::support::eventually("it ends", || gateway.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_collector_that_is_not_there_costs_nothing_but_spans() {
    let nobody = crate::support::free_port();
    let gateway = Gateway::with_environment(
        "tracing\nrespond {header.traceparent}",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{nobody}")),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ],
    );
    for _ in 0..20 {
        let answer = gateway.get("/", "");
        assert!(answer.contains("\r\n\r\n00-") && answer.ends_with("-01"), "{answer}");
    }
}
