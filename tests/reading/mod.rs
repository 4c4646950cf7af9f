//! What holds for whatever is given as a configuration. The fuzzer and the tests share this.

use std::sync::LazyLock;

use tollgate::adapt::adapt;
use tollgate::config::{Config, parse_json};
use tollgate::http::Provision;
use tollgate::module::Registry;
use tollgate_grammar::{MISTAKES_MAX, NoFiles, decode};

static REGISTRY: LazyLock<Registry> = LazyLock::new(tollgate::modules::registry);

/// Variables that are set; each shows another danger.
fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("example.com".to_owned()),
        "EMPTY" => Some(String::new()),
        "KEY" => Some("sk-\" {\n}#\\*{path}".to_owned()),
        _ => None,
    }
}

/// Reads bytes as a Caddyfile. What it means is a configuration that reads back as it was written; what is wrong with
/// it can be shown, and is no more than a screen can hold.
pub fn adapt_anything(bytes: &[u8]) {
    match adapt("Caddyfile", &decode(bytes), &REGISTRY.vocabulary, &env, &NoFiles) {
        Ok(adapted) => {
            let json = serde_json::to_value(&adapted.config).expect("it is JSON");
            let back = Config::from_json(json.clone()).expect("it reads back");
            assert_eq!(serde_json::to_value(&back).expect("it is JSON"), json);
        }
        Err(error) => {
            assert!(error.further().len() < MISTAKES_MAX);
            assert!(error.render_all("Error: ", true).contains("Error: "));
        }
    }
}

/// Reads bytes as a configuration in JSON, and builds its routes. Whatever does not fit is an error.
pub fn load_anything(bytes: &[u8]) {
    let Ok(json) = parse_json(bytes) else { return };
    let config = match Config::from_json(json) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for server in config.apps.http.iter().flat_map(|http| http.servers.values()) {
        let mut ctx = Provision::new(&REGISTRY.handlers, &REGISTRY.matchers);
        if let Err(error) = ctx.routes(&server.routes) {
            assert!(!error.to_string().is_empty());
        }
    }
}
