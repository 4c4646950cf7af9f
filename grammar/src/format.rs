//! `fmt`: the one layout of a Caddyfile.

use crate::cursor::Cursor;
use crate::report::Error;

/// Lays out a Caddyfile: a tab for each open block, one space between words, at most one empty line in a row, an empty
/// line between sites, and a line break at the end.
///
/// Words, quotes, heredocs, comments and escapes stay as they are; so does what the text means. The result is byte for
/// byte that of `caddy fmt`. It takes one pass.
pub fn format(text: &str) -> String {
    let mut layout = Layout { out: String::with_capacity(text.len() + text.len() / 8), ..Layout::default() };
    text.trim().chars().for_each(|ch| layout.take(ch));
    if layout.brace.open && !layout.brace.written {
        layout.open_block();
    }
    let laid_out = layout.out.trim();
    let mut out = String::with_capacity(laid_out.len() + 1);
    out.push_str(laid_out);
    out.push('\n');
    out
}

/// Does a text still hold the same tokens after it was laid out?
///
/// The layout is that of `caddy fmt` even where that changes the meaning: it takes the space away behind a word that
/// ends in `<`, and quotes and braces inside of words and of other quotes mislead it. Who is about to overwrite a file
/// should ask this first. A text that cannot be read at all keeps nothing, so the answer is no.
pub fn keeps_tokens(before: &str, after: &str) -> bool {
    let tokens = |text: &str| {
        // Variables stand for themselves; their values do not matter here.
        let tokens = Cursor::from_text("Caddyfile", text, &|name: &str| Some(name.to_owned()))?;
        Ok::<_, Error>(tokens.tokens().map(|token| (token.text.clone(), token.quote)).collect::<Vec<_>>())
    };
    matches!((tokens(before), tokens(after)), (Ok(before), Ok(after)) if before == after)
}

/// The line (from 1) at which a Caddyfile first differs from its layout; nothing if it doesn't.
///
/// A carriage return before a line break does not count as a difference.
pub fn first_unformatted_line(text: &str) -> Option<u32> {
    let text = text.replace("\r\n", "\n");
    let laid_out = format(&text);
    if laid_out == text {
        return None;
    }
    let common = text.bytes().zip(laid_out.bytes()).take_while(|(said, wanted)| said == wanted);
    let lines = common.filter(|(byte, _)| *byte == b'\n').count();
    Some(u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1))
}

/// Blocks nested deeper are not indented further.
const INDENTATION_MAX: usize = 10;

#[derive(Default, PartialEq, Clone, Copy)]
enum Quotes {
    #[default]
    None,
    Double,
    Backtick,
    /// A backquote inside double quotes, up to the next backquote or double quote.
    BacktickInDouble,
}

#[derive(Default)]
enum Heredoc {
    #[default]
    No,
    /// After `<<`; what was read of the marker.
    Marker(String),
    /// In the text. Only a `word` that ends in the marker can close it.
    Text { marker: String, word: String },
}

/// A `{` that was read. It is written once it is clear whether it opens a block or begins a word.
#[derive(Default)]
struct Brace {
    open: bool,
    written: bool,
    /// Did white space other than a line break stand before it?
    after_space: bool,
    /// Was it the first on its line?
    own_line: bool,
}

struct Layout {
    out: String,
    /// The character written last.
    last: char,
    nesting: usize,
    /// Was the character before this one white space?
    space: bool,
    /// Is nothing written on this line yet?
    line_start: bool,
    /// Line breaks read since the last character that was written.
    line_breaks: usize,
    comment: bool,
    escaped: bool,
    quotes: Quotes,
    heredoc: Heredoc,
    /// `\<` was read: what follows is no heredoc.
    heredoc_escaped: bool,
    brace: Brace,
    word: String,
    /// The first word of this line, once it has ended.
    first_word: String,
    /// Was the last line that held something an import outside of all blocks?
    after_import: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            out: String::new(),
            last: '\0',
            nesting: 0,
            space: true,
            line_start: true,
            line_breaks: 0,
            comment: false,
            escaped: false,
            quotes: Quotes::None,
            heredoc: Heredoc::No,
            heredoc_escaped: false,
            brace: Brace::default(),
            word: String::new(),
            first_word: String::new(),
            after_import: false,
        }
    }
}

impl Layout {
    fn take(&mut self, ch: char) {
        if self.heredoc(ch) {
            return;
        }
        if self.last == '<' {
            self.space = false;
        }
        if self.comment {
            return self.in_comment(ch);
        }
        if self.escape(ch) || self.quote(ch) {
            return;
        }
        if ch.is_whitespace() {
            return self.white_space(ch);
        }
        self.visible(ch);
    }

    /// Takes what belongs to a heredoc, which is written as it stands. False if `ch` does not.
    fn heredoc(&mut self, ch: char) -> bool {
        match &mut self.heredoc {
            Heredoc::No => {
                let begins = self.quotes == Quotes::None
                    && !self.heredoc_escaped
                    && self.space
                    && (self.last, ch) == ('<', '<');
                if begins {
                    self.write(ch);
                    self.heredoc = Heredoc::Marker(String::new());
                    self.space = false;
                }
                begins
            }
            Heredoc::Marker(marker) => {
                if !ch.is_whitespace() {
                    marker.push(ch);
                    self.write(ch);
                    return true;
                }
                let marker = std::mem::take(marker);
                self.heredoc = Heredoc::No;
                // Any other white space makes it a word.
                if ch != '\n' {
                    return false;
                }
                if is_marker(&marker) {
                    self.heredoc = Heredoc::Text { marker, word: String::new() };
                    self.write(ch);
                } else {
                    self.new_line();
                }
                true
            }
            Heredoc::Text { marker, word } => {
                if !ch.is_whitespace() {
                    word.push(ch);
                } else if word.ends_with(marker.as_str()) {
                    self.heredoc = Heredoc::No;
                    return false;
                } else {
                    word.clear();
                }
                self.write(ch);
                true
            }
        }
    }

