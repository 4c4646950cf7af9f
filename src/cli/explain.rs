//! The routing table of `adapt --explain`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};

use crate::adapt::{Block, Line, Outline, ServerOutline, SiteOutline, Step};

/// Lines longer than this push their place out instead of widening the table.
const TEXT_CHARS_MAX: usize = 76;
/// The spaces between a line and its place.
const GAP: usize = 2;
/// What a level is indented by: as much as its number takes.
const INDENT: usize = 3;

const ADDRESS: Style = Style::new().bold();
const NAME: Style = AnsiColor::Cyan.on_default();
const ASIDE: Style = Style::new().dimmed();

/// The table as text, coloured if standard output is a terminal and nobody asks for none.
pub(super) fn table(outline: &Outline) -> String {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let here = std::env::current_dir().map(|path| format!("{}/", path.display())).unwrap_or_default();
    render(outline, &here, std::io::stdout().is_terminal() && !unwanted)
}

/// A row: what stands before the line, the line, and where it comes from.
struct Row {
    before: String,
    text: String,
    style: Style,
    /// Whether the style is for all of the text, and not for its first word alone.
    is_whole: bool,
    place: String,
}

impl Row {
    fn chars(&self) -> usize {
        self.before.chars().count() + self.text.chars().count()
    }

    fn aside(before: String, text: &str) -> Self {
        Row { before, text: text.to_owned(), style: ASIDE, is_whole: true, place: String::new() }
    }
}

/// The table; files below the folder `here` are shown without it.
fn render(outline: &Outline, here: &str, colours: bool) -> String {
    let mut rows = Vec::new();
    for server in &outline.servers {
        add_server(&mut rows, server);
    }
    for (name, block) in &outline.named_routes {
        rows.push(Row { is_whole: true, ..row(0, "", name, ADDRESS) });
        add_block(&mut rows, 1, block);
        rows.push(Row::aside(String::new(), ""));
    }
    for row in &mut rows {
        if let Some(place) = row.place.strip_prefix(here) {
            row.place = place.to_owned();
        }
    }
    let widths = rows.iter().map(Row::chars).filter(|chars| *chars <= TEXT_CHARS_MAX);
    let width = widths.max().unwrap_or_default() + GAP;
    let mut out = String::new();
    for row in &rows {
        write_row(&mut out, row, width, colours);
    }
    out.trim_end().to_owned()
}

fn add_server(rows: &mut Vec<Row>, server: &ServerOutline) {
    if server.sites.is_empty() {
        return;
    }
    let mut about = format!("{}, {}", server.name, if server.is_https { "HTTPS" } else { "HTTP" });
    if let Some(port) = server.redirected_from.filter(|_| server.is_https) {
        // Writing to a String never fails.
        _ = write!(about, "; clients on :{port} are sent here");
    }
    let listen = server.listen.join(", ");
    rows.push(Row {
        before: String::new(),
        text: format!("{listen}  ({about})"),
        style: ADDRESS,
        is_whole: false,
        place: String::new(),
    });
    for (index, site) in server.sites.iter().enumerate() {
        add_site(rows, index, site);
    }
    rows.push(Row::aside(String::new(), ""));
}

fn add_site(rows: &mut Vec<Row>, index: usize, site: &SiteOutline) {
    let Some(first) = site.addresses.first() else { return };
    let addresses: Vec<&str> = site.addresses.iter().map(|line| line.text.as_str()).collect();
    let line = Line { text: addresses.join(", "), place: first.place.clone() };
    rows.push(Row { is_whole: true, ..row(1, &(index + 1).to_string(), &line, ADDRESS) });
    add_block(rows, 2, &site.routes);
    if site.routes.steps.is_empty() {
        rows.push(Row::aside(indent(2), "(nothing; the answer is empty, with status 200)"));
    }
    if !site.errors.steps.is_empty() {
        rows.push(Row::aside(indent(2), "on errors"));
        add_block(rows, 2, &site.errors);
    }
}

