//! What came out of which tokens, for those who find later that something can't run.

use std::cell::RefCell;

use super::{Segment, Token, Vocabulary, helper};
use crate::config::http::{MatcherSet, Route};

/// A directive or a matcher, and what came out of it.
#[derive(Debug)]
pub struct Traced {
    /// Its tokens, the name first.
    pub tokens: Segment,
    /// Its routes or its matchers; nothing if it says something about the site, or is an option.
    pub out: TracedOut,
}

/// What came out of tokens.
#[derive(Debug)]
pub enum TracedOut {
    /// Routes of a directive.
    Routes(Vec<Route>),
    /// The matchers of a definition.
    Matchers(MatcherSet),
    /// Something else.
    Other,
}

/// All directives, matchers and options of a Caddyfile, those within others first.
#[derive(Debug, Default)]
pub struct Trace {
    traced: RefCell<Vec<Traced>>,
}

impl Trace {
    /// In order.
    pub fn into_all(self) -> Vec<Traced> {
        self.traced.into_inner()
    }

    pub(super) fn add(&self, tokens: Segment, out: TracedOut) {
        self.traced.borrow_mut().push(Traced { tokens, out });
    }
}

/// Adapts a Caddyfile once more, for its trace alone. Of one that is wrong it gives what it has until then.
pub fn trace(
    name: &str,
    text: &str,
    vocabulary: &Vocabulary,
    env: &dyn tollgate_grammar::Env,
    files: &dyn tollgate_grammar::Files,
) -> Vec<Traced> {
    let notes = helper::Notes { trace: Some(Trace::default()), ..helper::Notes::default() };
    // Its errors are known by now.
    _ = super::adapt_noting(name, text, vocabulary, env, files, &notes);
    notes.trace.map(Trace::into_all).unwrap_or_default()
}

impl Traced {
    /// The token that a message is most likely about: the longest that the message quotes, else the one that says
    /// what is wanted.
    pub fn token_of(&self, message: &str) -> Option<&Token> {
        self.quoted_tokens(message).max_by_key(|token| token.text.len()).or(
            match (&self.out, self.tokens.as_slice()) {
                (TracedOut::Matchers(_), [_, .., last] | [last]) if !last.is_close_brace() => Some(last),
                (_, tokens) => tokens.first(),
            },
        )
    }

    /// The tokens that a message quotes, the first one aside.
    pub fn quoted_tokens(&self, message: &str) -> impl Iterator<Item = &Token> {
        self.tokens.iter().skip(1).filter(move |token| quotes(message, &token.text))
    }
}

/// Whether a message has a text in it that is no part of a word.
fn quotes(message: &str, text: &str) -> bool {
    let ends = |rest: &str| rest.starts_with([' ', '\'', '"', '`', ':', ',']) || rest.is_empty();
    let begins = |rest: &str| rest.ends_with([' ', '\'', '"', '`', ':', ',', '/', '[']) || rest.is_empty();
    !text.is_empty()
        && message
            .match_indices(text)
            .any(|(at, _)| begins(&message[..at]) && ends(&message[at + text.len()..]))
}
