//! `admin` and `persist_config`: the admin endpoint, and whether the configuration is kept.

use super::{off, unrecognized};
use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::config::Admin;
use crate::module::Module;

/// Where the admin endpoint listens unless it is said otherwise.
const DEFAULT_LISTEN: &str = "localhost:2019";

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "admin",
            syntax: "admin off|<address> {
	origins <origins...>
	enforce_origin
}",
            parse,
        },
        GlobalOption {
            name: "persist_config",
            syntax: "persist_config off",
            parse: |reader| {
                off(&mut reader.cursor, "persist_config")?;
                reader.options.persist_config_off = true;
                Ok(())
            },
        },
    ],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    let mut admin = Admin::default();
    cursor.next();
    if cursor.next_arg() {
        if cursor.val() == "off" {
            admin.disabled = true;
            if cursor.next() {
                return Err(cursor.err("No more option is allowed after turning off admin config"));
            }
        } else {
            cursor.val().clone_into(&mut admin.listen);
            if cursor.next_arg() {
                return Err(cursor.arg_err());
            }
        }
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "enforce_origin" => admin.enforce_origin = true,
            "origins" => admin.origins = cursor.remaining_args(),
            _ => return Err(unrecognized(cursor, "parameter", &["enforce_origin", "origins"])),
        }
    }
    if admin.listen.is_empty() && !admin.disabled {
        DEFAULT_LISTEN.clone_into(&mut admin.listen);
    }
    reader.options.admin = Some(admin);
    Ok(())
}
