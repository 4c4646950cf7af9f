//! `bind`: the interfaces that a site listens on.
//!
//! ```caddyfile
//! :8080 {
//! 	bind 127.0.0.1 [::1]
//! 	respond "from here only"
//! }
//! ```

use crate::adapt::{Bind, ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "bind",
        syntax: "bind <hosts...> {
	protocols <h1|h2|h2c|h3...>
}",
        parse: Parse::Site(parse),
    }],
    ..Module::EMPTY
};

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    h.cursor.next();
    let bind = read(&mut h.cursor)?;
    Ok(vec![ConfigValue::Bind(bind)])
}

/// Reads what stands after the directive's name.
pub(in crate::modules) fn read(cursor: &mut Cursor) -> Result<Bind, Error> {
    let mut bind = Bind { addresses: cursor.remaining_args(), protocols: Vec::new() };
    while cursor.next_block(0) {
        match cursor.val() {
            "protocols" => {
                bind.protocols = cursor.remaining_args();
                if bind.protocols.is_empty() {
                    return Err(cursor.err("protocols requires one or more arguments"));
                }
            }
            other => {
                return Err(cursor
                    .err(format!("unknown subdirective: {other}"))
                    .did_you_mean(other, ["protocols"]));
            }
        }
    }
    Ok(bind)
}
