//! Regular expressions.

use super::{Function, bounded, int, parts, text};
use crate::gotemplate::{Error, Value};
use crate::http::regexp::Regexp;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("regexMatch", is_match),
    ("mustRegexMatch", is_match),
    ("regexFind", find),
    ("mustRegexFind", find),
    ("regexFindAll", find_all),
    ("mustRegexFindAll", find_all),
    ("regexReplaceAll", |a| replace_all(a, false)),
    ("mustRegexReplaceAll", |a| replace_all(a, false)),
    ("regexReplaceAllLiteral", |a| replace_all(a, true)),
    ("mustRegexReplaceAllLiteral", |a| replace_all(a, true)),
    ("regexSplit", split),
    ("mustRegexSplit", split),
    ("regexQuoteMeta", |a| Ok(regex::escape(&text(a, 0)?).into())),
];

fn compile(arguments: &[Value]) -> Result<regex::Regex, Error> {
    let pattern = text(arguments, 0)?;
    Regexp::new(&pattern).map(Regexp::into_inner).map_err(|error| Error::new(error.to_string()))
}

fn is_match(arguments: &[Value]) -> Result<Value, Error> {
    Ok(compile(arguments)?.is_match(&text(arguments, 1)?).into())
}

fn find(arguments: &[Value]) -> Result<Value, Error> {
    let whole = text(arguments, 1)?;
    Ok(compile(arguments)?.find(&whole).map_or("", |found| found.as_str()).into())
}

fn find_all(arguments: &[Value]) -> Result<Value, Error> {
    let (whole, count) = (text(arguments, 1)?, count(arguments)?);
    let regex = compile(arguments)?;
    Ok(parts(regex.find_iter(&whole).take(count).map(|found| found.as_str()))?.into())
}

/// How many are asked for; a negative number is all.
fn count(arguments: &[Value]) -> Result<usize, Error> {
    Ok(usize::try_from(int(arguments, 2)?).unwrap_or(usize::MAX))
}

fn replace_all(arguments: &[Value], is_literal: bool) -> Result<Value, Error> {
    let (whole, replacement) = (text(arguments, 1)?, text(arguments, 2)?);
    let regex = compile(arguments)?;
    let mut out = String::with_capacity(whole.len());
    let groups = replacement.matches('$').count();
    let mut at = 0;
    for found in regex.captures_iter(&whole) {
        let Some(all) = found.get(0) else { continue };
        out.push_str(&whole[at..all.start()]);
        if is_literal {
            out.push_str(&replacement)
        } else {
            // No group is longer than the match.
            let most = groups.saturating_mul(all.len()).saturating_add(replacement.len());
            bounded(out.len().saturating_add(most))?;
            found.expand(&replacement, &mut out)
        }
        bounded(out.len())?;
        at = all.end();
    }
    out.push_str(&whole[at..]);
    Ok(out.into())
}

fn split(arguments: &[Value]) -> Result<Value, Error> {
    let (whole, count) = (text(arguments, 1)?, count(arguments)?);
    let regex = compile(arguments)?;
    Ok(parts(regex.splitn(&whole, count))?.into())
}
