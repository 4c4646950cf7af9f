//! What to say was expected: of a long syntax only what the mistake is about.

use tollgate_grammar::Token;

use super::Error;
use super::read_on::part_at;

/// A syntax of up to so many lines is shown as a whole.
const WHOLE_LINES_MAX: usize = 6;
/// The length of a line of names.
const LINE_CHARS_MAX: usize = 100;

/// Adds what would have been right, out of the syntax of the thing whose tokens are given.
///
/// Of a mistake in a block that is the syntax of the line it is in, or the names that may stand there.
pub(super) fn expect<'t>(error: Error, tokens: impl Iterator<Item = &'t Token>, syntax: &str) -> Error {
    let lines = Lines::of(syntax);
    let tokens: Vec<Token> = tokens.cloned().collect();
    let first = error.spot().and_then(|place| part_at(&tokens, place)).map(|part| &tokens[part.start]);
    let Some(name) = first else {
        return error.expected(if lines.are_few() { syntax.to_owned() } else { lines.head() });
    };
    match lines.about(&name.text) {
        Some(about) => error.expected(about),
        None if lines.names.is_empty() || lines.is_open || name.text.starts_with('@') => {
            error.expected(syntax)
        }
        None => {
            let error = error.expected(if lines.are_few() { syntax.to_owned() } else { lines.one_of() });
            if error.has_help() { error } else { error.did_you_mean(&name.text, lines.names.iter().copied()) }
        }
    }
}

/// A syntax, taken apart.
struct Lines<'s> {
    lines: Vec<&'s str>,
    /// The names of what may stand in the block.
    names: Vec<&'s str>,
    /// Whether anything else may stand there too.
    is_open: bool,
}

impl<'s> Lines<'s> {
    fn of(syntax: &'s str) -> Lines<'s> {
        let lines: Vec<&str> = syntax.lines().collect();
        let (mut names, mut is_open) = (Vec::new(), false);
        for line in lines.iter().filter_map(|line| in_block(line)) {
            let word = line.split([' ', '|']).next().unwrap_or_default();
            let is_name = |word: &str| {
                word.starts_with(|first: char| first.is_ascii_lowercase())
                    && word.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_')
            };
            // Names that begin with `@` are of the user's own choice.
            if word == "}" || word.starts_with('@') {
                continue;
            }
            if !is_name(word) {
                is_open = true;
                continue;
            }
            let first = line.split(' ').next().unwrap_or_default();
            for name in first.split('|').filter(|name| is_name(name)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Lines { lines, names, is_open }
    }

    fn are_few(&self) -> bool {
        self.lines.len() <= WHOLE_LINES_MAX
    }

    /// The first line, which stands for the rest.
    fn head(&self) -> String {
        let first = self.lines.first().copied().unwrap_or_default();
        if first.ends_with('{') { format!("{first} ... }}") } else { first.to_owned() }
    }

    /// The names, in lines of a length that can be read.
    fn one_of(&self) -> String {
        let mut text = "one of".to_owned();
        let mut chars = text.len();
        for (index, name) in self.names.iter().enumerate() {
            let comma = if index + 1 < self.names.len() { "," } else { "" };
            chars += name.len() + 2;
            text.push(if chars > LINE_CHARS_MAX { '\n' } else { ' ' });
            if chars > LINE_CHARS_MAX {
                chars = name.len() + 1;
            }
            text.push_str(name);
            text.push_str(comma);
        }
        text
    }

    /// The lines about one name of the block, with the blocks behind them.
    fn about(&self, name: &str) -> Option<String> {
        let mut about = Vec::new();
        let mut is_meant = false;
        for line in &self.lines {
            if let Some(text) = in_block(line) {
                let first = text.split(' ').next().unwrap_or_default();
                // The end of a block belongs to what began it.
                is_meant = if text == "}" { is_meant } else { first.split('|').any(|word| word == name) };
            } else if !line.starts_with('\t') {
                is_meant = false;
            }
            if is_meant {
                about.push(unaligned(line.strip_prefix('\t').unwrap_or(line)));
            }
        }
        (!about.is_empty()).then(|| about.join("\n"))
    }
}

/// A line without the spaces that put it in line with its neighbours.
fn unaligned(line: &str) -> String {
    let text = line.trim_start_matches('\t');
    let tabs = &line[..line.len() - text.len()];
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    format!("{tabs}{}", words.join(" "))
}

/// The text of a line that stands right in the block.
fn in_block(line: &str) -> Option<&str> {
    line.strip_prefix('\t').filter(|text| !text.is_empty() && !text.starts_with('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_grammar::Cursor;

    const SYNTAX: &str = "proxy [<to>] {\n\tto|via <upstream>\n\tretries <count>\n\theaders {\n\t\t<name> <value>\n\t}\n\tretries off\n\tx\n\ty\n}";

    /// What is expected at the token `!`.
    fn expected(text: &str, syntax: &str) -> String {
        let mut cursor = Cursor::from_text("Caddyfile", text, &|_: &str| None).unwrap();
        while cursor.val() != "!" {
            assert!(cursor.next(), "no mark in {text}");
        }
        let error = expect(cursor.err("wrong"), cursor.tokens(), syntax);
        error
            .excerpt(false)
            .lines()
            .skip_while(|line| !line.contains("expected:"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_mistake_before_the_block_shows_how_it_begins() {
        assert_eq!(expected("proxy ! {\nx\n}", SYNTAX), "  = expected: proxy [<to>] { ... }");
        assert_eq!(expected("abort !", "abort [<matcher>]"), "  = expected: abort [<matcher>]");
    }

    #[test]
    fn a_mistake_in_a_line_of_the_block_shows_the_lines_of_that_name() {
        assert_eq!(
            expected("proxy {\nx\nretries !\n}", SYNTAX),
            "  = expected: retries <count>\n      retries off"
        );
        assert_eq!(
            expected("proxy {\nheaders {\n!\n}\n}", SYNTAX),
            "  = expected: headers {\n      \t<name> <value>\n      }"
        );
        assert_eq!(expected("proxy {\nvia !\n}", SYNTAX), "  = expected: to|via <upstream>");
    }

    #[test]
    fn an_unknown_name_shows_the_known_ones() {
        let shown = expected("proxy {\nretires !\n}", SYNTAX);
        assert_eq!(
            shown,
            "  = expected: one of to, via, retries, headers, x, y\n  = help: did you mean `retries`?"
        );
    }

    #[test]
    fn where_anything_may_stand_the_whole_syntax_is_shown() {
        let syntax = "map {\n\tdefault <value>\n\t<input> <output>\n}";
        assert!(expected("map {\nx ! y\n}", syntax).contains("<input> <output>"));
        assert_eq!(expected("map {\ndefault !\n}", syntax), "  = expected: default <value>");
    }
}
