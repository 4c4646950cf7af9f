//! Choices, types, and what the machine knows.

use super::{Function, bounded, text, value};
use crate::gotemplate::{Error, Value};
use crate::http::files;

pub(super) const TABLE: &[(&str, Function)] = &[
    ("default", |a| {
        Ok(match a.get(1) {
            Some(given) if given.is_true() => given.clone(),
            _ => value(a, 0)?.clone(),
        })
    }),
    ("empty", |a| Ok((!value(a, 0)?.is_true()).into())),
    ("coalesce", |a| Ok(a.iter().find(|item| item.is_true()).cloned().unwrap_or_default())),
    ("all", |a| Ok(a.iter().all(Value::is_true).into())),
    ("any", |a| Ok(a.iter().any(Value::is_true).into())),
    ("ternary", |a| {
        let Value::Bool(truth) = value(a, 2)? else {
            return Err(Error::new("wrong type for value; expected bool"));
        };
        Ok(value(a, if *truth { 0 } else { 1 })?.clone())
    }),
    ("fail", |a| Err(Error::new(text(a, 0)?.into_owned()))),
    ("typeOf", |a| Ok(value(a, 0)?.type_name().into())),
    ("typeIs", |a| Ok((value(a, 1)?.type_name() == text(a, 0)?).into())),
    ("typeIsLike", |a| {
        let (wanted, name) = (text(a, 0)?, value(a, 1)?.type_name());
        Ok((name == wanted || name.strip_prefix('*') == Some(&wanted)).into())
    }),
    ("kindOf", |a| Ok(kind(value(a, 0)?).into())),
    ("kindIs", |a| Ok((kind(value(a, 1)?) == text(a, 0)?).into())),
    ("deepEqual", |a| Ok(value(a, 0)?.same(value(a, 1)?).into())),
    ("expandenv", |a| Ok(expand_environment(&text(a, 0)?)?.into())),
    ("base", |a| Ok(base(&text(a, 0)?).into())),
    ("osBase", |a| Ok(base(&text(a, 0)?).into())),
    ("dir", |a| Ok(dir(&text(a, 0)?))),
    ("osDir", |a| Ok(dir(&text(a, 0)?))),
    ("clean", |a| Ok(clean(&text(a, 0)?))),
    ("osClean", |a| Ok(clean(&text(a, 0)?))),
    ("ext", |a| Ok(ext(&text(a, 0)?).into())),
    ("osExt", |a| Ok(ext(&text(a, 0)?).into())),
    ("isAbs", |a| Ok(text(a, 0)?.starts_with('/').into())),
    ("osIsAbs", |a| Ok(text(a, 0)?.starts_with('/').into())),
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Object(_) => "struct",
        other => other.type_name(),
    }
}

/// A variable of the environment; empty if it is not set.
pub(in super::super) fn environment(name: &str) -> String {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `$NAME` and `${NAME}` replaced.
fn expand_environment(whole: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(whole.len());
    let mut rest = whole;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(found) => found,
            None => {
                let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
                after.split_at(after.find(|character| !is_part(character)).unwrap_or(after.len()))
            }
        };
        if name.is_empty() {
            out.push('$')
        } else {
            out.push_str(&environment(name))
        }
        bounded(out.len())?;
        rest = after;
    }
    Ok(out + rest)
}

/// The last element of a path.
fn base(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".".into(),
        None | Some("") => "/".into(),
        Some(last) => last.into(),
    }
}

fn dir(path: &str) -> Value {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

/// The shortest path that means the same.
fn clean(path: &str) -> Value {
    Value::bytes(&*files::clean(path.as_bytes()))
}

fn ext(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.').map(|dot| last[dot..].to_owned()).unwrap_or_default()
}
