//! Processes that serve: how they start, take signals, reload and end.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::Place;
use crate::support::{ModelServer, PATIENCE, eventually, get};

/// Serves what takes a while, at `/slow`, and has begun to answer such a request.
fn busy(place: &Place, options: &str) -> (super::Running, thread::JoinHandle<Option<u16>>) {
    let model = ModelServer::start();
    let site = place.caddyfile(&format!("reverse_proxy 127.0.0.1:{}", model.port));
    place.write("Caddyfile", &format!("{{\n\t{options}\n}}\n{site}"));
    let running = place.serve(&[], "Ollama is running");
    let socket = place.path("site.sock");
    let slow =
        thread::spawn(move || super::ask(&socket, "GET", "/slow", &[], "").ok().map(|answer| answer.status));
    eventually("the request has arrived", || {
        model.heads().iter().any(|head| head.starts_with("GET /slow ")).then_some(())
    });
    (running, slow)
}

#[test]
fn run_serves_the_caddyfile_here_until_it_is_stopped() {
    let place = Place::new();
    place.site("here");
    let running = place.serve(&["--pidfile", "run.pid"], "here");
    assert_eq!(place.read("run.pid"), format!("{}\n", running.child.id()));
    place.ok(&["stop"]);
    assert_eq!(running.ended().code(), Some(0));
    for gone in ["run.pid", "admin.sock", "site.sock"] {
        assert!(!place.path(gone).exists(), "{gone} is still there");
    }
    assert!(place.refused(&["stop"]).contains("admin.sock"));
}

#[test]
fn what_cannot_run_says_why_and_ends_with_1() {
    let place = Place::new();
    assert!(place.refused(&["run", "--config", "nowhere.conf"]).contains("nowhere.conf"));
    assert!(place.refused(&["run", "--adapter", "caddyfile"]).contains("--config"));
    // A file where the socket should be is nobody's socket.
    place.site("x");
    place.write("site.sock", "kept");
    assert!(place.refused(&["run", "--pidfile", "run.pid"]).contains("site.sock"));
    assert_eq!(place.read("site.sock"), "kept");
    assert!(!place.path("run.pid").exists() && !place.path("admin.sock").exists());
}

#[test]
fn environ_is_printed_first() {
    let place = Place::new();
    place.site("x");
    let _running = place.serve(&["--environ"], "x");
    assert!(place.read("out").lines().any(|line| line.starts_with("CADDY_ADMIN=unix/")));
}

#[test]
fn reload_changes_the_answer_and_a_broken_file_does_not() {
    let place = Place::new();
    place.site("one");
    let _running = place.serve(&[], "one");
    place.site("two");
    place.ok(&["reload"]);
    assert_eq!(place.get("/").expect("an answer").body, "two");
    place.write("Caddyfile", &place.caddyfile("respnd x"));
    assert!(place.refused(&["reload"]).contains("Caddyfile:3:2"));
    place.write("Caddyfile", "https://localhost:8443 {\n\ttls gone.crt gone.key\n}\n");
    let refused = place.refused(&["reload"]);
    assert!(refused.contains("gone.crt") && refused.contains("--> Caddyfile:2:6"), "{refused}");
    assert_eq!(place.get("/").expect("an answer").body, "two");
}

#[test]
fn json_as_deep_as_may_be_is_loaded_served_and_let_go() {
    let place = Place::new();
    place.site("one");
    let mut running = place.serve(&[], "one");
    let levels = (tollgate::config::DEPTH_MAX - 20) / 4;
    let answer = r#"{"handler":"static_response","body":"deep"}"#;
    let deep =
        r#"{"handler":"subroute","routes":[{"handle":["#.repeat(levels) + answer + &"]}]}".repeat(levels);
    let matcher = r#"{"not":["#.repeat(2 * levels) + "{}" + &"]}".repeat(2 * levels);
    let config = place.admin("GET", "/config/", &[], "").body;
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["apps"]["http"]["servers"]["srv0"]["routes"] = serde_json::json!(["ROUTES"]);
    let routes = format!(r#"{{"match":[{matcher}],"handle":[{deep}]}},{{"handle":[{deep}]}}"#);
    let text = config.to_string().replace("\"ROUTES\"", &routes);
    let load = |text: &str| place.admin("POST", "/load", &["Content-Type: application/json"], text);
    assert_eq!(load(&text).status, 200);
    assert_eq!(place.get("/").expect("an answer").body, "deep");
    let deeper = text.replacen(answer, &deep, 1);
    let refused = load(&deeper);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("objects and arrays inside one another"), "{}", refused.body);
    place.site("one");
    place.ok(&["reload"]);
    assert_eq!(place.get("/").expect("an answer").body, "one");
    assert!(running.is_alive());
}

#[test]
fn start_returns_once_it_serves() {
    let place = Place::new();
    place.site("background");
    // The process in the background holds on to its output, so that goes to files.
    let started = place.spawn(place.command(&["start", "--pidfile", "bg.pid"])).ended();
    assert_eq!(started.code(), Some(0), "{}", place.read("err"));
    assert_eq!(place.get("/").expect("an answer").body, "background");
    let pid = place.read("bg.pid").trim().to_owned();
    assert!(place.read("out").contains(&format!("pid={pid})")), "{}", place.read("out"));
    place.ok(&["stop"]);
    eventually("the background process is gone", || (!place.path("bg.pid").exists()).then_some(()));
    place.write("Caddyfile", &place.caddyfile("respnd x"));
    let started = place.spawn(place.command(&["start"])).ended();
    assert_eq!(started.code(), Some(1));
    assert!(place.read("err").contains("respnd"), "{}", place.read("err"));
}

