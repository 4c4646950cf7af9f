//! `route`: directives that run in the order in which they are written.
//!
//! ```caddyfile
//! :8080 {
//! 	route /a/* {
//! 		respond /a/b "first"
//! 		respond "second"
//! 	}
//! }
//! ```

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "route",
        syntax: "route [<matcher>] {
	<directives...>
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    Ok(h.parse_segment_as_route()?.into_handler())
}
