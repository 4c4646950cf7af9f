//! The admin endpoint of a running process.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{Answer, Place};
use crate::support::eventually;

const JSON: &str = "Content-Type: application/json";

/// The body of an answer that must be a success.
fn value(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The `error` of an answer that must be a refusal.
#[track_caller]
fn refusal(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    body["error"].as_str().expect("an error").to_owned()
}

/// A place whose site answers `x`, running.
fn serving() -> (Place, super::Running) {
    let place = Place::new();
    place.site("x");
    let running = place.serve(&[], "x");
    (place, running)
}

#[test]
fn the_socket_is_its_owner_s() {
    let (place, _running) = serving();
    let mode = std::fs::metadata(place.path("admin.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o200);
}

#[test]
fn without_a_configuration_it_waits_for_one() {
    let place = Place::new();
    let _running = place.run(&[]);
    eventually("the admin endpoint is there", || place.path("admin.sock").exists().then_some(()));
    let answer =
        eventually("it answers", || super::ask(&place.path("admin.sock"), "GET", "/config/", &[], "").ok());
    assert_eq!(value(&answer), Value::Null);
    assert_eq!(place.load(&place.caddyfile("respond loaded")).body, "");
    assert_eq!(place.get("/").expect("an answer").body, "loaded");
    assert_eq!(place.admin("DELETE", "/config/", &[], "").status, 200);
    assert_eq!(value(&place.admin("GET", "/config/", &[], "")), Value::Null);
    eventually("the site is closed", || place.get("/").err());
}

#[test]
fn parts_of_the_configuration_are_read_and_edited() {
    let (place, _running) = serving();
    let body = "/config/apps/http/servers/srv0/routes/0/handle/0/body";
    let read = place.admin("GET", body, &[], "");
    assert_eq!(value(&read), json!("x"));
    let tag = read.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    let edit = |tag: &str, text: &str| {
        place.admin("PATCH", body, &[JSON, &format!("If-Match: {tag}")], &json!(text).to_string())
    };
    assert_eq!(edit(&tag, "y").status, 200);
    assert_eq!(place.get("/").expect("an answer").body, "y");
    refusal(&edit(&tag, "z"), 412);
    refusal(&place.admin("PATCH", body, &[], "\"z\""), 400);
    refusal(&place.admin("PUT", body, &[JSON], "\"z\""), 409);
    refusal(&place.admin("GET", "/config/apps/http/nothing/here", &[], ""), 400);
    refusal(&place.admin("GET", "/id/nobody", &[], ""), 404);
    let named = json!({"@id": "mine", "handler": "static_response", "body": "named"});
    let handle = "/config/apps/http/servers/srv0/routes/0/handle/0";
    assert_eq!(place.admin("PATCH", handle, &[JSON], &named.to_string()).status, 200);
    assert_eq!(value(&place.admin("GET", "/id/mine/body", &[], "")), json!("named"));
    assert_eq!(place.get("/").expect("an answer").body, "named");
}

#[test]
fn an_edit_that_cannot_run_changes_nothing() {
    let (place, _running) = serving();
    let before = value(&place.admin("GET", "/config/", &[], ""));
    let routes = "/config/apps/http/servers/srv0/routes";
    for (body, expected) in [
        ("{nope", "decoding request body"),
        (r#"{"handle": [{"handler": "warp_drive"}]}"#, "warp_drive"),
        (r#"{"bogus": 1}"#, "bogus"),
    ] {
        let error = refusal(&place.admin("POST", routes, &[JSON], body), 500);
        assert!(error.contains(expected), "{body}: {error}");
    }
    assert_eq!(value(&place.admin("GET", "/config/", &[], "")), before);
    assert_eq!(place.get("/").expect("an answer").body, "x");
}

#[test]
fn a_load_that_cannot_have_all_its_addresses_has_none() {
    let (place, _running) = serving();
    let listen = |name: &str| format!("unix/{}", place.path(name).display());
    let server = json!({"listen": [listen("new.sock"), listen("nowhere/new.sock")]});
    let config = json!({"apps": {"http": {"servers": {"a": server}}}}).to_string();
    let error = refusal(&place.admin("POST", "/load", &[JSON], &config), 400);
    assert!(error.contains("nowhere/new.sock"), "{error}");
    assert!(!place.path("new.sock").exists());
    assert_eq!(place.get("/").expect("an answer").body, "x");
}

#[test]
fn caddyfiles_are_loaded_and_adapted() {
    let (place, _running) = serving();
    let warned = place.load(&place.caddyfile("respond   y"));
    assert!(value(&warned)["warnings"][0]["message"].is_string(), "{warned:?}");
    assert_eq!(place.get("/").expect("an answer").body, "y");
    let error = refusal(&place.load(":80 {\n\trespnd x\n}\n"), 400);
    assert!(error.contains("respnd") && error.contains("Caddyfile:2"), "{error}");
    let unknown = place.admin("POST", "/load", &["Content-Type: text/yaml"], "x");
    assert!(refusal(&unknown, 400).contains("yaml"));
    let adapted = place.admin("POST", "/adapt", &["Content-Type: text/caddyfile"], ":1 {\n\trespond x\n}\n");
    let adapted = value(&adapted);
    assert_eq!(adapted["result"]["apps"]["http"]["servers"]["srv0"]["listen"], json!([":1"]));
    assert_eq!(adapted["warnings"], Value::Null);
    assert_eq!(place.get("/").expect("an answer").body, "y");
}

#[test]
fn the_endpoint_moves_with_the_configuration_if_that_can_run() {
    let (place, running) = serving();
    let moved = format!("unix/{}", place.path("moved.sock").display());
    let config = |app: &str| json!({"admin": {"listen": moved}, "apps": {app: {}}}).to_string();
    let error = refusal(&place.admin("POST", "/load", &[JSON], &config("warp")), 400);
    assert!(error.contains("warp"), "{error}");
    assert!(!place.path("moved.sock").exists());
    assert_eq!(place.get("/").expect("an answer").body, "x");
    assert_eq!(place.admin("POST", "/load", &[JSON], &config("http")).status, 200);
    eventually("the old endpoint is gone", || (!place.path("admin.sock").exists()).then_some(()));
    place.refused(&["stop"]);
    place.ok(&["stop", "--address", &moved]);
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn foreign_pages_are_kept_out() {
    let (place, mut running) = serving();
    for (header, status) in [
        ("Origin: http://evil.example", 403),
        ("Origin: null", 400),
        ("Sec-Fetch-Mode: no-cors", 400),
        ("Upgrade: websocket", 400),
    ] {
        for (method, target) in [("GET", "/config/"), ("POST", "/load"), ("POST", "/stop")] {
            refusal(&place.admin(method, target, &[header], ""), status);
        }
    }
    assert!(running.is_alive());
}

#[test]
fn what_is_not_there_is_refused() {
    let (place, _running) = serving();
    for target in ["/load", "/adapt", "/stop"] {
        refusal(&place.admin("GET", target, &[], ""), 405);
    }
    refusal(&place.admin("OPTIONS", "/config/", &[], ""), 405);
    refusal(&place.admin("GET", "/nope", &[], ""), 404);
    let redirect = place.admin("GET", "/config", &[], "");
    assert_eq!(redirect.status, 307);
    assert!(redirect.head.contains("\r\nlocation: /config/"), "{redirect:?}");
}
