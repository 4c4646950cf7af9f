//! Short placeholders: `{path}` is `{http.request.uri.path}`.

use std::ops::Range;

use super::{Segment, Token};

/// Placeholders that have a shorter name, by that name.
const WHOLE: &[(&str, &str)] = &[
    ("%path", "http.request.uri.path_escaped"),
    ("%query", "http.request.uri.query_escaped"),
    ("%uri", "http.request.uri_escaped"),
    ("?query", "http.request.uri.prefixed_query"),
    ("client_ip", "http.vars.client_ip"),
    ("dir", "http.request.uri.path.dir"),
    ("file", "http.request.uri.path.file"),
    ("host", "http.request.host"),
    ("hostport", "http.request.hostport"),
    ("method", "http.request.method"),
    ("orig_?query", "http.request.orig_uri.prefixed_query"),
    ("orig_dir", "http.request.orig_uri.path.dir"),
    ("orig_file", "http.request.orig_uri.path.file"),
    ("orig_method", "http.request.orig_method"),
    ("orig_path", "http.request.orig_uri.path"),
    ("orig_query", "http.request.orig_uri.query"),
    ("orig_uri", "http.request.orig_uri"),
    ("path", "http.request.uri.path"),
    ("port", "http.request.port"),
    ("query", "http.request.uri.query"),
    ("remote", "http.request.remote"),
    ("remote_host", "http.request.remote.host"),
    ("remote_port", "http.request.remote.port"),
    ("scheme", "http.request.scheme"),
    ("tls_cipher", "http.request.tls.cipher_suite"),
    ("tls_client_certificate_der_base64", "http.request.tls.client.certificate_der_base64"),
    ("tls_client_certificate_pem", "http.request.tls.client.certificate_pem"),
    ("tls_client_fingerprint", "http.request.tls.client.fingerprint"),
    ("tls_client_issuer", "http.request.tls.client.issuer"),
    ("tls_client_serial", "http.request.tls.client.serial"),
    ("tls_client_subject", "http.request.tls.client.subject"),
    ("tls_version", "http.request.tls.version"),
    ("upstream_hostport", "http.reverse_proxy.upstream.hostport"),
    ("uri", "http.request.uri"),
    ("uuid", "http.request.uuid"),
];

/// Placeholders whose first part has a shorter name, and whether the rest may contain dots.
const FAMILIES: &[(&str, &str, bool)] = &[
    ("cookie.", "http.request.cookie.", false),
    ("err.", "http.error.", true),
    ("file.", "http.request.uri.path.file.", false),
    ("file_match.", "http.matchers.file.", false),
    ("header.", "http.request.header.", false),
    ("labels.", "http.request.host.labels.", false),
    ("path.", "http.request.uri.path.", false),
    ("query.", "http.request.uri.query.", false),
    ("re.", "http.regexp.", true),
    ("resp.", "http.intercept.", true),
    ("rp.", "http.reverse_proxy.", true),
    ("vars.", "http.vars.", false),
];

/// The full name of a placeholder that is written short, both without braces.
fn expand(short: &str) -> Option<String> {
    if let Ok(at) = WHOLE.binary_search_by_key(&short, |(name, _)| name) {
        return Some(WHOLE[at].1.to_owned());
    }
    FAMILIES.iter().find_map(|(prefix, full, dots)| {
        let rest = short.strip_prefix(prefix)?;
        let is_word = |ch: char| ch.is_ascii_alphanumeric() || ch == '_' || ch == '-' || (*dots && ch == '.');
        rest.chars().all(is_word).then(|| format!("{full}{rest}"))
    })
}

/// The short name, with braces, of which `name` is the full one; braces around `name` don't count.
///
/// Directives that define placeholders use it to refuse those that are taken.
pub fn shorthand_of(name: &str) -> Option<String> {
    let name = name.trim_matches(['{', '}']);
    WHOLE.iter().find(|(_, full)| *full == name).map(|(short, _)| format!("{{{short}}}"))
}

/// Writes the short placeholders of a directive in full.
///
/// What an environment variable brings in is text like any other, as in Caddy; but in a matcher it is
/// a value, such as a key, and stays as it is.
pub(super) fn apply(segment: &mut Segment) {
    let mut place = Place::default();
    for token in segment {
        place.advance(token);
        let edits = edits(token, place.is_matcher());
        if !edits.is_empty() {
            let edits: Vec<(Range<usize>, &str)> =
                edits.iter().map(|(range, full)| (range.clone(), full.as_str())).collect();
            *token = token.edited(&edits);
        }
    }
}

/// Where among matchers and other words a token of a directive stands.
#[derive(Default)]
struct Place {
    before: Option<Token>,
    /// Its number on its line, from 0.
    on_line: usize,
    /// Blocks that are open inside the definition of a matcher, if it stands in one.
    definition: Option<usize>,
    is_path: bool,
}

impl Place {
    fn advance(&mut self, token: &Token) {
        let new_line = self.before.as_ref().is_none_or(|before| before.is_followed_on_new_line_by(token));
        self.on_line = if new_line { 0 } else { self.on_line + 1 };
        self.before = Some(token.clone());
        if new_line && self.definition.is_none_or(|depth| depth == 0) {
            self.definition = token.text.starts_with('@').then_some(0);
        }
        if let Some(depth) = &mut self.definition {
            *depth += usize::from(token.is_open_brace());
            *depth = depth.saturating_sub(usize::from(token.is_close_brace()));
        }
        self.is_path = self.on_line == 1 && token.text.starts_with('/');
    }

    /// Whether the token is part of a matcher's definition, or the path that a directive is for.
    fn is_matcher(&self) -> bool {
        self.definition.is_some() || self.is_path
    }
}

fn edits(token: &Token, only_written: bool) -> Vec<(Range<usize>, String)> {
    let text = &*token.text;
    let mut edits = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|offset| at + offset) {
        let Some(close) = text[open..].find('}').map(|offset| open + offset) else { break };
        match expand(&text[open + 1..close]) {
            Some(full) if !only_written || token.is_written(open..close + 1) => {
                edits.push((open + 1..close, full));
                at = close + 1;
            }
            _ => at = open + 1,
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(WHOLE.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn short_names_are_expanded() {
        assert_eq!(expand("?query").as_deref(), Some("http.request.uri.prefixed_query"));
        assert_eq!(expand("header.X-Api_Key").as_deref(), Some("http.request.header.X-Api_Key"));
        assert_eq!(expand("re.name.1").as_deref(), Some("http.regexp.name.1"));
        assert_eq!(expand("header.a.b"), None);
        assert_eq!(expand("http.request.host"), None);
        assert_eq!(expand(""), None);
    }

    #[test]
    fn full_names_have_a_short_one() {
        assert_eq!(shorthand_of("{http.request.uri.path}").as_deref(), Some("{path}"));
        assert_eq!(shorthand_of("{my.own}"), None);
    }
}
