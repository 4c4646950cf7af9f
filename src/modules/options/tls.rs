//! `auto_https`, `default_sni`, `fallback_sni`, `dns`, `tls_resolvers` and `ech`: TLS for all sites.

use serde_json::json;

use super::single;
use crate::adapt::{AutoHttpsOption, Error, GlobalOption, OptionReader};
use crate::config::tls::{Ech, EchConfig, EchPublication};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "auto_https",
            syntax: "auto_https off|disable_redirects|disable_certs|ignore_loaded_certs...",
            parse: parse_auto,
        },
        GlobalOption {
            name: "default_sni",
            syntax: "default_sni <name>",
            parse: |reader| {
                reader.options.default_sni = single(&mut reader.cursor)?;
                Ok(())
            },
        },
        GlobalOption {
            name: "fallback_sni",
            syntax: "fallback_sni <name>",
            parse: |reader| {
                reader.options.fallback_sni = single(&mut reader.cursor)?;
                Ok(())
            },
        },
        GlobalOption {
            name: "dns",
            syntax: "dns <provider> ...",
            parse: |reader| {
                reader.cursor.next();
                if !reader.cursor.next() {
                    return Err(reader.cursor.arg_err());
                }
                reader.options.dns = Some(reader.submodule("dns.providers", "name")?);
                Ok(())
            },
        },
        GlobalOption {
            name: "tls_resolvers",
            syntax: "tls_resolvers <addresses...>",
            parse: |reader| {
                reader.cursor.next();
                reader.options.tls_resolvers = reader.cursor.remaining_args();
                if reader.options.tls_resolvers.is_empty() {
                    return Err(reader.cursor.arg_err());
                }
                Ok(())
            },
        },
        GlobalOption {
            name: "ech",
            syntax: "ech <public_names...> {
	dns <provider> ...
}",
            parse: parse_ech,
        },
    ],
    ..Module::EMPTY
};

fn parse_auto(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let words = cursor.remaining_args();
    if words.is_empty() {
        return Err(cursor.arg_err());
    }
    let option = |word: &String| {
        match word.as_str() {
        "off" => Ok(AutoHttpsOption::Off),
        "disable_redirects" => Ok(AutoHttpsOption::DisableRedirects),
        "disable_certs" => Ok(AutoHttpsOption::DisableCerts),
        "ignore_loaded_certs" => Ok(AutoHttpsOption::IgnoreLoadedCerts),
        word => Err(cursor
            .err("auto_https must be one of 'off', 'disable_redirects', 'disable_certs', or 'ignore_loaded_certs'")
            .did_you_mean(word, ["off", "disable_redirects", "disable_certs", "ignore_loaded_certs"])),
    }
    };
    reader.options.auto_https = words.iter().map(option).collect::<Result<_, _>>()?;
    Ok(())
}

fn parse_ech(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    reader.cursor.next();
    let names = reader.cursor.remaining_args();
    if names.is_empty() {
        return Err(reader.cursor.arg_err());
    }
    let configs = names.iter().map(|name| EchConfig { public_name: name.clone() }).collect();
    let mut ech = Ech { configs, publication: Vec::new() };
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        if reader.cursor.val() != "dns" {
            let message = format!("ech: unrecognized subdirective '{}'", reader.cursor.val());
            return Err(reader.cursor.err(message).did_you_mean(reader.cursor.val(), ["dns"]));
        }
        if !reader.cursor.next() {
            return Err(reader.cursor.arg_err());
        }
        let provider = reader.submodule("dns.providers", "name")?;
        let publisher = ("dns".to_owned(), json!({ "provider": provider }));
        ech.publication.push(EchPublication {
            configs: names.clone(),
            publishers: [publisher].into(),
            ..EchPublication::default()
        });
    }
    reader.options.ech = Some(ech);
    Ok(())
}
