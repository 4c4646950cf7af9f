//! `storage`, `storage_check` and `storage_clean_interval`: where certificates and keys are kept.

use super::{off, single};
use crate::adapt::{Error, GlobalOption, OptionReader, StorageClean};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption { name: "storage", syntax: "storage <module> ...", parse },
        GlobalOption {
            name: "storage_check",
            syntax: "storage_check off",
            parse: |reader| {
                off(&mut reader.cursor, "storage_check")?;
                reader.options.storage_check_off = true;
                Ok(())
            },
        },
        GlobalOption {
            name: "storage_clean_interval",
            syntax: "storage_clean_interval off|<duration>",
            parse: parse_clean,
        },
    ],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    reader.cursor.next();
    if !reader.cursor.next() {
        return Err(reader.cursor.arg_err());
    }
    reader.options.storage = Some(reader.submodule("caddy.storage", "module")?);
    Ok(())
}

fn parse_clean(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let text = single(&mut reader.cursor)?;
    reader.options.storage_clean = Some(if text == "off" {
        StorageClean::Off
    } else {
        StorageClean::Every(text.parse().map_err(|error| {
            reader
                .cursor
                .err(format!("failed to parse storage_clean_interval, must be a duration or 'off' {error}"))
        })?)
    });
    Ok(())
}
