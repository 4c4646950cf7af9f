//! `email`, `acme_ca` and others: what every ACME issuer does unless it is said otherwise.

use super::{duration, single, unrecognized};
use crate::adapt::{Cursor, Error, GlobalOption, OptionReader};
use crate::config::tls::{ChainPreference, ExternalAccount};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "email",
            syntax: "email <address>",
            parse: |reader| {
                reader.options.email = Some(single(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "acme_ca",
            syntax: "acme_ca <directory_url>",
            parse: |reader| {
                reader.options.acme_ca = Some(single(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "acme_ca_root",
            syntax: "acme_ca_root <pem_file>",
            parse: |reader| {
                reader.options.acme_ca_root = Some(single(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption { name: "acme_dns", syntax: "acme_dns [<provider> ...]", parse: parse_dns },
        GlobalOption {
            name: "acme_eab",
            syntax: "acme_eab {
	key_id <id>
	mac_key <key>
}",
            parse: parse_account,
        },
        GlobalOption {
            name: "cert_lifetime",
            syntax: "cert_lifetime <duration>",
            parse: |reader| {
                reader.options.cert_lifetime = Some(duration(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "preferred_chains",
            syntax: "preferred_chains [smallest] {
	root_common_name <names...>
	any_common_name <names...>
}",
            parse: |reader| {
                reader.cursor.next();
                reader.options.preferred_chains = Some(preferred_chains(&mut reader.cursor)?);
                Ok(())
            },
        },
    ],
    ..Module::EMPTY
};

fn parse_dns(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    reader.cursor.next();
    // Without a provider, that of `dns` is meant.
    let provider = if reader.cursor.next() { Some(reader.submodule("dns.providers", "name")?) } else { None };
    reader.options.acme_dns = Some(provider);
    Ok(())
}

fn parse_account(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    let mut account = ExternalAccount::default();
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "key_id" => [account.key_id] = cursor.args()?,
            "mac_key" => {
                let [key] = cursor.args()?;
                account.mac_key = key.into();
            }
            _ => return Err(unrecognized(cursor, "parameter", &["key_id", "mac_key"])),
        }
    }
    reader.options.acme_eab = Some(account);
    Ok(())
}

/// Reads which chain to take, after the word `preferred_chains`.
pub(in crate::modules) fn preferred_chains(cursor: &mut Cursor) -> Result<ChainPreference, Error> {
    let mut chains = ChainPreference::default();
    if cursor.next_arg() {
        if cursor.val() != "smallest" {
            return Err(cursor.err(format!("Invalid argument '{}'", cursor.val())));
        }
        chains.smallest = Some(true);
        if cursor.next_arg() {
            return Err(cursor.arg_err());
        }
        if cursor.next_block(cursor.nesting()) {
            return Err(cursor.err("No more options are accepted when using the 'smallest' option"));
        }
    }
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        let (list, other, name, other_name) = match cursor.val() {
            "root_common_name" => {
                (&mut chains.root_common_name, &chains.any_common_name, "root_common_name", "any_common_name")
            }
            "any_common_name" => {
                (&mut chains.any_common_name, &chains.root_common_name, "any_common_name", "root_common_name")
            }
            word => {
                return Err(cursor
                    .err(format!("Received unrecognized parameter '{word}'"))
                    .did_you_mean(word, ["root_common_name", "any_common_name"]));
            }
        };
        let names = cursor.remaining_args();
        if names.is_empty() {
            return Err(cursor.arg_err());
        }
        if !other.is_empty() {
            return Err(cursor.err(format!("Can't set {name} when {other_name} is already set")));
        }
        list.extend(names);
    }
    if chains == ChainPreference::default() {
        return Err(cursor.err("No options for preferred_chains received"));
    }
    Ok(chains)
}
