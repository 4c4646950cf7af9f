//! `admin` and `persist_config`: the admin endpoint, and whether the configuration is kept.

use super::{off, unrecognized};
use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::config::{Admin, default_admin_listen};
use crate::module::Module;

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
            "origins" => {
                admin.origins = Some(cursor.remaining_args()).filter(|origins| !origins.is_empty());
            }
            _ => return Err(unrecognized(cursor, "parameter", &["enforce_origin", "origins"])),
        }
    }
    if admin.listen.is_empty() && !admin.disabled {
        admin.listen = default_admin_listen();
    }
    reader.options.admin = Some(admin);
    Ok(())
}
