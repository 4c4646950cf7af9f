//! Who has certificates ready at handshakes: modules of `tls.get_certificate`.

mod http;
mod tailscale;

use ::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[&http::MODULE, &tailscale::MODULE];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "tls.get_certificate";

/// What stands in a query as it is, as Go writes queries.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An address with these added to its query.
///
/// # Errors
/// It is no address of a service.
pub(super) fn with_query(address: &str, query: &[(&str, &str)]) -> Result<String, String> {
    let uri: Uri = address.parse().map_err(|error| format!("{address}: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(format!("{address}: it must be a URL that begins with http:// or https://"));
    }
    let address = address.split('#').next().unwrap_or_default();
    let mut full = address.to_owned();
    for (name, value) in query {
        full.push(if full.contains('?') { '&' } else { '?' });
        full.push_str(name);
        full.push('=');
        full.extend(utf8_percent_encode(value, PLAIN));
    }
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_added() {
        let full = |address| with_query(address, &[("domain", "a b.test"), ("x", "::1")]).unwrap();
        assert_eq!(full("http://a.test/ask"), "http://a.test/ask?domain=a%20b.test&x=%3A%3A1");
        assert_eq!(full("http://a.test/?k=v#f"), "http://a.test/?k=v&domain=a%20b.test&x=%3A%3A1");
        assert!(with_query("a.test/ask", &[]).is_err() && with_query("ftp://a.test", &[]).is_err());
    }
}
