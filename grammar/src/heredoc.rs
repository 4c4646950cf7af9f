//! Heredocs: `<<MARKER`, lines of text, and the marker again.

use crate::env::{Glyph, Pasted};
use crate::glyphs::Glyphs;
use crate::lexer::{Fault, Lexed, Lines, fail, push};
use crate::token::TextBuilder;

use nom::Parser;
use nom::bytes::complete::take_while;

/// What begins with `<`.
pub(crate) enum Angle {
    /// A heredoc, with its text.
    Heredoc(TextBuilder),
    /// `<<` and anything up to a space: a word, in which even tabs have no meaning.
    Word(TextBuilder),
    /// Not even that.
    Neither,
}

/// Reads what begins with `<` at `start`. `lines` says where that is, for messages.
pub(crate) fn heredoc<'a>(start: Glyphs<'a>, lines: Lines, pasted: &Pasted) -> Lexed<'a, Angle> {
    let no_heredoc = Ok((start, Angle::Neither));
    let [first, second, head @ ..] = start.0 else { return no_heredoc };
    if (first.ch, second.ch) != ('<', '<') || first.value != second.value {
        return no_heredoc;
    }
    let own = first.value;
    let line = lines.line;
    let (rest, marker) = take_while::<_, _, Fault<'a>>(|glyph: Glyph| glyph.ch != ' ' && glyph.ch != '\n')
        .parse(Glyphs(head))?;
    match rest.first() {
        Some(end) if end.ch == '\n' && end.value == own => {}
        // A line break of another value does not belong to it.
        Some(end) if end.ch == '\n' => return no_heredoc,
        _ => {
            let mut text = TextBuilder::default();
            let kept = start.until(rest).iter().filter(|glyph| glyph.ch != '\r');
            kept.for_each(|glyph| push(&mut text, *glyph, pasted));
            return Ok((rest, Angle::Word(text)));
        }
    }
    let marker: Vec<char> = marker.0.iter().map(|glyph| glyph.ch).filter(|ch| *ch != '\r').collect();
    if let Err(message) = check_marker(&marker, line) {
        return fail(start, 2 + marker.len(), message);
    }
    let body = Glyphs(&rest.0[1..]);
    let Some(end) = find_marker(body, own, &marker) else {
        let name: String = marker.iter().collect();
        let last = line + lines.skipped + start.0.iter().filter(|glyph| glyph.ch == '\n').count() as u32;
        let message = format!("incomplete heredoc <<{name} on line #{last}, expected ending marker {name}");
        return fail(start, 2 + marker.len(), message);
    };
    let lines = &body.0[..end - marker.len()];
    let text = without_indentation(lines, own, &marker, line, pasted).or_else(|wrong| {
        fail(Glyphs(&body.0[wrong.at..]), wrong.count, wrong.message).map(|(_, text)| text)
    })?;
    Ok((Glyphs(&body.0[end..]), Angle::Heredoc(text)))
}

fn check_marker(marker: &[char], line: u32) -> Result<(), String> {
    const RULE: &str = "must contain only alphanumeric characters, dashes and underscores";
    if marker.is_empty() {
        return Err(format!("missing opening heredoc marker on line #{line}; {RULE}; got empty string"));
    }
    if marker[0] == '<' {
        return Err(format!("too many '<' for heredoc on line #{line}; only use two, for example <<END"));
    }
    if !marker.iter().all(|ch| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_')) {
        let marker: String = marker.iter().collect();
        return Err(format!("heredoc marker on line #{line} {RULE}; got '{marker}'"));
    }
    Ok(())
}

/// Where the first occurrence of the marker ends. Only characters of the value that opened the heredoc can close it.
///
/// This is the search of Knuth, Morris and Pratt, so that no text makes it slow.
fn find_marker(body: Glyphs<'_>, own: u32, marker: &[char]) -> Option<usize> {
    let mut fallback = vec![0; marker.len()];
    let mut matched = 0;
    for at in 1..marker.len() {
        while matched > 0 && marker[at] != marker[matched] {
            matched = fallback[matched - 1];
        }
        matched += usize::from(marker[at] == marker[matched]);
        fallback[at] = matched;
    }
    matched = 0;
    for (at, glyph) in body.0.iter().enumerate() {
        if glyph.value != own {
            matched = 0;
            continue;
        }
        while matched > 0 && glyph.ch != marker[matched] {
            matched = fallback[matched - 1];
        }
        matched += usize::from(glyph.ch == marker[matched]);
        if matched == marker.len() {
            return Some(at + 1);
        }
    }
    None
}

/// A line that is indented otherwise than the closing marker.
struct WrongIndentation {
    at: usize,
    count: usize,
    message: String,
}

/// The lines of a heredoc without what stands before its closing marker, and without carriage returns.
///
/// Pasted values are kept as they are: their line breaks begin no line here.
fn without_indentation(
    body: &[Glyph],
    own: u32,
    marker: &[char],
    line: u32,
    pasted: &Pasted,
) -> Result<TextBuilder, WrongIndentation> {
    let mut text = TextBuilder::default();
    let is_break = |glyph: &Glyph| glyph.ch == '\n' && glyph.value == own;
    let Some(last_break) = body.iter().rposition(is_break) else { return Ok(text) };
    let indentation = &body[last_break + 1..];
    let mut at = 0;
    for (number, content) in body[..last_break].split(is_break).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let blank = matches!(content, [] | [Glyph { ch: '\r', .. }]);
        let indented = content.len() >= indentation.len()
            && content.iter().zip(indentation).all(|(have, want)| have.ch == want.ch);
        if !blank && !indented {
            let shown = |glyphs: &[Glyph]| {
                let written = glyphs.iter().filter(|glyph| glyph.value == own);
                written.map(|glyph| glyph.ch).collect::<String>()
            };
            let message = format!(
                "mismatched leading whitespace in heredoc <<{} on line #{} [{}], expected whitespace [{}] to match \
                 the closing marker",
                marker.iter().collect::<String>(),
                line as usize + number + 1,
                shown(content).trim_end_matches(['\r', '\n']),
                shown(indentation),
            );
            return Err(WrongIndentation { at, count: content.len(), message });
        }
        if !blank {
            let kept = content[indentation.len()..].iter();
            kept.filter(|glyph| glyph.ch != '\r' || glyph.value != own)
                .for_each(|glyph| push(&mut text, *glyph, pasted));
        }
        at += content.len() + 1;
    }
    Ok(text)
}
