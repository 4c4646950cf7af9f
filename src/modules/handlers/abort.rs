//! `abort`: ends the connection without an answer.
//!
//! ```caddyfile
//! :8080 {
//! 	abort /secret/*
//! 	respond "hello"
//! }
//! ```

use super::respond::{self, StaticResponse};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "abort", syntax: "abort [<matcher>]", parse: Parse::Handler(parse) }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    h.cursor.next();
    if h.cursor.next() || h.cursor.next_block(0) {
        return Err(h.cursor.arg_err());
    }
    let response = StaticResponse { abort: true, ..StaticResponse::default() };
    Ok(ModuleJson::new(HANDLER_TAG, respond::NAME, &response))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::Exchange;
    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn there_is_no_answer() {
        let json = routes("abort /a")[0]["handle"][0].take();
        assert_eq!(json, json!({"handler": "static_response", "abort": true}));
        assert!(adapt("abort /a b").unwrap_err().contains("wrong argument count"));
        for (target, aborted) in [("/a", true), ("/b", false)] {
            let mut x = Exchange::get(target, &[]);
            site("abort /a\nrespond ok").serve(&mut x);
            assert_eq!(x.abort, aborted);
        }
    }
}
