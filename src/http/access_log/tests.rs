//! Access logs of a server, written to files.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::config::http::Server as ServerConfig;
use crate::http::{Body, Handler, HandlerType, Outcome, ProvisionError, Server, Step};
use crate::log::{Destination, DirMode, FileOptions, LogFile, Modules, WriterType};

/// A handler that does what its JSON says, as far as these tests need it.
static PROBE: HandlerType = HandlerType { id: "probe", provision };

struct Probe(Json);

fn provision(
    json: &crate::config::ModuleJson,
    ctx: &mut Provision<'_>,
) -> Result<Box<dyn Handler>, ProvisionError> {
    if let Some(name) = json.0.get("secret_header").and_then(Json::as_str) {
        ctx.mark_sensitive_header(name.parse().map_err(|_| ProvisionError::invalid("name"))?);
    }
    if let Some(key) = json.0.get("secret_query").and_then(Json::as_str) {
        ctx.mark_sensitive_query(key);
    }
    Ok(Box::new(Probe(Json::Object(json.0.clone()))))
}

/// The answer's status, found when the answer is there.
struct Late;

impl LateField for Late {
    fn field(&self, x: &Exchange) -> LogField {
        let value =
            x.response_headers.get("x-answer").map(|value| Value::Text(value.as_bytes().to_vec().into()));
        LogField { key: "late".into(), value }
    }
}

impl Handler for Probe {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let probe = &self.0;
        if probe["skip"] == true {
            x.vars.set(LOG_SKIP_VAR, Value::Bool(true));
        }
        if let Some(names) = probe["loggers"].as_array() {
            let names = names.iter().map(|name| Value::from(name.as_str().unwrap())).collect();
            x.vars.set(LOGGER_NAMES_VAR, Value::List(names));
        }
        if let (Some(log), true) = (&mut x.log, probe["fields"] == true) {
            log.add(LogField { key: "early".into(), value: Some(Value::Int(1)) });
            log.add_late(Arc::new(Late));
        }
        if let (Some(log), true) = (&mut x.log, probe["show_body"] == true) {
            log.add_body("body".into(), BodyForm::Text);
            log.add_body("packed".into(), BodyForm::Base64);
        }
        if let Some(status) = probe["fail"].as_u64() {
            let status = http::StatusCode::from_u16(status as u16).unwrap();
            return Step::Now(Outcome::Fail(HandlerError::new(status, "it failed")));
        }
        if probe["hang"] == true {
            return Step::Later(Box::pin(std::future::pending()));
        }
        x.abort = probe["abort"] == true;
        x.headers.insert("x-added", "by a handler".parse().unwrap());
        let mut response = Response::new(match probe["stream"].as_str() {
            Some(text) => {
                Body::stream(http_body_util::Full::new(bytes::Bytes::copy_from_slice(text.as_bytes())))
            }
            None => Body::from("hello"),
        });
        response.headers_mut().insert("x-answer", "yes".parse().unwrap());
        response.headers_mut().insert("set-cookie", "s=secret".parse().unwrap());
        Step::Now(if probe["next"] == true { Outcome::Next } else { Outcome::Respond(response) })
    }
}

/// Outputs of these tests: files that are not rolled, and none.
static OUTPUTS: [WriterType; 2] = [
    WriterType {
        id: "file",
        provision: |json| {
            let name = json.0["filename"].as_str().unwrap().to_owned();
            let options =
                FileOptions { path: (&name).into(), mode: None, dir_mode: DirMode::Fixed(0o700), roll: None };
            Ok(Some(Destination {
                key: name.clone(),
                name,
                standard_stream: false,
                open: Box::new(|| Ok(Box::new(LogFile::open(options)?))),
            }))
        },
    },
    WriterType { id: "discard", provision: |_| Ok(None) },
];

fn modules() -> Modules {
    Modules { writers: OUTPUTS.iter().map(|row| (row.id, row)).collect(), ..Modules::default() }
}

/// A server with an access log in a folder.
struct Bench {
    dir: TempDir,
    server: Server,
    /// Keeps the logs open.
    _logging: Arc<Logging>,
}

