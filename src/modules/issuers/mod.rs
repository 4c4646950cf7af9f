//! Who issues certificates: modules of `tls.issuance`.

mod acme;
mod internal;
mod zerossl;

use crate::adapt::{Cursor, Error};
use crate::config::tls::{AcmeIssuer, Challenges, DnsChallenge};
use crate::config::{Duration, ModuleJson};
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&acme::MODULE, &internal::MODULE, &zerossl::MODULE];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "tls.issuance";

/// Where DNS providers are found.
pub(super) const DNS_PROVIDERS: &str = "dns.providers";

/// The DNS challenge of an ACME issuer; it has one from now on.
pub(super) fn dns_challenge(issuer: &mut AcmeIssuer) -> &mut DnsChallenge {
    issuer.challenges.get_or_insert_with(Challenges::default).dns.get_or_insert_with(DnsChallenge::default)
}

/// The words that [`dns_option`] knows.
pub(super) const DNS_OPTIONS: &[&str] =
    &["propagation_delay", "propagation_timeout", "resolvers", "dns_ttl", "dns_challenge_override_domain"];

/// Reads an option of the DNS challenge, one of [`DNS_OPTIONS`], which is the current word.
pub(super) fn dns_option(cursor: &mut Cursor, dns: &mut DnsChallenge) -> Result<(), Error> {
    let option = cursor.val().to_owned();
    match option.as_str() {
        "resolvers" => {
            dns.resolvers = cursor.remaining_args();
            if dns.resolvers.is_empty() {
                return Err(cursor.arg_err());
            }
        }
        "dns_challenge_override_domain" => [dns.override_domain] = cursor.all_args()?,
        _ => {
            let [text] = cursor.args()?;
            let time = match text.parse() {
                // This one alone may say that there is no looking for the record at all.
                _ if option == "propagation_timeout" && text == "-1" => Duration::from_nanos(-1),
                Ok(time) => time,
                Err(error) => return Err(cursor.err(format!("invalid {option} duration {text}: {error}"))),
            };
            match option.as_str() {
                "propagation_delay" => dns.propagation_delay = time,
                "propagation_timeout" => dns.propagation_timeout = time,
                _ => dns.ttl = time,
            }
        }
    }
    Ok(())
}

/// Reads a DNS provider, if one is named on the rest of the line.
pub(super) fn dns_provider(
    cursor: &mut Cursor,
    vocabulary: &crate::adapt::Vocabulary,
) -> Result<Option<ModuleJson>, Error> {
    if !cursor.next_arg() {
        return Ok(None);
    }
    vocabulary.submodule(cursor, DNS_PROVIDERS, "name").map(Some)
}
