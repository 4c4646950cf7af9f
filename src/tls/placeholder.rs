//! Placeholders that have a value before there is a request: `{env.NAME}` and `{file.PATH}`.
//!
//! Values are put in once, while a configuration is provisioned; they are never scanned again.

use std::borrow::Cow;

use crate::config::ascii_host;

/// A host name as a handshake and a certificate have it: lower-case ASCII.
pub(super) fn server_name(name: &str) -> String {
    ascii_host(&name.to_lowercase()).to_ascii_lowercase()
}

/// `text` with its placeholders replaced; unknown ones stay as written.
pub fn expand(text: &str) -> Cow<'_, str> {
    if !text.contains('{') {
        return text.into();
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        expanded.push_str(&rest[..open]);
        let after = &rest[open + 1..];
        let value = after.find('}').and_then(|close| Some((value_of(&after[..close])?, close)));
        rest = match value {
            Some((value, close)) => {
                expanded.push_str(&value);
                &after[close + 1..]
            }
            None => {
                expanded.push('{');
                after
            }
        };
    }
    expanded.push_str(rest);
    expanded.into()
}

fn value_of(name: &str) -> Option<String> {
    if let Some(variable) = name.strip_prefix("env.") {
        return Some(std::env::var(variable).unwrap_or_default());
    }
    let path = name.strip_prefix("file.")?;
    // As Caddy: at most a MiB, without the newline that editors put at the end.
    let bytes = std::fs::read(path).ok().filter(|bytes| bytes.len() <= 1 << 20)?;
    Some(String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_on_the_wire() {
        assert_eq!(server_name("*.B\u{dc}CHER.Test"), "*.xn--bcher-kva.test");
        assert_eq!(server_name("A.test"), "a.test");
    }

    #[test]
    fn known_ones_are_replaced_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{env.PATH}\n").unwrap();
        let text = format!("a{{file.{}}}b", file.path().display());
        assert_eq!(expand(&text), "a{env.PATH}b");
        assert_eq!(expand("{env.SURELY_NOT_SET}x"), "x");
        for unknown in ["{no.such}", "{", "a}b", "{env.X", "{{}"] {
            assert_eq!(expand(unknown), unknown);
        }
    }
}
