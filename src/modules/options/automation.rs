//! `cert_issuer`, `local_certs`, `key_type` and others: how certificates are got.

use serde_json::json;

use super::{duration, ratio, single, unrecognized};
use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::config::ModuleJson;
use crate::config::tls::{ISSUER_TAG, OnDemand};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "cert_issuer",
            syntax: "cert_issuer <module> ...",
            parse: |reader| {
                reader.cursor.next();
                if !reader.cursor.next() {
                    return Err(reader.cursor.arg_err());
                }
                let issuer = reader.submodule("tls.issuance", ISSUER_TAG)?;
                reader.options.cert_issuers.push(issuer);
                Ok(())
            },
        },
        GlobalOption {
            name: "local_certs",
            syntax: "local_certs",
            parse: |reader| {
                reader.options.local_certs = true;
                Ok(())
            },
        },
        GlobalOption {
            name: "skip_install_trust",
            syntax: "skip_install_trust",
            parse: |reader| {
                reader.options.skip_install_trust = true;
                Ok(())
            },
        },
        GlobalOption {
            name: "key_type",
            syntax: "key_type ed25519|p256|p384|rsa2048|rsa4096",
            parse: |reader| {
                reader.options.key_type = Some(single(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "renew_interval",
            syntax: "renew_interval <duration>",
            parse: |reader| {
                reader.options.renew_interval = duration(&mut reader.cursor)?;
                Ok(())
            },
        },
        GlobalOption {
            name: "renewal_window_ratio",
            syntax: "renewal_window_ratio <ratio>",
            parse: parse_window,
        },
        GlobalOption {
            name: "ocsp_interval",
            syntax: "ocsp_interval <duration>",
            parse: |reader| {
                reader.options.ocsp_interval = duration(&mut reader.cursor)?;
                Ok(())
            },
        },
        GlobalOption { name: "ocsp_stapling", syntax: "ocsp_stapling off", parse: parse_stapling },
        GlobalOption {
            name: "on_demand_tls",
            syntax: "on_demand_tls {
	ask <url>
	permission <module> ...
}",
            parse: parse_on_demand,
        },
    ],
    ..Module::EMPTY
};

fn parse_window(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let text = single(&mut reader.cursor)?;
    let ratio = ratio(&reader.cursor, &text, "renewal_window_ratio")?;
    reader.options.renewal_window_ratio = Some(ratio);
    Ok(())
}

fn parse_stapling(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [word] = cursor.all_args()?;
    if word != "off" {
        return Err(cursor.err(format!("invalid argument '{word}'")));
    }
    reader.options.ocsp_stapling_off = true;
    Ok(())
}

fn parse_on_demand(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    reader.cursor.next();
    if reader.cursor.next_arg() {
        return Err(reader.cursor.arg_err());
    }
    let mut permission = None;
    let nesting = reader.cursor.nesting();
    while reader.cursor.next_block(nesting) {
        let word = reader.cursor.val().to_owned();
        match word.as_str() {
            "ask" | "permission" => {
                if !reader.cursor.next_arg() {
                    return Err(reader.cursor.arg_err());
                }
                if permission.is_some() {
                    let message = "on-demand TLS permission module (or 'ask') already specified";
                    return Err(reader.cursor.err(message));
                }
                permission = Some(if word == "ask" {
                    ModuleJson::new("module", "http", &json!({"endpoint": reader.cursor.val()}))
                } else {
                    reader.submodule("tls.permission", "module")?
                });
            }
            "interval" | "burst" => {
                return Err(reader.cursor.err(format!(
                    "the on_demand_tls '{word}' option is no longer supported, remove it from your config"
                )));
            }
            _ => return Err(unrecognized(&reader.cursor, "parameter", &["ask", "permission"])),
        }
    }
    if permission.is_none() {
        return Err(reader.cursor.err("expected at least one config parameter for on_demand_tls"));
    }
    reader.options.on_demand_tls = Some(OnDemand { permission, ..OnDemand::default() });
    Ok(())
}
