//! `root`: where a site's files are.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv
//! 	respond "files are in {vars.root}"
//! }
//! ```

use serde_json::json;

use super::vars;
use crate::adapt::{ConfigValue, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "root", syntax: "root [<matcher>] <path>", parse: Parse::Routes(parse) }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let matchers = match h.cursor.count_remaining_args() {
        0 => return Err(h.cursor.err("too few arguments; must have at least a root path")),
        // A single argument is the path, even if it looks like a matcher.
        1 => None,
        2 => {
            let matchers = h.extract_matcher_set()?;
            h.cursor.next();
            matchers
        }
        _ => return Err(h.cursor.err("too many arguments; should only be a matcher and a path")),
    };
    if !h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let root = json!({ "root": h.cursor.val() });
    Ok(h.new_route(matchers, ModuleJson::new(HANDLER_TAG, vars::NAME, &root)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        for line in ["root /srv", "root * /srv"] {
            assert_eq!(routes(line), json!([{"handle": [{"handler": "vars", "root": "/srv"}]}]), "{line}");
        }
        assert_eq!(routes("root /a/* /srv/a")[0]["match"], json!([{"path": ["/a/*"]}]));
        assert!(adapt("root").unwrap_err().contains("too few arguments"));
        assert!(adapt("root a b c").unwrap_err().contains("too many arguments"));
    }

    #[test]
    fn it_is_a_variable() {
        assert_eq!(site("root * /srv\nrespond {vars.root}").get("/", &[]).1, "/srv");
    }
}