impl Bench {
    /// `logs` are those of the server; `default.log` and `special.log` are files.
    fn new(logs: Json, handlers: Json, errors: Json) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name).display().to_string();
        let logging = serde_json::from_value(json!({"logs": {
            "default": {"writer": {"output": "file", "filename": file("default.log")}, "level": "DEBUG"},
            "special": {
                "writer": {"output": "file", "filename": file("special.log")},
                "include": ["http.log.access.special"],
            },
        }}))
        .unwrap();
        let logging = Arc::new(Logging::provision(Some(&logging), &modules()).unwrap());
        let mut config = json!({"routes": [{"handle": handlers}]});
        if !logs.is_null() {
            config["logs"] = logs;
        }
        if !errors.is_null() {
            config["errors"] = json!({"routes": [{"handle": errors}]});
        }
        let config: ServerConfig = serde_json::from_value(config).unwrap();
        let handlers = [(PROBE.id, &PROBE)].into();
        let matchers = [].into();
        let mut ctx = Provision::new(&handlers, &matchers).with_logging(logging.clone());
        let server = Server::provision("test", &config, &mut ctx).unwrap();
        Self { dir, server, _logging: logging }
    }

    /// Plays a request and reads its answer's body to the end; the body.
    fn play(&self, request: http::Request<Body>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut x = Exchange::for_test(request);
            let response = self.server.serve(&mut x).await;
            let body = response.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(body.to_vec()).unwrap()
        })
    }

    fn get(&self, target: &str) -> String {
        self.play(http::Request::get(target).header("host", "h.example:8080").body(Body::Empty).unwrap())
    }

    /// The entries of a file, once all that was logged is there.
    fn entries(self, file: &str) -> Vec<Json> {
        assert!(crate::log::flush(Duration::from_secs(10)));
        let text = std::fs::read_to_string(self.dir.path().join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn all_fields_of_an_entry() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe"}]), Json::Null);
    let request = http::Request::post("/p?q=1")
        .header("host", "h.example:8080")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("authorization", "Bearer secret")
        .header("transfer-encoding", "chunked")
        .body(Body::from("abc"))
        .unwrap();
    assert_eq!(bench.play(request), "hello");
    let mut entries = bench.entries("default.log");
    assert_eq!(entries.len(), 1);
    let mut entry = entries.remove(0);
    assert!(entry["ts"].take().is_f64() && entry["duration"].take().is_f64());
    assert_eq!(
        entry,
        json!({
            "level": "info",
            "ts": null,
            "logger": "http.log.access",
            "msg": "handled request",
            "request": {
                "remote_ip": "192.0.2.1",
                "remote_port": "1234",
                "client_ip": "192.0.2.1",
                "proto": "HTTP/1.1",
                "method": "POST",
                "host": "h.example:8080",
                "uri": "/p?q=1",
                "headers": {"X-A": ["1", "2"], "Authorization": ["REDACTED"]},
                "transfer_encoding": ["chunked"],
            },
            "bytes_read": 0,
            "user_id": "",
            "duration": null,
            "size": 5,
            "status": 200,
            "resp_headers": {"X-Answer": ["yes"], "Set-Cookie": ["REDACTED"]},
        })
    );
}

#[test]
fn keys_are_not_logged_wherever_they_are_sent() {
    let handlers = json!([{"handler": "probe", "secret_header": "x-api-key", "secret_query": "api-key"}]);
    let bench = Bench::new(json!({}), handlers, Json::Null);
    let request = http::Request::get("/?api-key=s3cret&x=1")
        .header("x-api-key", "s3cret")
        .header("referer", "http://h/?x=1&api-key=s3cret")
        .body(Body::Empty)
        .unwrap();
    bench.play(request);
    let entries = bench.entries("default.log");
    let text = entries[0].to_string();
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(entries[0]["request"]["uri"], "/?api-key=REDACTED&x=1");
    assert_eq!(entries[0]["request"]["headers"]["X-Api-Key"], json!(["REDACTED"]));
}

#[test]
fn credentials_are_logged_if_that_is_wanted() {
    let bench =
        Bench::new(json!({"should_log_credentials": true}), json!([{"handler": "probe"}]), Json::Null);
    bench.play(http::Request::get("/").header("authorization", "Bearer open").body(Body::Empty).unwrap());
    let entries = bench.entries("default.log");
    assert_eq!(entries[0]["request"]["headers"]["Authorization"], json!(["Bearer open"]));
    assert_eq!(entries[0]["resp_headers"]["Set-Cookie"], json!(["s=secret"]));
}

#[test]
fn a_stream_is_logged_when_it_has_gone() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe", "stream": "streamed"}]), Json::Null);
    assert_eq!(bench.get("/"), "streamed");
    let entries = bench.entries("default.log");
    assert_eq!((entries[0]["size"].as_u64(), entries[0]["status"].as_u64()), (Some(8), Some(200)));
}

#[test]
fn fields_of_handlers() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe", "fields": true}]), Json::Null);
    bench.get("/");
    let entries = bench.entries("default.log");
    assert_eq!((&entries[0]["early"], &entries[0]["late"]), (&json!(1), &json!("yes")));
}

#[test]
fn fields_of_routes_that_failed_know_nothing_of_the_error() {
    let bench = Bench::new(
        json!({}),
        json!([{"handler": "probe", "fields": true, "fail": 500}]),
        json!([{"handler": "probe"}]),
    );
    bench.get("/");
    let entries = bench.entries("default.log");
    let entry = entries.iter().find(|entry| entry["logger"] == "http.log.access").unwrap();
    assert_eq!((&entry["early"], &entry["late"]), (&json!(1), &Json::Null));
}

