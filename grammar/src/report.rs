//! Errors and warnings that know their place.

use std::fmt::Write;
use std::sync::Arc;

use crate::source::{LineCol, SourceFile, Span};
use crate::token::{Origin, Token};

/// A place in a file, kept with its file so that it can be shown without anything else.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file, and how it was imported.
    pub origin: Arc<Origin>,
    /// The stretch of text.
    pub span: Span,
    /// The line as Caddy counts it, see [`Token::line`].
    pub line: u32,
}

impl Place {
    /// Where a token stands.
    pub fn of(token: &Token) -> Place {
        Place { origin: token.origin.clone(), span: token.span, line: token.line }
    }

    /// Is it the place of this token?
    pub fn is_of(&self, token: &Token) -> bool {
        Arc::ptr_eq(&self.origin, &token.origin) && self.span == token.span
    }

    /// The file.
    pub fn file(&self) -> &SourceFile {
        &self.origin.file
    }

    /// Line and column at which it begins.
    pub fn line_col(&self) -> LineCol {
        self.file().line_col(self.span.start)
    }
}

/// How the one-line form of an error names its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Not at all; the message says enough.
    None,
    /// `message, at FILE:LINE`
    After,
    /// The same, unless something around it names a place of its own; Caddy names no other then.
    Added,
    /// `FILE:LINE: message`
    Before,
    /// `message, at FILE:LINE import chain: ['']`, as Caddy ends a syntax error
    Syntax,
}

