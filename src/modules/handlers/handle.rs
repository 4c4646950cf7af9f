//! `handle` and `handle_path`: directives for some requests, of which only the first block that matches runs.
//!
//! ```caddyfile
//! :8080 {
//! 	handle /api/* {
//! 		respond "the API"
//! 	}
//! 	handle_path /docs/* {
//! 		respond "page {path}"
//! 	}
//! 	handle {
//! 		respond "anything else" 404
//! 	}
//! }
//! ```

use serde_json::json;

use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, MatcherSet, Route};
use crate::config::rewrite::Rewrite;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[
        Directive {
            name: "handle",
            syntax: "handle [<matcher>] {
	<directives...>
}",
            parse: Parse::Handler(parse),
        },
        Directive {
            name: "handle_path",
            syntax: "handle_path <path> {
	<directives...>
}",
            parse: Parse::Routes(parse_path),
        },
    ],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    Ok(h.parse_segment_as_subroute()?.into_handler())
}

/// `handle` for a path, whose fixed part is taken off before the block sees it.
fn parse_path(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    if !h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let path = h.cursor.val().to_owned();
    if !path.starts_with('/') {
        return Err(h.cursor.err(format!("path matcher must begin with '/', got {path}")));
    }
    let prefix = path.strip_suffix("/*").or_else(|| path.strip_suffix('*')).unwrap_or(&path);
    let rewrite = Rewrite { strip_path_prefix: prefix.to_owned(), ..Rewrite::default() };
    let strip = ModuleJson::new(HANDLER_TAG, "rewrite", &rewrite);
    let pattern =
        h.cursor.token().map(|token| crate::adapt::matcher_text(token, |_| true)).unwrap_or_default();

    // The block's parser wants to stand before the last token on the line.
    h.cursor.reset();
    h.cursor.next();
    let mut subroute = h.parse_segment_as_subroute()?;
    subroute.routes.insert(0, Route { handle: vec![strip], ..Route::default() });
    let matchers = MatcherSet::from_iter([("path".to_owned(), json!([pattern]))]);
    Ok(h.new_route(Some(matchers), subroute.into_handler()))
}
