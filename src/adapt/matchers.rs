//! Named matchers, and matchers as arguments.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_grammar::Mistakes;

use super::expectation::expect;
use super::helper::NamedMatchers;
use super::{Cursor, Error, MatcherReader, MatcherToken, Segment, Token, Vocabulary, matcher_text};
use crate::config::http::MatcherSet;

/// What the name of a named matcher begins with.
pub(super) const PREFIX: char = '@';

/// The matcher that a quoted text is.
const EXPRESSION: &str = "expression";

/// Whether a segment defines a matcher.
pub(super) fn is_definition(segment: &Segment) -> bool {
    segment.first().is_some_and(|token| token.text.starts_with(PREFIX))
}

/// What a token is as a matcher.
pub(super) fn from_token(token: &Token, defined: &NamedMatchers) -> Result<MatcherToken, Error> {
    if &*token.text == "*" {
        return Ok(MatcherToken::All);
    }
    if token.text.starts_with('/') {
        let mut set = MatcherSet::new();
        set.insert("path".into(), json!([matcher_text(token, |_| true)]));
        return Ok(MatcherToken::Set(set));
    }
    if token.text.starts_with(PREFIX) {
        return match defined.get(&*token.text) {
            Some(set) => Ok(MatcherToken::Set(set.clone())),
            None => Err(Error::at_unnamed(token, format!("unrecognized matcher name: {}", token.shown()))
                .about_a_name()
                .expected(known(defined))
                .did_you_mean(&token.text, defined.keys().map(String::as_str))),
        };
    }
    Ok(MatcherToken::No)
}

/// Which names of matchers may be used.
fn known(defined: &NamedMatchers) -> String {
    const SHOWN_MAX: usize = 20;
    if defined.is_empty() {
        return "a matcher that this site defines, `@name <matcher> ...`; it defines none".to_owned();
    }
    let names: Vec<&str> = defined.keys().take(SHOWN_MAX).map(String::as_str).collect();
    let more = if defined.len() > SHOWN_MAX { ", ..." } else { "" };
    format!("a matcher that is defined here: {}{more}", names.join(", "))
}

impl Vocabulary {
    /// Reads `@name ...` and adds it to what is defined. One with a mistake is defined too: that it is used is none.
    pub(super) fn define_matcher(
        &self,
        definition: Segment,
        defined: &mut NamedMatchers,
    ) -> Result<(), Error> {
        let mut cursor = Cursor::new(definition);
        cursor.next();
        let name = cursor.val().to_owned();
        let token = cursor.token().cloned();
        if defined.contains_key(&name) {
            let error = Error::new(format!("matcher is defined more than once: {name}"));
            return Err(match token {
                Some(token) => error.or_at(&token),
                None => error,
            });
        }
        let set = self.defined_set(&mut cursor, &name);
        let (set, result) = match set {
            Ok(set) => (set, Ok(())),
            Err(error) => (MatcherSet::new(), Err(error)),
        };
        defined.insert(name, set);
        result
    }

    fn defined_set(&self, cursor: &mut Cursor, name: &str) -> Result<MatcherSet, Error> {
        let name = &name[PREFIX.len_utf8()..];
        // A quoted text alone is an expression.
        if cursor.next_arg() && cursor.token().is_some_and(Token::is_quoted) {
            let tokens = cursor.token().into_iter().flat_map(expression).collect();
            let value = self.matcher_value(EXPRESSION, tokens, name)?;
            Ok(MatcherSet::from_iter([(EXPRESSION.to_owned(), value)]))
        } else {
            if cursor.position() > 1 {
                cursor.prev();
            }
            self.matcher_set(cursor, name, false)
        }
    }

    /// Reads matchers that stand on the rest of the line or in a block.
    ///
    /// # Errors
    /// There is no such matcher, or its own complaint.
    pub fn nested_matcher_set(&self, cursor: &mut Cursor) -> Result<MatcherSet, Error> {
        self.matcher_set(cursor, "", true)
    }

    fn matcher_set(
        &self,
        cursor: &mut Cursor,
        definition: &str,
        quoted_is_expression: bool,
    ) -> Result<MatcherSet, Error> {
        // All that is said by one matcher is read at once. They are kept in the order of their names, as in JSON.
        let mut tokens_by_name: BTreeMap<String, Vec<Token>> = BTreeMap::new();
        let nesting = cursor.nesting();
        while cursor.next_arg() || cursor.next_block(nesting) {
            match cursor.token() {
                Some(token) if quoted_is_expression && token.is_quoted() => {
                    tokens_by_name.entry(EXPRESSION.to_owned()).or_default().extend(expression(token));
                }
                _ => {
                    let name = cursor.val().to_owned();
                    tokens_by_name.entry(name).or_default().extend(cursor.next_segment());
                }
            }
        }
        let mut set = MatcherSet::new();
        let mut mistakes = Mistakes::default();
        for (name, tokens) in tokens_by_name {
            match self.matcher_value(&name, tokens, definition) {
                Ok(value) => drop(set.insert(name, value)),
                Err(error) => mistakes.add(error),
            }
        }
        mistakes.none().map(|()| set)
    }

    fn matcher_value(&self, name: &str, tokens: Vec<Token>, definition: &str) -> Result<Value, Error> {
        let Some(row) = self.matcher(name) else {
            let message =
                format!("getting matcher module '{name}': module not registered: http.matchers.{name}");
            let error = Error::new(message).did_you_mean(name, self.matcher_names());
            return Err(match tokens.first() {
                Some(token) => error.or_at(token),
                None => error,
            });
        };
        let mut reader = MatcherReader {
            cursor: Cursor::new(tokens),
            vocabulary: self,
            matcher_name: definition.to_owned(),
        };
        (row.parse)(&mut reader).map_err(|error| expect(error, reader.cursor.tokens(), row.syntax))
    }
}

/// The tokens of an `expression` matcher for a quoted text.
fn expression(token: &Token) -> [Token; 2] {
    [token.with_text(EXPRESSION), token.clone()]
}