/// Why a Caddyfile was refused.
///
/// `Display` gives Caddy's one-line form; [`Error::render`] shows the place in the file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.one_line())]
pub struct Error(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    message: String,
    context: String,
    place: Option<Place>,
    naming: Option<Naming>,
    /// Further places that the one-line form names at its end: those of the blocks around.
    around: Vec<String>,
    /// The place to show, if it is another one than the one-line form names.
    shown: Option<Place>,
    expected: Option<String>,
    notes: Vec<(&'static str, String)>,
    /// Another place that has to do with it, and what it is.
    related: Option<(&'static str, Place)>,
    /// Whether it says that a name is not known.
    about_a_name: bool,
    /// Further mistakes found in the same run.
    further: Vec<Error>,
    /// How many others there are.
    more: usize,
}

impl Error {
    /// An error without a place.
    pub fn new(message: impl Into<String>) -> Error {
        Error(Box::new(Details {
            message: message.into(),
            context: String::new(),
            place: None,
            naming: None,
            around: Vec::new(),
            shown: None,
            expected: None,
            notes: Vec::new(),
            related: None,
            about_a_name: false,
            further: Vec::new(),
            more: 0,
        }))
    }

    /// An error at a token; its one-line form ends in `, at FILE:LINE`.
    pub fn at(token: &Token, message: impl Into<String>) -> Error {
        Error::new(message).with_place(Place::of(token), Naming::After)
    }

    /// An error at a token that its one-line form does not name.
    pub fn at_unnamed(token: &Token, message: impl Into<String>) -> Error {
        Error::new(message).with_place(Place::of(token), Naming::None)
    }

    /// An error at a token whose one-line form begins with `FILE:LINE: `.
    pub fn at_front(token: &Token, message: impl Into<String>) -> Error {
        Error::new(message).with_place(Place::of(token), Naming::Before)
    }

    pub(crate) fn syntax(token: &Token, message: String) -> Error {
        Error::new(message).with_place(Place::of(token), Naming::Syntax)
    }

    /// An error at a place that its one-line form does not name.
    pub fn in_place(place: Place, message: impl Into<String>) -> Error {
        Error::new(message).with_place(place, Naming::None)
    }

    fn with_place(mut self, place: Place, naming: Naming) -> Error {
        self.0.place = Some(place);
        self.0.naming = Some(naming);
        self
    }

    /// Gives an error that has no place yet the place of `token`.
    pub fn or_at(self, token: &Token) -> Error {
        let error = self.with_all_further(|error| error.or_at(token));
        if error.0.place.is_some() { error } else { error.with_place(Place::of(token), Naming::Added) }
    }

    /// Adds the place of the block around to the one-line form, as Caddy does.
    pub fn inside(self, token: &Token) -> Error {
        let mut error = self.with_all_further(|error| error.inside(token));
        error.0.around.push(at(&Place::of(token)));
        error
    }

    /// Shows another place than the one-line form names: Caddy names the end of a block for what is wrong inside it.
    pub fn shown_at(mut self, token: &Token) -> Error {
        self.0.shown = Some(Place::of(token));
        self
    }

    /// Says what was being done: `context` and `: ` come before the message.
    pub fn context(mut self, context: impl std::fmt::Display) -> Error {
        let all = std::iter::once(&mut self.0.context);
        for inner in all.chain(self.0.further.iter_mut().map(|error| &mut error.0.context)) {
            *inner = format!("{context}: {inner}");
        }
        self
    }

    /// Says what would have been right here, such as a directive's syntax. The first to say so counts, since it is
    /// the nearest.
    pub fn expected(mut self, expected: impl Into<String>) -> Error {
        let expected = expected.into();
        for error in &mut self.0.further {
            error.0.expected.get_or_insert_with(|| expected.clone());
        }
        self.0.expected.get_or_insert(expected);
        self
    }

    /// Adds a hint in a sentence.
    pub fn help(self, help: impl Into<String>) -> Error {
        self.note(HELP, help)
    }

    pub(crate) fn note(mut self, label: &'static str, text: impl Into<String>) -> Error {
        self.0.notes.push((label, text.into()));
        self
    }

    /// Adds `did you mean ...` if one of `names` is near to what was written.
    pub fn did_you_mean<'n>(self, written: &str, names: impl IntoIterator<Item = &'n str>) -> Error {
        match crate::suggest::nearest(written, names) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Shows another place that has to do with it; `what` says in a few words what stands there.
    pub fn related(mut self, what: &'static str, token: &Token) -> Error {
        self.0.related = Some((what, Place::of(token)));
        self
    }

    /// Says that the mistake is a name that nothing defines; it may be known once other mistakes are mended.
    pub fn about_a_name(mut self) -> Error {
        self.0.about_a_name = true;
        self
    }

    pub(crate) fn is_about_a_name(&self) -> bool {
        self.0.about_a_name
    }

    // ---- several mistakes --------------------------------------------------------------------------------------

    /// Further mistakes that were found in the same run, in the order of the text.
    pub fn further(&self) -> &[Error] {
        &self.0.further
    }

    /// How many mistakes there are besides this one and the [`Error::further`] ones.
    pub fn more(&self) -> usize {
        self.0.more
    }

    pub(crate) fn set_further(&mut self, further: Vec<Error>, more: usize) {
        self.0.further = further;
        self.0.more = more;
    }

    pub(crate) fn take_further(&mut self) -> (Vec<Error>, usize) {
        (std::mem::take(&mut self.0.further), std::mem::take(&mut self.0.more))
    }

    /// Does to the further mistakes what is about to be done to the first.
    fn with_all_further(mut self, change: impl Fn(Error) -> Error) -> Error {
        let further = std::mem::take(&mut self.0.further);
        self.0.further = further.into_iter().map(change).collect();
        self
    }

    // ---- how it is shown ---------------------------------------------------------------------------------------

    /// The place to show.
    pub fn spot(&self) -> Option<&Place> {
        self.0.shown.as_ref().or(self.0.place.as_ref())
    }

    /// The message without what was being done.
    pub(crate) fn own_message(&self) -> &str {
        &self.0.message
    }

    /// Whether it has a hint already.
    pub fn has_help(&self) -> bool {
        self.0.notes.iter().any(|(label, _)| *label == HELP)
    }

    /// The message alone, without its place.
    pub fn message(&self) -> String {
        format!("{}{}", self.0.context, self.0.message)
    }

    /// Where it happened.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// Replaces a text in the message, as where it would show a secret.
    pub(crate) fn hide(mut self, text: &str, with: &str) -> Error {
        if self.0.message.contains(text) {
            self.0.message = self.0.message.replace(text, with);
        }
        self
    }

    fn one_line(&self) -> String {
        let message = self.message();
        let around = self.0.around.concat();
        let (Some(place), Some(naming)) = (&self.0.place, self.0.naming) else { return message + &around };
        let (file, line) = (&place.file().name, place.line);
        match naming {
            Naming::Added if !around.is_empty() => message + &around,
            Naming::None => message + &around,
            Naming::Before => format!("{file}:{line}: {message}{around}"),
            Naming::After | Naming::Added => format!("{message}{}{around}", at(place)),
            Naming::Syntax => {
                let chain = place.origin.chain.join("','");
                format!("{message}, at {file}:{line} import chain: ['{chain}']{around}")
            }
        }
    }

    /// The error for people: the message, the line it is about with a mark under the spot, and what may help.
    ///
    /// With `color` the text holds ANSI escapes. The end has no line break.
    pub fn render(&self, color: bool) -> String {
        let style = Style { color };
        format!("{}: {}{}", style.paint(RED, "error"), self.message(), self.excerpt(color))
    }

    /// All that was found wrong: the one-line form of this error and what [`Error::excerpt`] shows, then the same of
    /// each further one, with an empty line between.
    ///
    /// `before` stands in front of each. The end has no line break.
    pub fn render_all(&self, before: &str, color: bool) -> String {
        let mut out = format!("{before}{self}{}", self.excerpt(color));
        for error in self.further() {
            _ = write!(out, "\n\n{before}{error}{}", error.excerpt(color));
        }
        if self.more() > 0 {
            _ = write!(out, "\n\nand {} more", self.more());
        }
        out
    }

    /// What [`Error::render`] shows after the message, for those who have printed the one-line form already: nothing,
    /// or a line break and further lines, of which the last has no line break.
    pub fn excerpt(&self, color: bool) -> String {
        let style = Style { color };
        let mut out = String::new();
        let place = self.spot();
        if let Some(place) = place {
            excerpt(&mut out, place, style);
        }
        let mut note = |label: &str, text: &str| {
            let text = text.replace('\n', "\n      ");
            _ = write!(out, "\n  {} {label}: {text}", style.paint(BLUE, "="));
        };
        if let Some(expected) = &self.0.expected {
            note("expected", expected);
        }
        for (label, text) in &self.0.notes {
            note(label, text);
        }
        for import in place.iter().flat_map(|place| &place.origin.trail) {
            note("imported", &format!("at {import}"));
        }
        if let Some((what, place)) = &self.0.related {
            _ = write!(out, "\n  {} {what}:", style.paint(BLUE, "="));
            excerpt(&mut out, place, style);
        }
        out
    }
}

/// `, at FILE:LINE`, with the imports that led there.
fn at(place: &Place) -> String {
    let (file, line) = (&place.file().name, place.line);
    match place.origin.chain.join("','") {
        chain if chain.is_empty() => format!(", at {file}:{line}"),
        chain => format!(", at {file}:{line} import chain ['{chain}']"),
    }
}

/// Something that is allowed but probably not meant.
#[derive(Debug, Clone)]
pub struct Warning {
    /// What is odd.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
}

const HELP: &str = "help";
const RED: &str = "1;31";
const BLUE: &str = "1;34";

#[derive(Clone, Copy)]
struct Style {
    color: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Characters of a line that are shown before the marked spot, and in all.
const SHOWN_BEFORE: usize = 60;
const SHOWN_MAX: usize = 140;

/// Shows the line of a place with a mark under it. Control characters are replaced, long lines cut.
fn excerpt(out: &mut String, place: &Place, style: Style) {
    let LineCol { line, column } = place.line_col();
    let text = place.file().line_text(line);
    let column = column as usize - 1;
    let cut = column.saturating_sub(SHOWN_BEFORE);
    let clean = |ch: char| if ch.is_control() && ch != '\t' { char::REPLACEMENT_CHARACTER } else { ch };
    let shown: String = text.chars().skip(cut).take(SHOWN_MAX).map(clean).collect();
    let before: String =
        shown.chars().take(column - cut).map(|ch| if ch == '\t' { '\t' } else { ' ' }).collect();
    let covered = place.file().text.get(place.span.start as usize..place.span.end as usize).unwrap_or("");
    let width = covered.lines().next().unwrap_or("").chars().count().clamp(1, SHOWN_MAX);
    let width = width.min((shown.chars().count() + cut).saturating_sub(column).max(1));
    let gutter = " ".repeat(line.to_string().len());
    let bar = style.paint(BLUE, "|");
    let ellipsis = if cut > 0 { "..." } else { "" };
    let pad = " ".repeat(ellipsis.len());
    _ = write!(
        out,
        "\n {gutter}{} {}:{line}:{}\n {gutter} {bar}\n {} {bar} {ellipsis}{shown}\n {gutter} {bar} {pad}{before}{}",
        style.paint(BLUE, "-->"),
        place.file().name,
        column + 1,
        style.paint(BLUE, &line.to_string()),
        style.paint(RED, &"^".repeat(width)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;

    /// The error at the token that begins with `!`.
    fn rendered(text: &str, color: bool) -> String {
        let mut cursor = Cursor::from_text("Caddyfile", text, &|_: &str| None).expect("tokens");
        while !cursor.val().starts_with('!') {
            assert!(cursor.next(), "no mark in {text}");
        }
        cursor.err("wrong").render(color)
    }

    #[test]
    fn the_mark_stands_under_the_token_behind_tabs_and_wide_letters() {
        assert_eq!(
            rendered("a\n\tü\t!bc d", false),
            "error: wrong\n  --> Caddyfile:2:4\n   |\n 2 | \tü\t!bc d\n   | \t \t^^^"
        );
    }

    #[test]
    fn a_token_of_several_lines_is_marked_on_its_first() {
        assert!(rendered("a \"!b\nlong line\" c", false).ends_with("| a \"!b\n   |   ^^^"));
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_replaced() {
        let long = rendered(&format!("{}\x1b[31m !x {}", "a".repeat(1000), "b".repeat(1000)), false);
        assert!(long.lines().all(|line| line.chars().count() < 160), "{long}");
        assert!(!long.contains('\x1b') && long.contains("...") && long.contains("!x"), "{long}");
        let (code, mark) = long.split_once("!x").expect("the token is shown");
        let column = code.lines().next_back().expect("a line").chars().count();
        let marked = mark.lines().nth(1).expect("a mark").chars().take_while(|ch| *ch != '^').count();
        assert_eq!(marked, column);
    }

    #[test]
    fn colors_come_only_when_asked_for() {
        assert!(rendered("!", true).contains("\x1b[1;31merror\x1b[0m"));
        assert!(!rendered("!", false).contains('\x1b'));
    }

    #[test]
    fn the_one_line_form_names_its_place_as_caddy_does() {
        let mut cursor = Cursor::from_text("Caddyfile", "\na", &|_: &str| None).expect("tokens");
        cursor.next();
        let token = cursor.token().expect("a token");
        let context = "parsing caddyfile tokens for 'a'";
        assert_eq!(
            Error::at(token, "m").context(context).to_string(),
            format!("{context}: m, at Caddyfile:2")
        );
        assert_eq!(Error::at_front(token, "m").to_string(), "Caddyfile:2: m");
        assert_eq!(Error::at_unnamed(token, "m").to_string(), "m");
        assert_eq!(Error::new("m").or_at(token).to_string(), "m, at Caddyfile:2");
        assert_eq!(Error::at(token, "m").inside(token).to_string(), "m, at Caddyfile:2, at Caddyfile:2");
        assert_eq!(Error::new("m").or_at(token).inside(token).to_string(), "m, at Caddyfile:2");
        let syntax = "syntax error: unexpected token 'a', expecting '}', at Caddyfile:2 import chain: ['']";
        assert_eq!(cursor.syntax_err("}").to_string(), syntax);
    }
}
