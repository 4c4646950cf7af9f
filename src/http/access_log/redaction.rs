//! What of a request or an answer a log must not show.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, header};
use percent_encoding::percent_decode;

use crate::http::SensitiveNames;

/// What stands in place of what is not shown.
pub(super) const REDACTED: &str = "REDACTED";

/// Credentials, and whatever else a client proves itself by: header fields and query arguments that
/// some matcher compares with a value from the environment.
#[derive(Clone, Debug)]
pub(super) struct Redaction {
    /// `log_credentials`: everything is shown.
    pub(super) shows_all: bool,
    pub(super) sensitive: Arc<SensitiveNames>,
}

impl Redaction {
    /// Whether the values of this header field are not shown.
    pub(super) fn hides_header(&self, name: &HeaderName) -> bool {
        // What the Fetch standard calls credentials, as in Caddy.
        let credentials =
            [header::COOKIE, header::SET_COOKIE, header::AUTHORIZATION, header::PROXY_AUTHORIZATION];
        !self.shows_all && (credentials.contains(name) || self.sensitive.is_header(name))
    }

    /// A URL, or any text with one in it, without the secret arguments of its query. It is only
    /// changed where it has to be.
    pub(super) fn url<'u>(&self, url: &'u [u8]) -> Cow<'u, [u8]> {
        if self.shows_all || !self.sensitive.has_query_keys() {
            return Cow::Borrowed(url);
        }
        let Some(mark) = memchr::memchr(b'?', url) else { return Cow::Borrowed(url) };
        let mut shown = Vec::new();
        let mut copied = 0;
        let mut start = mark + 1;
        while start < url.len() {
            let rest = &url[start..];
            let end = start + memchr::memchr3(b'&', b'#', b';', rest).unwrap_or(rest.len());
            let argument = &url[start..end];
            if let Some(equals) = memchr::memchr(b'=', argument)
                && self.hides_argument(&argument[..equals])
            {
                shown.extend_from_slice(&url[copied..=start + equals]);
                shown.extend_from_slice(REDACTED.as_bytes());
                copied = end;
            }
            start = end + 1;
        }
        if copied == 0 {
            return Cow::Borrowed(url);
        }
        shown.extend_from_slice(&url[copied..]);
        Cow::Owned(shown)
    }

    fn hides_argument(&self, key: &[u8]) -> bool {
        // A second question mark belongs to the key, unless this is a text with several URLs.
        let last = key.rsplit(|byte| *byte == b'?').next().unwrap_or(key);
        [key, last].into_iter().any(|key| {
            let spaced: Cow<'_, [u8]> = if key.contains(&b'+') {
                key.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<_>>().into()
            } else {
                key.into()
            };
            self.sensitive.is_query_key(&Cow::from(percent_decode(&spaced)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction() -> Redaction {
        let sensitive = SensitiveNames::default();
        sensitive.add_query_key("api-key");
        sensitive.add_query_key("a b");
        sensitive.add_header(&HeaderName::from_static("x-api-key"));
        Redaction { shows_all: false, sensitive: Arc::new(sensitive) }
    }

    #[test]
    fn secret_arguments_are_not_shown() {
        let redaction = redaction();
        for (url, want) in [
            ("/p", "/p"),
            ("/p?x=1", "/p?x=1"),
            ("/p?api-key=s3cret", "/p?api-key=REDACTED"),
            ("/p?x=1&api-key=s3cret&y=%20&api-key=", "/p?x=1&api-key=REDACTED&y=%20&api-key=REDACTED"),
            ("/p?%61pi-key=s&a+b=s&a%20b=s", "/p?%61pi-key=REDACTED&a+b=REDACTED&a%20b=REDACTED"),
            ("/p?api-key=a=b#top?api-key=c", "/p?api-key=REDACTED#top?api-key=REDACTED"),
            ("/p?api-key=s;x=1", "/p?api-key=REDACTED;x=1"),
            ("/p?my-api-key=1&api-key", "/p?my-api-key=1&api-key"),
            ("https://h/login?next=/a?api-key=s", "https://h/login?next=/a?api-key=s"),
        ] {
            assert_eq!(String::from_utf8_lossy(&redaction.url(url.as_bytes())), want, "{url}");
        }
        let all = Redaction { shows_all: true, ..redaction };
        assert_eq!(&*all.url(b"/?api-key=s"), b"/?api-key=s");
    }

    #[test]
    fn secret_headers_are_not_shown() {
        let redaction = redaction();
        for name in ["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"] {
            assert!(redaction.hides_header(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!redaction.hides_header(&header::ACCEPT));
        let all = Redaction { shows_all: true, ..redaction };
        assert!(!all.hides_header(&header::AUTHORIZATION));
    }
}
