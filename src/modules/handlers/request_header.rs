//! `request_header`: changes to the request's header fields, before anything else sees them.
//!
//! `Field value` sets, `+Field value` adds, `-Field` deletes and `Field pattern replacement` replaces.
//!
//! ```caddyfile
//! :8080 {
//! 	request_header -Cookie
//! 	respond "No cookies: [{header.Cookie}]"
//! }
//! ```

use super::header::{Headers, NAME};
use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse, header_op};
use crate::config::ModuleJson;
use crate::config::headers::HeaderOps;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "request_header",
        syntax: "request_header [<matcher>] [+|-]<field> [<value|regexp> [<replacement>]]",
        parse: Parse::Routes(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let matchers = h.extract_matcher_set()?;
    h.cursor.next();
    let args = h.cursor.remaining_args();
    let (field, value, replacement) = match args.as_slice() {
        [field] => (field, "", None),
        [field, value] => (field, value.as_str(), None),
        [field, value, replacement] => (field, value.as_str(), Some(replacement.as_str())),
        _ => return Err(h.cursor.arg_err()),
    };
    // Some write the colon, as they would for curl.
    let field = field.strip_suffix(':').unwrap_or(field);
    let mut ops = HeaderOps::default();
    header_op(&mut ops, field, value, replacement).map_err(|error| h.cursor.err(error.to_string()))?;
    let headers = Headers { request: Some(ops), response: None };
    Ok(h.new_route(matchers, ModuleJson::new(HANDLER_TAG, NAME, &headers)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::modules::testing::{adapt, routes};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        assert_eq!(
            json("request_header x-a: 1"),
            json!({"handler": "headers", "request": {"set": {"X-A": ["1"]}}})
        );
        assert_eq!(
            json("request_header -X-*"),
            json!({"handler": "headers", "request": {"delete": ["X-*"]}})
        );
        assert!(adapt("request_header ?X-A 1").unwrap_err().contains("default header modifier"));
        assert!(adapt("request_header").unwrap_err().contains("wrong argument count"));
        assert!(adapt("request_header a b c d").unwrap_err().contains("wrong argument count"));
    }
}
