//! Functions on text.

use super::{Function, bounded, int, list, parts, text, texts, value};
use crate::gotemplate::{Error, Value, quote};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("hello", |_| Ok("Hello!".into())),
    ("upper", |a| Ok(text(a, 0)?.to_uppercase().into())),
    ("lower", |a| Ok(text(a, 0)?.to_lowercase().into())),
    ("title", |a| Ok(title(&text(a, 0)?).into())),
    ("untitle", |a| Ok(words(&text(a, 0)?, |first| first.to_lowercase().collect()).into())),
    ("swapcase", |a| Ok(swap_case(&text(a, 0)?).into())),
    ("trim", |a| Ok(text(a, 0)?.trim().into())),
    ("trimAll", |a| trim_all(a)),
    ("trimall", |a| trim_all(a)),
    ("trimPrefix", |a| {
        let (prefix, whole) = (text(a, 0)?, text(a, 1)?);
        Ok(whole.strip_prefix(&*prefix).unwrap_or(&whole).into())
    }),
    ("trimSuffix", |a| {
        let (suffix, whole) = (text(a, 0)?, text(a, 1)?);
        Ok(whole.strip_suffix(&*suffix).unwrap_or(&whole).into())
    }),
    ("nospace", |a| Ok(text(a, 0)?.chars().filter(|c| !c.is_whitespace()).collect::<String>().into())),
    ("initials", |a| {
        Ok(text(a, 0)?.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>().into())
    }),
    ("contains", |a| Ok(text(a, 1)?.contains(&*text(a, 0)?).into())),
    ("hasPrefix", |a| Ok(text(a, 1)?.starts_with(&*text(a, 0)?).into())),
    ("hasSuffix", |a| Ok(text(a, 1)?.ends_with(&*text(a, 0)?).into())),
    ("replace", |a| {
        let (from, to, whole) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
        let places = if from.is_empty() { whole.chars().count() + 1 } else { whole.matches(&*from).count() };
        bounded(whole.len().saturating_add(places.saturating_mul(to.len())))?;
        Ok(whole.replace(&*from, &to).into())
    }),
    ("repeat", |a| {
        let (count, whole) = (usize::try_from(int(a, 0)?).unwrap_or(0), text(a, 1)?);
        bounded(count.saturating_mul(whole.len()))?;
        Ok(whole.repeat(count).into())
    }),
    ("substr", |a| Ok(substr(int(a, 0)?, int(a, 1)?, &text(a, 2)?).into())),
    ("trunc", |a| Ok(trunc(int(a, 0)?, &text(a, 1)?).into())),
    ("abbrev", |a| Ok(abbrev(0, int(a, 0)?, &text(a, 1)?).into())),
    ("abbrevboth", |a| Ok(abbrev(int(a, 0)?, int(a, 1)?, &text(a, 2)?).into())),
    ("quote", |a| Ok(each(a, |item| quote(item.text().as_bytes())).into())),
    ("squote", |a| Ok(each(a, |item| format!("'{}'", item.text())).into())),
    ("cat", |a| Ok(each(a, |item| item.text().into_owned()).into())),
    ("indent", |a| Ok(indent(int(a, 0)?, &text(a, 1)?)?.into())),
    ("nindent", |a| Ok(format!("\n{}", indent(int(a, 0)?, &text(a, 1)?)?).into())),
    ("plural", |a| Ok(if int(a, 2)? == 1 { text(a, 0)? } else { text(a, 1)? }.into_owned().into())),
    ("snakecase", |a| Ok(joined(&text(a, 0)?, '_').into())),
    ("kebabcase", |a| Ok(joined(&text(a, 0)?, '-').into())),
    ("camelcase", |a| Ok(camel_case(&text(a, 0)?).into())),
    ("wrap", |a| Ok(wrap(int(a, 0)?, "\n", false, &text(a, 1)?)?.into())),
    ("wrapWith", |a| Ok(wrap(int(a, 0)?, &text(a, 1)?, true, &text(a, 2)?)?.into())),
    ("toString", |a| Ok(value(a, 0)?.text().into_owned().into())),
    ("toStrings", |a| Ok(texts(&list(a, 0)?).into_iter().map(Value::from).collect::<Vec<_>>().into())),
    ("join", |a| {
        let items = match list(a, 1) {
            Ok(items) => items,
            Err(_) => vec![value(a, 1)?.clone()],
        };
        let separator = text(a, 0)?;
        bounded(separator.len().saturating_mul(items.len()))?;
        Ok(texts(&items).join(&separator).into())
    }),
    ("splitList", |a| Ok(split(&text(a, 0)?, &text(a, 1)?, usize::MAX)?.into())),
    ("split", |a| Ok(numbered(split(&text(a, 0)?, &text(a, 1)?, usize::MAX)?))),
    ("splitn", |a| {
        let count = usize::try_from(int(a, 1)?).unwrap_or(usize::MAX);
        Ok(numbered(split(&text(a, 0)?, &text(a, 2)?, count)?))
    }),
    ("sortAlpha", |a| {
        let mut items = texts(&list(a, 0)?);
        items.sort();
        Ok(items.into_iter().map(Value::from).collect::<Vec<_>>().into())
    }),
];

