//! `pki`: certificate authorities of our own.

use super::unrecognized;
use crate::adapt::{Cursor, Error, GlobalOption, OptionReader};
use crate::config::Duration;
use crate::config::pki::{Ca, DEFAULT_CA, KeyPair, Pki};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption {
        name: "pki",
        syntax: "pki {
	ca [<id>] {
		name <name>
		root_cn <name>
		intermediate_cn <name>
		intermediate_lifetime <duration>
		maintenance_interval <duration>
		renewal_window_ratio <ratio>
		root|intermediate {
			cert <path>
			key <path>
			format <format>
		}
	}
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    let mut pki = Pki::default();
    cursor.next();
    while cursor.next_block(0) {
        if cursor.val() != "ca" {
            return Err(unrecognized(cursor, "pki option", &["ca"]));
        }
        let mut id = DEFAULT_CA.to_owned();
        if cursor.next_arg() {
            if !cursor.val().is_empty() {
                cursor.val().clone_into(&mut id);
            }
            if cursor.next_arg() {
                return Err(cursor.arg_err());
            }
        }
        pki.certificate_authorities.insert(id, authority(cursor)?);
    }
    reader.options.pki = Some(pki);
    Ok(())
}

fn authority(cursor: &mut Cursor) -> Result<Ca, Error> {
    let mut ca = Ca::default();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "name" => [ca.name] = cursor.args()?,
            "root_cn" => [ca.root_common_name] = cursor.args()?,
            "intermediate_cn" => [ca.intermediate_common_name] = cursor.args()?,
            "intermediate_lifetime" => ca.intermediate_lifetime = duration(cursor)?,
            "maintenance_interval" => ca.maintenance_interval = duration(cursor)?,
            "renewal_window_ratio" => ca.renewal_window_ratio = ratio(cursor)?,
            "root" => key_pair(cursor, "root", ca.root.get_or_insert_default())?,
            "intermediate" => key_pair(cursor, "intermediate", ca.intermediate.get_or_insert_default())?,
            _ => {
                let known = [
                    "name",
                    "root_cn",
                    "intermediate_cn",
                    "intermediate_lifetime",
                    "maintenance_interval",
                    "renewal_window_ratio",
                    "root",
                    "intermediate",
                ];
                return Err(unrecognized(cursor, "pki ca option", &known));
            }
        }
    }
    Ok(ca)
}

fn duration(cursor: &mut Cursor) -> Result<Duration, Error> {
    let [text] = cursor.args()?;
    text.parse().map_err(|error| cursor.err(format!("{error}")))
}

fn ratio(cursor: &mut Cursor) -> Result<f64, Error> {
    let [text] = cursor.args()?;
    match text.parse() {
        Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(ratio),
        _ => Err(cursor.err(format!("renewal_window_ratio must be a number in (0, 1], got {text}"))),
    }
}

fn key_pair(cursor: &mut Cursor, which: &str, pair: &mut KeyPair) -> Result<(), Error> {
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        match cursor.val() {
            "cert" => [pair.certificate] = cursor.args()?,
            "key" => [pair.private_key] = cursor.args()?,
            "format" => [pair.format] = cursor.args()?,
            _ => {
                return Err(unrecognized(
                    cursor,
                    &format!("pki ca {which} option"),
                    &["cert", "key", "format"],
                ));
            }
        }
    }
    Ok(())
}
