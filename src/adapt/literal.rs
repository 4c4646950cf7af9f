//! Values from the environment mean exactly themselves.

use std::fmt::Write as _;

use super::Token;

/// The placeholder that stands for a plain `*` where a written one would be a wildcard.
pub const STAR: &str = "{literal.*}";

/// The text of a matcher's argument, in which nothing that an environment variable brought in acts as a placeholder
/// or a wildcard.
///
/// Braces from the environment are escaped, and a `*` from the environment becomes [`STAR`] where `is_wildcard` says
/// of its byte offset that it would be one. The text of any other value stays as it is.
pub fn matcher_text(token: &Token, is_wildcard: impl Fn(usize) -> bool) -> String {
    let mut text = String::with_capacity(token.text.len());
    for (at, ch) in token.text.char_indices() {
        let written = token.is_written(at..at + ch.len_utf8());
        match ch {
            '{' | '}' if !written => {
                text.push('\\');
                text.push(ch);
            }
            '*' if !written && is_wildcard(at) => {
                _ = text.write_str(STAR);
            }
            _ => text.push(ch),
        }
    }
    text
}
