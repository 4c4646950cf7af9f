//! `client_auth`: client certificates.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::adapt::{Error, Helper};
use crate::config::ModuleJson;
use crate::config::tls::ClientAuthentication;
use crate::modules::ca_pools;

const WORDS: &[&str] = &[
    "mode",
    "trust_pool",
    "trusted_ca_cert",
    "trusted_ca_cert_file",
    "trusted_leaf_cert",
    "trusted_leaf_cert_file",
    "verifier",
];

/// Reads the block; `client_auth` is the current word.
pub(super) fn parse(h: &mut Helper<'_>) -> Result<ClientAuthentication, Error> {
    let mut auth = ClientAuthentication::default();
    // The authorities of the old forms, which become a pool in the end.
    let mut authorities = Vec::new();
    h.cursor.remaining_args();
    let nesting = h.cursor.nesting();
    while h.cursor.next_block(nesting) {
        let word = h.cursor.val().to_owned();
        let mixes = match word.as_str() {
            "trusted_ca_cert" | "trusted_ca_cert_file" => auth.ca.is_some(),
            "trust_pool" => !authorities.is_empty(),
            _ => false,
        };
        if mixes {
            let message = "cannot specify both 'trust_pool' and 'trusted_ca_cert' or 'trusted_ca_cert_file'";
            return Err(h.cursor.err(message));
        }
        if !WORDS.contains(&word.as_str()) {
            let message = format!("unknown subdirective for client_auth: {word}");
            return Err(h.cursor.err(message).did_you_mean(&word, WORDS.iter().copied()));
        }
        if word == "mode" {
            [auth.mode] = h.cursor.all_args()?;
            continue;
        }
        if !h.cursor.next_arg() {
            return Err(h.cursor.arg_err());
        }
        match word.as_str() {
            "trust_pool" => {
                let pool = h.submodule(ca_pools::NAMESPACE, ca_pools::TAG);
                auth.ca = Some(pool.map_err(|error| match h.cursor.token() {
                    Some(token) => error.inside(token),
                    None => error,
                })?);
            }
            "verifier" => auth.verifiers.push(h.submodule("tls.client_auth.verifier", "verifier")?),
            "trusted_ca_cert" => {
                h.warn("The 'trusted_ca_cert' field is deprecated. Use the 'trust_pool' field instead.");
                authorities.push(h.cursor.val().to_owned());
            }
            "trusted_ca_cert_file" => {
                h.warn("The 'trusted_ca_cert_file' field is deprecated. Use the 'trust_pool' field instead.");
                authorities.extend(certificates(h)?);
            }
            "trusted_leaf_cert" => auth.trusted_leaf_certs.push(h.cursor.val().to_owned()),
            _ => auth.trusted_leaf_certs.extend(certificates(h)?),
        }
    }
    if !authorities.is_empty() {
        let pool = json!({ "trusted_ca_certs": authorities });
        auth.ca = Some(ModuleJson::new(ca_pools::TAG, "inline", &pool));
    }
    Ok(auth)
}

/// The certificates of the PEM file that the current word names, in base64.
fn certificates(h: &Helper<'_>) -> Result<Vec<String>, Error> {
    let path = h.cursor.val();
    let bytes = h.read_file(path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        h.cursor.err(format!("open {path}: {reason}"))
    })?;
    let none = || h.cursor.err(format!("no CERTIFICATE pem block found in {path}"));
    let certificates: Vec<String> = CertificateDer::pem_slice_iter(&bytes)
        .map(|der| der.map(|der| BASE64_STANDARD.encode(der)).map_err(|_| none()))
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(none()) } else { Ok(certificates) }
}