#[test]
fn bodies_of_answers() {
    for body in [json!("streamed"), Json::Null] {
        let handlers = json!([{"handler": "probe", "show_body": true, "stream": body}]);
        let bench = Bench::new(json!({}), handlers, Json::Null);
        let text = bench.get("/");
        let entries = bench.entries("default.log");
        assert_eq!(entries[0]["body"], json!(text));
        assert!(matches!(entries[0]["packed"].as_str(), Some("c3RyZWFtZWQ=" | "aGVsbG8=")));
    }
}

#[test]
fn requests_that_are_skipped_or_of_other_loggers() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe", "skip": true}]), Json::Null);
    bench.get("/");
    assert_eq!(bench.entries("default.log").len(), 0);

    let handlers = json!([{"handler": "probe", "loggers": ["special", ""]}]);
    let bench = Bench::new(json!({"default_logger_name": "other"}), handlers.clone(), Json::Null);
    bench.get("/");
    let names =
        |entries: Vec<Json>| entries.iter().map(|entry| entry["logger"].to_string()).collect::<Vec<_>>();
    assert_eq!(names(bench.entries("default.log")), ["\"http.log.access.special\"", "\"http.log.access\""]);
    let bench = Bench::new(json!({"default_logger_name": "other"}), handlers, Json::Null);
    bench.get("/");
    assert_eq!(names(bench.entries("special.log")), ["\"http.log.access.special\""]);

    let bench = Bench::new(json!({"skip_hosts": ["*.example"]}), json!([{"handler": "probe"}]), Json::Null);
    bench.get("/");
    assert_eq!(bench.entries("default.log").len(), 0);
}

#[test]
fn requests_that_nobody_answers() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe", "next": true}]), Json::Null);
    bench.get("/");
    let entries = bench.entries("default.log");
    assert_eq!((&entries[0]["msg"], &entries[0]["status"]), (&json!("NOP"), &json!(0)));

    let bench = Bench::new(json!({}), json!([{"handler": "probe", "abort": true}]), Json::Null);
    bench.get("/");
    let entries = bench.entries("default.log");
    assert_eq!((&entries[0]["size"], &entries[0]["status"]), (&json!(0), &json!(0)));
}

#[test]
fn a_client_that_leaves_is_logged_as_such() {
    let bench = Bench::new(json!({}), json!([{"handler": "probe", "hang": true}]), Json::Null);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut x = Exchange::get("/", &[]);
    let left = runtime
        .block_on(async { tokio::time::timeout(Duration::from_millis(5), bench.server.serve(&mut x)).await });
    assert!(left.is_err());
    drop(x);
    let entries = bench.entries("default.log");
    assert_eq!((&entries[0]["msg"], &entries[0]["status"]), (&json!("handled request"), &json!(499)));
}

#[test]
fn errors_are_logged_by_how_they_end() {
    let errors = |status: u16, routes: Json, logs: Json| {
        let bench = Bench::new(logs, json!([{"handler": "probe", "fail": status}]), routes);
        bench.get("/");
        let entries = bench.entries("default.log");
        let error = entries.iter().find(|entry| entry["logger"].as_str().unwrap().contains(".error"));
        let error = error.unwrap().clone();
        format!("{} {} {}", error["level"].as_str().unwrap(), error["logger"], error["msg"])
    };
    let fails = || json!([{"handler": "probe", "fail": 500}]);
    assert_eq!(errors(502, Json::Null, Json::Null), "error \"http.log.error\" \"it failed\"");
    assert_eq!(errors(404, Json::Null, Json::Null), "debug \"http.log.error\" \"it failed\"");
    assert_eq!(
        errors(502, json!([{"handler": "probe"}]), json!({"default_logger_name": "a"})),
        "debug \"http.log.error.a\" \"it failed\""
    );
    assert_eq!(errors(404, fails(), Json::Null), "error \"http.log.error\" \"error handling handler error\"");
}

#[test]
fn handlers_are_traced_without_keys() {
    let key = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let bench = Bench::new(json!({"trace": true}), json!([{"handler": "probe", "a": [key]}]), Json::Null);
    bench.get("/");
    let entries = bench.entries("default.log");
    assert_eq!((&entries[0]["logger"], &entries[0]["msg"]), (&json!("http.log.trace"), &json!("probe")));
    assert_eq!(entries[0]["module"], json!({"a": ["REDACTED"]}));
}

#[test]
fn a_log_that_swallows_everything_costs_nothing() {
    let config =
        serde_json::from_value(json!({"logs": {"default": {"writer": {"output": "discard"}}}})).unwrap();
    let logging = Arc::new(Logging::provision(Some(&config), &modules()).unwrap());
    let (handlers, matchers) = ([].into(), [].into());
    let ctx = Provision::new(&handlers, &matchers).with_logging(logging);
    assert!(ServerLog::provision(Some(&ServerLogs::default()), &ctx).access.is_none());
    let without = Provision::new(&handlers, &matchers)
        .with_logging(Arc::new(Logging::provision(None, &Modules::default()).unwrap()));
    assert!(ServerLog::provision(None, &without).access.is_none());
    assert!(ServerLog::provision(Some(&ServerLogs::default()), &without).access.is_some());
}