    fn in_comment(&mut self, ch: char) {
        if ch == '\n' {
            self.comment = false;
            self.space = true;
            self.new_line();
        } else {
            self.write(ch);
        }
    }

    /// Takes a backslash and the character after it.
    fn escape(&mut self, ch: char) -> bool {
        if self.escaped {
            self.escaped = false;
            self.heredoc_escaped |= ch == '<';
            self.write(ch);
            return true;
        }
        if ch == '\\' {
            self.escaped = true;
            if self.space {
                self.write(' ');
                self.space = false;
            }
            self.write(ch);
        }
        self.escaped
    }

    /// Takes what stands in quotes. A double quote that opens or closes outside of backquotes is left to the caller.
    fn quote(&mut self, ch: char) -> bool {
        if ch == '`' {
            self.quotes = match self.quotes {
                Quotes::BacktickInDouble => Quotes::Double,
                Quotes::Backtick => Quotes::None,
                Quotes::Double => Quotes::BacktickInDouble,
                Quotes::None => Quotes::Backtick,
            };
        }
        if self.quotes == Quotes::Double {
            if ch == '"' {
                self.quotes = Quotes::None;
            }
            self.write(ch);
            return true;
        }
        if ch == '"' {
            self.quotes = match self.quotes {
                Quotes::None if self.space => Quotes::Double,
                Quotes::BacktickInDouble => Quotes::None,
                other => other,
            };
        }
        if !matches!(self.quotes, Quotes::Backtick | Quotes::BacktickInDouble) {
            return false;
        }
        if ch == '`' && self.space && !self.line_start {
            self.write(' ');
        }
        self.write(ch);
        self.space = false;
        true
    }

    fn white_space(&mut self, ch: char) {
        self.end_word();
        self.space = true;
        self.heredoc_escaped = false;
        if ch == '\n' {
            self.end_line();
            self.line_breaks += 1;
        }
    }

    /// Takes a character of a word, or a brace.
    fn visible(&mut self, ch: char) {
        let after_space = std::mem::take(&mut self.space);
        self.comment = ch == '#';
        if self.brace.open && (after_space || ch == '{') && !self.brace.written {
            self.open_block();
        }
        match ch {
            '{' => self.brace(after_space),
            '}' if after_space || !self.brace.open => self.close_block(),
            _ => self.in_word(ch, after_space),
        }
    }

    /// Writes a `{` that turned out to open a block.
    fn open_block(&mut self) {
        if self.nesting == 0 && self.last == '}' {
            self.new_line();
            self.new_line();
        }
        self.brace.open = false;
        if self.brace.own_line && self.after_import {
            if self.last != '\n' {
                self.new_line();
            }
            self.indent();
        } else if self.line_start {
            self.indent();
        } else if !self.brace.after_space || !self.last.is_whitespace() {
            self.write(' ');
        }
        self.write('{');
        self.brace.written = true;
        self.brace.own_line = false;
        self.new_line();
        self.line_breaks = 0;
        self.nesting = (self.nesting + 1).min(INDENTATION_MAX);
    }

    fn brace(&mut self, after_space: bool) {
        self.end_word();
        let own_line = self.line_breaks > 0;
        let after_space = after_space && !self.line_start;
        if after_space && !own_line {
            self.write(' ');
        }
        self.brace = Brace { open: true, written: false, after_space, own_line };
    }

    fn close_block(&mut self) {
        self.end_word();
        if self.last != '\n' {
            self.new_line();
        }
        self.nesting = self.nesting.saturating_sub(1);
        self.indent();
        self.write('}');
        self.line_breaks = 0;
    }

    fn in_word(&mut self, ch: char, after_space: bool) {
        for _ in 0..self.line_breaks.min(2) {
            self.new_line();
        }
        self.line_breaks = 0;
        if self.line_start {
            self.indent();
        }
        if self.nesting == 0 && self.last == '}' && self.line_start {
            self.new_line();
            self.new_line();
        }
        if !self.line_start && after_space {
            self.write(' ');
        }
        if self.brace.open && !self.brace.written {
            self.write('{');
            self.brace.written = true;
        }
        // The next `<` must know that this one begins a word.
        self.space = after_space && ch == '<';
        self.word.push(ch);
        self.write(ch);
        self.line_start = false;
    }

    fn end_word(&mut self) {
        if self.first_word.is_empty() {
            self.first_word.push_str(&self.word);
        }
        self.word.clear();
    }

    fn end_line(&mut self) {
        self.end_word();
        if !self.first_word.is_empty() {
            self.after_import = self.nesting == 0 && self.first_word == "import";
        } else if !self.brace.open || !self.brace.own_line || self.brace.written {
            self.after_import = false;
        }
        self.first_word.clear();
    }

    fn write(&mut self, ch: char) {
        self.out.push(ch);
        self.last = ch;
    }

    fn new_line(&mut self) {
        self.write('\n');
        self.line_start = true;
    }

    fn indent(&mut self) {
        for _ in 0..self.nesting {
            self.write('\t');
        }
    }
}

fn is_marker(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|ch| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_'))
}

#[cfg(test)]
mod tests;
