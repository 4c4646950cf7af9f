//! When a text from the environment is a value, and when it is configuration.

use std::sync::Arc;

use super::{Segment, Token};

/// Takes the marks of the environment off tokens on lines that an environment variable began.
///
/// If even the first word of a line came out of a variable, then that variable holds a piece of configuration, whose
/// placeholders and wildcards mean what they always mean. Where the line itself is written, what a variable brings
/// in is a value, and means exactly itself.
pub(super) fn unmark_configuration(segment: &mut Segment) {
    let mut variable = None;
    let mut before: Option<Token> = None;
    for token in segment {
        if before.as_ref().is_none_or(|before| before.is_followed_on_new_line_by(token)) {
            variable = only_variable(token);
        }
        before = Some(token.clone());
        if variable.is_some() && token.env().iter().all(|piece| Some(&piece.name) == variable.as_ref()) {
            *token = token.with_text(token.text.clone());
        }
    }
}

/// The variable that the whole of a token came out of.
fn only_variable(token: &Token) -> Option<Arc<str>> {
    let whole = token.env().iter().find(|piece| piece.range == (0..token.text.len()))?;
    (!token.text.is_empty()).then(|| whole.name.clone())
}