fn add_block(rows: &mut Vec<Row>, level: usize, block: &Block) {
    for matcher in &block.matchers {
        rows.push(row(level, "", matcher, ASIDE));
    }
    let mut number = 0;
    for step in &block.steps {
        let label = match step.is_alternative && number > 0 {
            true => "or".to_owned(),
            false => {
                number += 1;
                number.to_string()
            }
        };
        add_step(rows, level, &label, step);
    }
}

fn add_step(rows: &mut Vec<Row>, level: usize, label: &str, step: &Step) {
    rows.push(row(level, label, &step.written.line, NAME));
    add_block(rows, level + 1, &step.written.inner);
}

fn indent(level: usize) -> String {
    " ".repeat(level * INDENT)
}

fn row(level: usize, label: &str, line: &Line, style: Style) -> Row {
    let before = match label {
        "" => indent(level),
        label => format!("{}{label:<INDENT$}", indent(level)),
    };
    Row { before, text: harmless(&line.text), style, is_whole: false, place: place(line) }
}

/// File and line, and the import that brought it there.
fn place(line: &Line) -> String {
    let file = &line.place.file().name;
    let mut text = format!("{file}:{}", line.place.line_col().line);
    if let Some(import) = line.place.origin.chain.last() {
        _ = write!(text, ", by {import}");
    }
    harmless(&text)
}

/// Without what could command a terminal.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch.is_control() {
            true => harmless.extend(ch.escape_default()),
            false => harmless.push(ch),
        }
    }
    harmless
}

fn write_row(out: &mut String, row: &Row, width: usize, colours: bool) {
    let (styled, plain) = match row.text.split_once(' ').filter(|_| !row.is_whole) {
        Some((first, _)) => row.text.split_at(first.len()),
        None => (row.text.as_str(), ""),
    };
    let painted = |text: &str, style: Style| match colours && !text.is_empty() {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    };
    let mut line = format!("{}{}{plain}", row.before, painted(styled, row.style));
    if !row.place.is_empty() {
        let gap = width.saturating_sub(row.chars()).max(GAP);
        _ = write!(line, "{}{}", " ".repeat(gap), painted(&row.place, ASIDE));
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use tollgate_grammar::NoFiles;

    use super::*;
    use crate::{adapt, modules};

    fn outline(caddyfile: &str) -> Outline {
        let vocabulary = modules::registry().vocabulary;
        let env = |name: &str| (name == "KEY").then(|| "secret".to_owned());
        adapt::explain("Caddyfile", caddyfile, &vocabulary, &env, &NoFiles).unwrap().1
    }

    #[test]
    fn colours_are_there_only_if_wanted_and_move_nothing() {
        let outline = outline(":80 {\n\thandle /a {\n\t\trespond hi\n\t}\n\thandle {\n\t\tabort\n\t}\n}\n");
        let (plain, coloured) = (render(&outline, "", false), render(&outline, "", true));
        assert!(
            !plain.contains('\u{1b}') && coloured.contains("\u{1b}[36mrespond\u{1b}[0m hi"),
            "{coloured:?}"
        );
        let mut stripped = String::new();
        let mut parts = coloured.split('\u{1b}');
        stripped.push_str(parts.next().unwrap());
        parts.for_each(|part| stripped.push_str(part.split_once('m').unwrap().1));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn what_came_from_the_environment_is_not_shown() {
        let table =
            render(&outline(":80 {\n\t@k header X \"{$KEY}\"\n\trespond @k \"{$KEY}\"\n}\n"), "", false);
        assert!(table.contains("{$KEY}") && !table.contains("secret"), "{table}");
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let table = render(&outline(":80 {\n\trespond \"\u{1b}[2J\"\n}\n"), "", true);
        assert!(table.contains("\\u{1b}[2J") && !table.contains("\u{1b}[2J"), "{table:?}");
    }
}
