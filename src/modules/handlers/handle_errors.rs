//! `handle_errors`: what happens to requests that fail, for all statuses or some.
//!
//! ```caddyfile
//! :8080 {
//! 	handle_errors 404 5xx {
//! 		respond "{err.status_code} {err.status_text}"
//! 	}
//! }
//! ```

use serde_json::json;

use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::config::http::{MatcherSet, Route, Subroute};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "handle_errors",
        syntax: "handle_errors [<status>|<digit>xx...] {
	<directives...>
}",
        parse: Parse::Site(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let statuses = h.cursor.remaining_args();
    let expression = expression(&h.cursor, &statuses)?;
    // The block's parser wants to stand before the last token on the line.
    h.cursor.prev();
    let subroute = h.parse_segment_as_subroute()?;
    let matcher_sets = match expression {
        Some(expression) => vec![MatcherSet::from_iter([("expression".to_owned(), json!(expression))])],
        None => Vec::new(),
    };
    let route = Route { matcher_sets, handle: vec![subroute.into_handler()], ..Route::default() };
    Ok(vec![ConfigValue::ErrorRoutes(Subroute { routes: vec![route], errors: None })])
}

/// The CEL expression that is true for these statuses; `None` if there are none, which means all.
fn expression(cursor: &Cursor, statuses: &[String]) -> Result<Option<String>, Error> {
    let mut terms = Vec::new();
    let mut codes = Vec::new();
    for status in statuses {
        let is_number = |text: &str| text.parse::<i32>().is_ok();
        match status.strip_suffix("xx") {
            _ if status.len() != 3 => return Err(cursor.err(format!("bad status value '{status}'"))),
            Some(digit) if is_number(digit) => terms.push(format!(
                "{{http.error.status_code}} >= {digit}00 && {{http.error.status_code}} <= {digit}99"
            )),
            None if is_number(status) => codes.push(status.as_str()),
            digit => {
                let text = digit.unwrap_or(status);
                return Err(cursor.err(format!(
                    "bad status value '{text}': strconv.Atoi: parsing {text:?}: invalid syntax"
                )));
            }
        }
    }
    if !codes.is_empty() {
        terms.push(format!("{{http.error.status_code}} in [{}]", codes.join(", ")));
    }
    Ok((!terms.is_empty()).then(|| terms.join(" || ")))
}
