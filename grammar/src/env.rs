//! Environment variables: where they come from, and pasting `{$NAME}` into a text before it is read.

use std::ops::Range;
use std::sync::Arc;

use crate::limits::EXPANDED_CHARS_MAX;
use crate::source::decode;

/// Where `{$NAME}` is looked up.
pub trait Env {
    /// The value of a variable, or `None` if it is not set.
    fn var(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Env for F {
    fn var(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return None; // no variable can have such a name
        }
        std::env::var_os(name).map(|value| decode(value.as_encoded_bytes()))
    }
}

/// A character of the pasted text, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyph {
    pub(crate) ch: char,
    /// Byte in the file; for a pasted character, the `{` of its `{$NAME}`.
    pub(crate) at: u32,
    /// Which pasted value it belongs to, or [`WRITTEN`].
    pub(crate) value: u32,
}

/// Marks a [`Glyph`] that stands in the file itself. The default of `{$NAME:default}` does, too.
pub(crate) const WRITTEN: u32 = u32::MAX;

/// A `{$NAME}` whose variable was pasted.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) name: Arc<str>,
    /// Where `{$NAME}` stands in the file.
    pub(crate) span: Range<u32>,
}

/// A text with its environment variables pasted.
#[derive(Debug, Default)]
pub(crate) struct Pasted {
    pub(crate) glyphs: Vec<Glyph>,
    pub(crate) values: Vec<Value>,
    /// Values that are empty: the index of the glyph they stand before, and of the value.
    pub(crate) empty: Vec<(usize, u32)>,
}

/// The text would become longer than [`EXPANDED_CHARS_MAX`] at this `{$NAME}`.
#[derive(Debug)]
pub(crate) struct TooLong(pub(crate) Range<u32>);

/// Pastes every `{$NAME}` and `{$NAME:default}` of `text`. Pasted text is not searched again.
///
/// As in Caddy, a variable runs to the next `}` whatever stands between, and `{$}` stays as it is.
pub(crate) fn paste(text: &str, env: &dyn Env) -> Result<Pasted, TooLong> {
    let mut pasted = Pasted::default();
    pasted.glyphs.reserve(text.len());
    let mut done = 0;
    let mut search = 0;
    while let Some(open) = text[search..].find("{$").map(|at| at + search) {
        let Some(close) = text[open + 2..].find('}').map(|at| at + open + 2) else { break };
        search = close + 1;
        if close == open + 2 {
            continue;
        }
        write(&mut pasted, text, done..open);
        done = search;
        let (name, default) = match text[open + 2..close].split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (&text[open + 2..close], None),
        };
        match (env.var(name), default) {
            (None, Some(default)) => write(&mut pasted, text, close - default.len()..close),
            (value, _) => {
                let value = value.unwrap_or_default();
                let span = open as u32..close as u32 + 1;
                if pasted.glyphs.len() + value.len() > EXPANDED_CHARS_MAX {
                    return Err(TooLong(span));
                }
                paste_value(&mut pasted, name, &value, span);
            }
        }
    }
    write(&mut pasted, text, done..text.len());
    Ok(pasted)
}

/// Adds characters that stand in the file.
fn write(pasted: &mut Pasted, text: &str, part: Range<usize>) {
    let start = part.start;
    let chars = text[part].char_indices();
    pasted.glyphs.extend(chars.map(|(at, ch)| Glyph { ch, at: (start + at) as u32, value: WRITTEN }));
}

/// Adds the value of a variable.
fn paste_value(pasted: &mut Pasted, name: &str, value: &str, span: Range<u32>) {
    let number = pasted.values.len() as u32;
    if value.is_empty() {
        pasted.empty.push((pasted.glyphs.len(), number));
    }
    pasted.glyphs.extend(value.chars().map(|ch| Glyph { ch, at: span.start, value: number }));
    pasted.values.push(Value { name: name.into(), span });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pasted(text: &str) -> String {
        let env = |name: &str| match name {
            "A" => Some("one two".to_owned()),
            "NEST" => Some("{$A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        paste(text, &env).expect("short").glyphs.iter().map(|glyph| glyph.ch).collect()
    }

    #[test]
    fn variables_are_pasted_once() {
        assert_eq!(pasted("x {$A} y"), "x one two y");
        assert_eq!(pasted("{$NEST}{$A}"), "{$A}one two");
        assert_eq!(pasted("{$EMPTY:default}|{$NONE:de:fault}|{$NONE}|{$A:b}"), "|de:fault||one two");
    }

    #[test]
    fn what_is_no_variable_stays() {
        assert_eq!(pasted("{$} {$A"), "{$} {$A");
        assert_eq!(pasted("{$} {$A}"), "{$} one two");
        assert_eq!(pasted("{env.A} { $A }"), "{env.A} { $A }");
    }
}