fn each(arguments: &[Value], show: impl Fn(&Value) -> String) -> String {
    let shown: Vec<_> = arguments.iter().filter(|item| !matches!(item, Value::Nil)).map(show).collect();
    shown.join(" ")
}

fn trim_all(arguments: &[Value]) -> Result<Value, Error> {
    let set = text(arguments, 0)?;
    Ok(text(arguments, 1)?.trim_matches(|c| set.contains(c)).into())
}

/// Changes the first letter of each word.
fn words(whole: &str, change: impl Fn(char) -> String) -> String {
    let mut out = String::with_capacity(whole.len());
    let mut is_inside = false;
    for character in whole.chars() {
        if character.is_whitespace() || is_inside {
            out.push(character);
        } else {
            out.push_str(&change(character));
        }
        is_inside = !character.is_whitespace();
    }
    out
}

/// As Go's `strings.Title`: a word begins behind whatever is no letter, digit or underscore.
fn title(whole: &str) -> String {
    let mut out = String::with_capacity(whole.len());
    let mut is_inside = false;
    for character in whole.chars() {
        if is_inside {
            out.push(character)
        } else {
            out.extend(character.to_uppercase())
        }
        is_inside = character.is_alphanumeric() || matches!(character, '_' | '\'');
    }
    out
}

fn swap_case(whole: &str) -> String {
    let mut out = String::with_capacity(whole.len());
    for character in whole.chars() {
        if character.is_uppercase() {
            out.extend(character.to_lowercase())
        } else {
            out.extend(character.to_uppercase())
        }
    }
    out
}

/// Bytes from `start` to `end`, as far as they are there; negative numbers leave an end open.
fn substr(start: i64, end: i64, whole: &str) -> String {
    let length = whole.len();
    let at = |place: i64| usize::try_from(place).unwrap_or(0).min(length);
    let range = if start < 0 {
        0..at(end)
    } else if end < 0 || at(end) == length {
        at(start)..length
    } else {
        at(start)..at(end).max(at(start))
    };
    String::from_utf8_lossy(&whole.as_bytes()[range]).into_owned()
}

fn trunc(count: i64, whole: &str) -> String {
    let bytes = whole.as_bytes();
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let kept = match count {
        0.. => &bytes[..size.min(bytes.len())],
        _ => &bytes[bytes.len().saturating_sub(size)..],
    };
    String::from_utf8_lossy(kept).into_owned()
}