#[test]
fn what_ran_last_is_resumed() {
    let place = Place::new();
    place.site("file");
    let running = place.serve(&["--resume"], "file");
    assert_eq!(place.load(&place.caddyfile("respond loaded")).status, 200);
    place.says("loaded");
    running.signal("TERM");
    assert_eq!(running.ended().code(), Some(0));
    place.serve(&["--resume"], "loaded").signal("TERM");
    place
        .write("Caddyfile", &format!("{{\n\tpersist_config off\n}}\n{}", place.caddyfile("respond unsaved")));
    let running = place.serve(&[], "unsaved");
    running.signal("TERM");
    assert_eq!(running.ended().code(), Some(0));
    place.serve(&["--resume"], "loaded");
}

#[test]
fn a_watched_file_is_loaded_when_it_changes() {
    let place = Place::new();
    place.site("before");
    let mut running = place.serve(&["--watch"], "before");
    place.write("Caddyfile", "broken {{{\n");
    eventually("the broken file is complained about", || {
        place.read("err").contains("unable to load latest config").then_some(())
    });
    place.site("after");
    place.says("after");
    assert!(running.is_alive());
}

#[test]
fn requests_under_way_are_answered_before_the_end() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let (running, slow) = busy(&place, "grace_period 30s");
        running.signal(signal);
        assert_eq!(running.ended().code(), Some(0), "{signal}");
        assert_eq!(slow.join().expect("no panic"), Some(200), "{signal}");
    }
}

#[test]
fn the_grace_period_bounds_the_wait() {
    let place = Place::new();
    let (running, slow) = busy(&place, "grace_period 100ms");
    let begin = Instant::now();
    running.signal("TERM");
    assert_eq!(running.ended().code(), Some(0));
    // The answer would have come after 1.2 s.
    assert!(begin.elapsed() < Duration::from_millis(1100), "{:?}", begin.elapsed());
    assert_eq!(slow.join().expect("no panic"), None);
}

#[test]
fn who_insists_does_not_wait() {
    for (first, second) in [("INT", "INT"), ("TERM", "QUIT")] {
        let place = Place::new();
        let (mut running, slow) = busy(&place, "debug");
        running.signal(first);
        eventually("no new client gets in", || place.get("/").err());
        assert!(running.is_alive());
        running.signal(second);
        let ended = running.ended();
        assert_eq!((ended.code(), ended.signal()), (Some(2), None), "{first}, {second}");
        assert_eq!(slow.join().expect("no panic"), None);
    }
}

#[test]
fn other_signals_change_nothing() {
    let place = Place::new();
    place.site("old");
    let mut running = place.serve(&[], "old");
    place.site("new");
    for signal in ["HUP", "USR2", "PIPE"] {
        running.signal(signal);
    }
    // The signals before this one have been looked at when it has had its effect.
    place.site("newer");
    running.signal("USR1");
    place.says("newer");
    assert!(running.is_alive() && !place.read("err").contains("respond new\""));
}

#[test]
fn usr1_reloads_the_file_until_something_else_has_changed_the_configuration() {
    let place = Place::new();
    place.site("one");
    let mut running = place.serve(&[], "one");
    place.site("two");
    running.signal("USR1");
    place.says("two");
    place.site("three");
    place.ok(&["reload"]);
    place.site("four");
    running.signal("USR1");
    place.says("four");
    assert_eq!(place.load(&place.caddyfile("respond loaded")).status, 200);
    running.signal("USR1");
    eventually("the signal is ignored", || place.read("err").contains("ignored SIGUSR1").then_some(()));
    place.says("loaded");
    assert!(running.is_alive());
}

#[test]
fn a_service_manager_is_told() {
    let place = Place::new();
    let manager = UnixDatagram::bind(place.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time");
    let heard = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    place.site("x");
    let mut command = place.command(&["run"]);
    command.env("NOTIFY_SOCKET", place.path("notify"));
    let running = place.spawn(command);
    assert_eq!([heard(), heard()], ["RELOADING=1", "READY=1"]);
    place.says("x");
    let refused =
        place.admin("POST", "/load", &["Content-Type: application/json"], r#"{"apps": {"warp": {}}}"#);
    assert_eq!(refused.status, 400);
    assert_eq!(heard(), "RELOADING=1");
    let status = heard();
    assert!(status.starts_with("STATUS=") && status.contains("warp"), "{status}");
    assert_eq!(heard(), "READY=1");
    running.signal("TERM");
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn respond_prints_the_address_that_it_was_given() {
    let place = Place::new();
    let mut command = place.command(&["respond", "--listen", "127.0.0.1:0", "-s", "418", "teapot {{.N}}"]);
    command.env("CADDY_ADMIN", place.admin_address());
    let running = place.spawn(command);
    let port: u16 = eventually("the address is printed", || {
        let out = place.read("out");
        out.trim().strip_prefix("Server address: 127.0.0.1:")?.parse().ok()
    });
    // All workers listen at the one port: as many connections as needed to meet each of them.
    for _ in 0..16 {
        let answer = get(port, "/any", &[]).expect("an answer");
        assert_eq!((answer.status, answer.text.ends_with("teapot 0")), (418, true), "{answer:?}");
    }
    assert!(!place.path("admin.sock").exists());
    running.signal("TERM");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let status = Command::new("sh")
        .args(["-c", "\"$0\" list-modules | true", &crate::support::gateway_binary().to_string_lossy()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(place.folder.path())
        .output()
        .expect("sh runs");
    assert_eq!(super::text(&status.stderr), "");
}
