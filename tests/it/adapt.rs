//! Caddyfiles and what becomes of them: `tests/adapt/*.caddyfiletest`.
//!
//! Each file holds a Caddyfile, a line of ten dashes, and the configuration in JSON, or the error as it is shown.
//! `TOLLGATE_BLESS=1 cargo nextest run` writes them anew from what the adapter says; then read the diff.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tollgate::adapt::adapt;
use tollgate_grammar::NoFiles;

const SEPARATOR: &str = "\n----------\n";

/// The environment of all cases.
fn env(name: &str) -> Option<String> {
    Some(
        match name {
            "KEY" => "sk-abc123",
            "HOSTILE_KEY" => "*{path}{http.request.host}*",
            "CONFIG" => "@from_env method GET\nrespond @from_env \"{path}\"",
            "EMPTY" => "",
            _ => return None,
        }
        .to_owned(),
    )
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapt")
}

/// What the adapter says of a Caddyfile, in the form of the files.
fn adapted(caddyfile: &str) -> String {
    let registry = tollgate::modules::registry();
    match adapt("Caddyfile", caddyfile, &registry.vocabulary, &env, &NoFiles) {
        Ok(adapted) => {
            let mut text = serde_json::to_string_pretty(&adapted.config).unwrap();
            for warning in adapted.warnings {
                write!(text, "\nwarning: {}", warning.message).unwrap();
            }
            text
        }
        Err(error) => error.render_all("", false),
    }
}

#[test]
fn caddyfiles_become_what_their_file_says() {
    let bless = std::env::var_os("TOLLGATE_BLESS").is_some();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let (caddyfile, expected) = text.split_once(SEPARATOR).unwrap_or((text.trim_end(), ""));
        let got = adapted(&format!("{caddyfile}\n"));
        if bless {
            std::fs::write(path, format!("{caddyfile}{SEPARATOR}{got}\n")).unwrap();
        } else if got != expected.trim_end() {
            wrong.push(format!("{}: {got}", path.display()));
        }
    }
    assert!(paths.len() > 40, "the files were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_printed_is_read_again() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some((_, json)) = text.split_once(SEPARATOR) else { continue };
        let json = json.split("\nwarning: ").next().unwrap();
        let Ok(json) = serde_json::from_str::<serde_json::Value>(json) else { continue };
        let config = tollgate::config::Config::from_json(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), json);
    }
}

/// Caddy's order of directives, of which ours must be a part in the same order.
const CADDYS_ORDER: &[&str] = &[
    "tracing",
    "map",
    "vars",
    "fs",
    "root",
    "log_append",
    "skip_log",
    "log_skip",
    "log_name",
    "header",
    "copy_response_headers",
    "request_body",
    "timeouts",
    "redir",
    "method",
    "rewrite",
    "uri",
    "try_files",
    "basicauth",
    "basic_auth",
    "forward_auth",
    "request_header",
    "encode",
    "push",
    "intercept",
    "templates",
    "invoke",
    "handle",
    "handle_path",
    "route",
    "abort",
    "error",
    "copy_response",
    "respond",
    "metrics",
    "reverse_proxy",
    "php_fastcgi",
    "file_server",
    "acme_server",
];

#[test]
fn directives_stand_in_caddys_order() {
    let registry = tollgate::modules::registry();
    let order = registry.vocabulary.order();
    let caddys: Vec<&str> = CADDYS_ORDER.iter().copied().filter(|name| order.contains(name)).collect();
    assert_eq!(order, caddys);
}

#[test]
fn every_syntax_names_its_directive() {
    let registry = tollgate::modules::registry();
    for name in registry.vocabulary.directive_names() {
        let syntax = registry.vocabulary.directive(name).unwrap().syntax;
        let name = if name == "basicauth" { "basic_auth" } else { name };
        assert!(syntax.starts_with(name), "{name}: {syntax}");
    }
}