/// At most `width` characters, with dots where some were left out.
fn abbrev(offset: i64, width: i64, whole: &str) -> String {
    let characters: Vec<char> = whole.chars().collect();
    let (offset, width) = (usize::try_from(offset).unwrap_or(0), usize::try_from(width).unwrap_or(0));
    if width < 4 || (offset > 0 && width < 7) || characters.len() <= width {
        return whole.to_owned();
    }
    let part = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
    let offset = offset.min(characters.len());
    let offset = if characters.len() - offset < width - 3 { characters.len() - (width - 3) } else { offset };
    if offset <= 4 {
        return format!("{}...", part(0, width - 3));
    }
    if offset + width - 3 < characters.len() {
        return format!(
            "...{}",
            abbrev(0, i64::try_from(width - 3).unwrap_or(0), &part(offset, characters.len()))
        );
    }
    format!("...{}", part(characters.len() - (width - 3), characters.len()))
}

fn indent(spaces: i64, whole: &str) -> Result<String, Error> {
    let count = usize::try_from(spaces).unwrap_or(0);
    bounded(whole.len().saturating_add(count.saturating_mul(whole.matches('\n').count() + 1)))?;
    let pad = " ".repeat(count);
    Ok(format!("{pad}{}", whole.replace('\n', &format!("\n{pad}"))))
}

/// Words in lower case with a mark between; they begin at capitals, spaces and marks.
fn joined(whole: &str, mark: char) -> String {
    let characters: Vec<char> = whole.chars().collect();
    let mut out = String::with_capacity(whole.len() + 8);
    for (index, &character) in characters.iter().enumerate() {
        if matches!(character, ' ' | '_' | '-') {
            if !out.is_empty() && !out.ends_with(mark) {
                out.push(mark);
            }
            continue;
        }
        let before = index.checked_sub(1).map(|before| characters[before]);
        let begins = character.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase()
                        && characters.get(index + 1).is_some_and(|next| next.is_lowercase()))
            });
        if begins && !out.ends_with(mark) {
            out.push(mark);
        }
        out.extend(character.to_lowercase());
    }
    out
}

fn camel_case(whole: &str) -> String {
    let mut out = String::with_capacity(whole.len());
    let mut begins = true;
    for character in whole.chars() {
        if matches!(character, ' ' | '_' | '-') {
            begins = true;
        } else if begins {
            out.extend(character.to_uppercase());
            begins = false;
        } else {
            out.push(character);
        }
    }
    out
}

fn wrap(width: i64, separator: &str, breaks_words: bool, whole: &str) -> Result<String, Error> {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let characters: Vec<char> = whole.chars().collect();
    let mut out = String::with_capacity(whole.len());
    let mut at = 0;
    while characters.len() - at > width {
        if characters[at] == ' ' {
            at += 1;
            continue;
        }
        let line = &characters[at..];
        let space = line[..=width].iter().rposition(|character| *character == ' ');
        let further =
            || line.iter().skip(width).position(|character| *character == ' ').map(|place| place + width);
        let (end, skipped) = match space {
            Some(space) => (space, 1),
            None if breaks_words => (width, 0),
            None => match further() {
                Some(space) => (space, 1),
                None => break,
            },
        };
        out.extend(&line[..end]);
        out.push_str(separator);
        bounded(out.len())?;
        at += end + skipped;
    }
    out.extend(&characters[at..]);
    Ok(out)
}

/// What is between separators, in so many parts at most; without a separator each character.
fn split(separator: &str, whole: &str, count: usize) -> Result<Vec<Value>, Error> {
    if separator.is_empty() {
        let characters = whole.char_indices().map(|(at, character)| &whole[at..at + character.len_utf8()]);
        return parts(characters.take(count));
    }
    parts(whole.splitn(count.max(1), separator))
}

/// Parts by the names `_0`, `_1` and so on.
fn numbered(parts: Vec<Value>) -> Value {
    let named = parts.into_iter().enumerate().map(|(index, part)| (format!("_{index}"), part));
    named.collect::<crate::gotemplate::Map>().into()
}
