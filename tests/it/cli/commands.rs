//! Commands that do their work and end.

use std::io::Write as _;
use std::process::{Output, Stdio};

use super::{Place, text};

const UGLY: &str = ":80 {\nrespond hi\n}\n";
const NEAT: &str = ":80 {\n\trespond hi\n}\n";

/// Runs a command with this stdin.
fn with_stdin(place: &Place, args: &[&str], stdin: &str) -> Output {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_version_is_one_line_that_begins_with_the_number() {
    let place = Place::new();
    let version = place.ok(&["version"]);
    assert!(version.starts_with(&format!("v{} ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert_eq!(version.lines().count(), 1);
    assert_eq!(place.ok(&["--version"]), version);
}

#[test]
fn what_makes_no_sense_is_named_on_stderr() {
    let place = Place::new();
    let error = place.refused(&["relaod"]);
    assert!(error.contains("`relaod`") && error.contains("did you mean `reload`?"), "{error}");
    assert!(place.refused(&["run", "--frobnicate"]).contains("--frobnicate"));
    assert!(place.refused(&["run", "--config"]).contains("--config"));
    assert!(place.refused(&["adapt", "--adapter", "yaml", "--config", "x"]).contains("yaml"));
}

#[test]
fn help_goes_to_stdout_under_the_name_that_was_called() {
    let place = Place::new();
    assert!(place.ok(&[]).contains("hash-password"));
    assert!(place.ok(&["help", "run"]).contains("--pidfile"));
    std::os::unix::fs::symlink(crate::support::gateway_binary(), place.path("caddy")).expect("a link");
    let output =
        std::process::Command::new(place.path("caddy")).args(["run", "-h"]).output().expect("it runs");
    assert!(text(&output.stdout).contains("Usage: caddy run"), "{output:?}");
}

#[test]
fn words_that_a_command_has_no_use_for_are_warned_about() {
    let output = Place::new().tollgate(&["version", "extra"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("`extra`"), "{output:?}");
}

#[test]
fn environment_files_add_to_the_environment() {
    let place = Place::new();
    place.write("one.env", "FIRST=1\nTAKEN=file\nexport QUOTED='two words'\n");
    place.write("two.env", "FIRST=2\nSECOND=2\n");
    let mut command = place.command(&["environ", "--envfile", "one.env", "--envfile", "two.env"]);
    let output = text(&command.env("TAKEN", "shell").output().expect("it runs").stdout);
    let lines: Vec<&str> = output.lines().collect();
    for line in ["FIRST=1", "SECOND=2", "TAKEN=shell", "QUOTED=two words"] {
        assert!(lines.contains(&line), "{line} is missing: {output}");
    }
    let data = format!("caddy.AppDataDir={}", place.path(".local/share/caddy").display());
    assert!(lines.contains(&data.as_str()), "{output}");
    place.write("odd.env", "FINE=1\nnonsense\n");
    let error = place.refused(&["environ", "--envfile", "odd.env"]);
    assert!(error.contains("odd.env") && error.contains("line 2"), "{error}");
}

#[test]
fn a_password_on_stdin_is_a_whole_line() {
    let place = Place::new();
    let hash = |stdin| with_stdin(&place, &["hash-password", "--bcrypt-cost", "4"], stdin);
    let hashed = text(&hash("open sesame\n").stdout);
    assert!(bcrypt::verify("open sesame", hashed.trim_end()).expect("a hash"), "{hashed}");
    for stdin in ["", "\n", "cut off"] {
        let output = hash(stdin);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stdin:?}: {output:?}");
    }
}

#[test]
fn fmt_prints_or_overwrites_and_tells_by_its_exit_code() {
    let place = Place::new();
    place.write("ugly", UGLY);
    place.write("neat", NEAT);
    let ugly = place.tollgate(&["fmt", "ugly"]);
    assert_eq!((ugly.status.code(), text(&ugly.stdout)), (Some(1), NEAT.to_owned()));
    assert!(text(&ugly.stderr).contains("ugly:2: "), "{ugly:?}");
    assert_eq!(place.read("ugly"), UGLY);
    assert_eq!(place.ok(&["fmt", "neat"]), NEAT);
    let diff = place.tollgate(&["fmt", "-d", "ugly"]);
    assert_eq!(text(&diff.stdout), "  :80 {\n- respond hi\n+ \trespond hi\n  }\n  \n");
    assert_eq!(place.ok(&["fmt", "--overwrite", "--config", "ugly"]), "");
    assert_eq!(place.read("ugly"), NEAT);
    assert_eq!(text(&with_stdin(&place, &["fmt", "-"], UGLY).stdout), NEAT);
    assert!(place.refused(&["fmt", "ugly", "neat"]).contains("one file"));
    assert!(place.refused(&["fmt", "nowhere"]).contains("nowhere"));
}

#[test]
fn adapt_prints_the_json_alone() {
    let place = Place::new();
    let output = with_stdin(&place, &["adapt", "--config", "-"], UGLY);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["apps"]["http"]["servers"]["srv0"]["listen"], serde_json::json!([":80"]));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert!(text(&output.stderr).contains("not formatted"), "{output:?}");
    place.write("Caddyfile", NEAT);
    let pretty = place.ok(&["adapt", "--pretty"]);
    assert!(pretty.contains("\n\t\"apps\": {\n"), "{pretty}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).expect("JSON"), json);
}

#[test]
fn a_wrong_caddyfile_is_shown_where_it_is_wrong() {
    let place = Place::new();
    place.write("bad.conf", ":80 {\n\trespond hi\n\n\tfrobnicate all\n}\n");
    for command in ["adapt", "validate", "run", "reload"] {
        let error = place.refused(&[command, "--config", "bad.conf", "--adapter", "caddyfile"]);
        assert!(error.contains("bad.conf:4:2") && error.contains("frobnicate all"), "{command}: {error}");
    }
    place.write("Caddyfile", ":80 {\n\trespnd hi\n}\n");
    assert!(place.refused(&["validate"]).contains("did you mean `respond`?"));
}

#[test]
fn validate_builds_everything_and_opens_nothing() {
    let place = Place::new();
    place.site("x");
    assert_eq!(place.ok(&["validate"]), "Valid configuration\n");
    assert!(!place.path("site.sock").exists());
    for (json, expected) in [
        (r#"{"apps": nope}"#, "not valid JSON"),
        (r#"{"apps": {"warp": {}}}"#, "warp"),
        (r#"{"apps": {"http": {"servers": {"a": {"bogus": 1}}}}}"#, "bogus"),
        (r#"{"admin": {"listen": "127.0.0.1:1-2"}}"#, "127.0.0.1:1-2"),
    ] {
        place.write("bad.json", json);
        let error = place.refused(&["validate", "--config", "bad.json"]);
        assert!(error.contains(expected), "{json}: {error}");
    }
    place.write("tls.json", r#"{"apps": {"tls": {"certificates": {"load_files": [{"certificate": "gone.crt", "key": "gone.key"}]}}}}"#);
    assert!(place.refused(&["validate", "--config", "tls.json"]).contains("gone.crt"));
    place.write("empty.json", "");
    let error = place.refused(&["validate", "--config", "empty.json"]);
    assert!(error.contains("decoding config: EOF: empty.json is empty"), "{error}");
    place.write("Caddyfile", "https://localhost:8443 {\n\ttls gone.crt gone.key\n}\n");
    place.ok(&["adapt"]);
    let output = place.tollgate(&["adapt", "--validate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("gone.crt"), "{output:?}");
}

#[test]
fn modules_are_listed_as_text_and_as_json() {
    let place = Place::new();
    let listed = place.ok(&["list-modules"]);
    let ids: Vec<&str> = listed.lines().take_while(|line| !line.is_empty()).collect();
    assert!(ids.contains(&"http.handlers.static_response") && ids.contains(&"tls"), "{listed}");
    assert!(ids.is_sorted());
    let json: serde_json::Value = serde_json::from_str(&place.ok(&["list-modules", "--json"])).expect("JSON");
    let names: Vec<&str> =
        json.as_array().expect("a list").iter().filter_map(|m| m["module_name"].as_str()).collect();
    assert_eq!(names, ids);
    assert_eq!(place.ok(&["list-modules", "-s"]), "");
}
