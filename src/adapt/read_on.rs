//! Reading on behind a mistake, so that one run names all of them.

use std::ops::Range;

use tollgate_grammar::{Mistakes, Place};

use super::{Error, Segment, Token};

/// How often a session reads something again in search of further mistakes.
pub(super) const READINGS_MAX: usize = 100;

/// Reads a segment with `read`. If something in its block is wrong, the segment is read again without that part of
/// the block, and so on, to find what else is wrong.
///
/// `may_read` says whether there may be one more reading. What goes wrong outside of the block in a later reading is
/// not told: the part that was left out may be what is missed.
pub(super) fn read_on<T>(
    segment: Segment,
    may_read: impl Fn() -> bool,
    mut read: impl FnMut(Segment) -> Result<T, Error>,
) -> Result<T, Error> {
    let error = match read(segment.clone()) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let mut rest = segment;
    let mut places = all_places(&error);
    let mut mistakes = Mistakes::default();
    mistakes.add(error);
    while !mistakes.is_full()
        && let Some(shorter) = without(&rest, &places)
        && may_read()
    {
        rest = shorter;
        let Err(error) = read(rest.clone()) else { break };
        places = all_places(&error);
        if without(&rest, &places).is_none() {
            break;
        }
        mistakes.add(error);
    }
    // There is at least the first.
    mistakes.none().and_then(|()| read(rest))
}

/// The places of all mistakes in an error.
fn all_places(error: &Error) -> Vec<Place> {
    let all = std::iter::once(error).chain(error.further());
    all.filter_map(|error| error.spot().cloned()).collect()
}

/// The segment without the parts of its block in which the places are; none if there is no such part.
fn without(segment: &Segment, places: &[Place]) -> Option<Segment> {
    let mut taken_out: Vec<_> = places.iter().filter_map(|place| part_at(segment, place)).collect();
    taken_out.sort_by_key(|part| part.start);
    taken_out.dedup();
    let mut kept = Segment::with_capacity(segment.len());
    let mut done = 0;
    for part in &taken_out {
        kept.extend_from_slice(&segment[done..part.start]);
        done = part.end;
    }
    kept.extend_from_slice(&segment[done..]);
    (!taken_out.is_empty()).then_some(kept)
}

/// The part of a segment's block, a line with the block behind it, in which a place is.
pub(super) fn part_at(segment: &[Token], place: &Place) -> Option<Range<usize>> {
    let mut start = None;
    let mut holds = false;
    let mut nesting = 0_usize;
    for (index, token) in segment.iter().enumerate() {
        let begins_line =
            index.checked_sub(1).is_some_and(|before| segment[before].is_followed_on_new_line_by(token));
        if nesting == 1 && (begins_line || token.is_close_brace()) {
            if let Some(start) = start.filter(|_| holds) {
                return Some(start..index);
            }
            start = (!token.is_close_brace()).then_some(index);
        }
        holds = start.is_some() && (holds || place.is_of(token));
        nesting += usize::from(token.is_open_brace());
        nesting = nesting.saturating_sub(usize::from(token.is_close_brace()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_grammar::Cursor;

    fn segment(text: &str) -> Segment {
        Cursor::from_text("Caddyfile", text, &|_: &str| None).unwrap().tokens().cloned().collect()
    }

    fn words(segment: &[Token]) -> String {
        segment.iter().map(|token| &*token.text).collect::<Vec<_>>().join(" ")
    }

    /// Words that begin with `!` are mistakes, and `{ }` without `need` too.
    fn read(segment: Segment) -> Result<String, Error> {
        match segment.iter().find(|token| token.text.starts_with('!')) {
            Some(token) => Err(Error::at_unnamed(token, token.text.to_string())),
            None if segment.iter().any(|token| &*token.text == "need") => Ok(words(&segment)),
            None => Err(Error::at_unnamed(&segment[0], "it needs need")),
        }
    }

    fn mistakes(text: &str) -> Vec<String> {
        let error = read_on(segment(text), || true, read).unwrap_err();
        std::iter::once(&error).chain(error.further()).map(Error::to_string).collect()
    }

    #[test]
    fn what_is_right_is_read_once() {
        assert_eq!(read_on(segment("a {\nneed\n}\n"), || false, read).unwrap(), "a { need }");
    }

    #[test]
    fn mistakes_in_several_lines_of_a_block_are_found() {
        assert_eq!(mistakes("a {\n!b 1\nneed\nc {\n!d\n}\n!e\n}\n"), ["!b", "!d", "!e"]);
    }

    #[test]
    fn what_is_missed_without_the_wrong_part_is_no_mistake() {
        assert_eq!(mistakes("a {\n!need\n}\n"), ["!need"]);
        assert_eq!(mistakes("a {\nb\n}\n"), ["it needs need"]);
    }

    #[test]
    fn a_mistake_before_the_block_is_the_only_one() {
        assert_eq!(mistakes("a !x {\n!y\n}\n"), ["!x"]);
    }
}
