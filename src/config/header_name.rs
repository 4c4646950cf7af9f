//! Names of header fields as Go, and so Caddy's JSON, writes them.

use std::borrow::Cow;

/// The name with a capital at the start of each word and small letters elsewhere, `X-Forwarded-For`
/// for instance. What cannot be a field's name, such as one with a placeholder, stays as it is (Go's
/// `CanonicalHeaderKey`).
pub fn canonical_header_name(name: &str) -> Cow<'_, str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.bytes().all(is_token) {
        return Cow::Borrowed(name);
    }
    let mut starts_word = true;
    let canonical: String = name
        .chars()
        .map(|ch| {
            let ch = if starts_word { ch.to_ascii_uppercase() } else { ch.to_ascii_lowercase() };
            starts_word = ch == '-';
            ch
        })
        .collect();
    if canonical == name { Cow::Borrowed(name) } else { Cow::Owned(canonical) }
}

#[cfg(test)]
mod tests {
    use super::canonical_header_name;

    #[test]
    fn words_begin_with_a_capital_unless_it_is_no_name() {
        for (name, canonical) in [
            ("x-forwarded-for", "X-Forwarded-For"),
            ("ETAG", "Etag"),
            ("X-Own", "X-Own"),
            ("x_own-1a", "X_own-1a"),
            ("*-tail", "*-Tail"),
            ("{name}-x", "{name}-x"),
            ("a b", "a b"),
            ("é", "é"),
            ("", ""),
        ] {
            assert_eq!(canonical_header_name(name), canonical);
        }
    }
}
