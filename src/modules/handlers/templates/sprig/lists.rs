//! Functions on lists.

use super::{Function, bounded, int, list, value};
use crate::gotemplate::{Error, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("list", |a| Ok(a.to_vec().into())),
    ("tuple", |a| Ok(a.to_vec().into())),
    ("first", first),
    ("mustFirst", first),
    ("last", last),
    ("mustLast", last),
    ("rest", rest),
    ("mustRest", rest),
    ("initial", initial),
    ("mustInitial", initial),
    ("append", append),
    ("mustAppend", append),
    ("push", append),
    ("mustPush", append),
    ("prepend", prepend),
    ("mustPrepend", prepend),
    ("concat", |a| {
        let lists: Result<Vec<_>, _> = (0..a.len()).map(|index| list(a, index)).collect();
        Ok(lists?.concat().into())
    }),
    ("reverse", reverse),
    ("mustReverse", reverse),
    ("uniq", uniq),
    ("mustUniq", uniq),
    ("without", without),
    ("mustWithout", without),
    ("has", has),
    ("mustHas", has),
    ("compact", compact),
    ("mustCompact", compact),
    ("slice", slice),
    ("mustSlice", slice),
    ("chunk", chunk),
    ("mustChunk", chunk),
];

/// Two lists may be compared item by item so often.
const COMPARISONS_MAX: usize = 1_000_000;

fn first(a: &[Value]) -> Result<Value, Error> {
    Ok(list(a, 0)?.first().cloned().unwrap_or_default())
}

fn last(a: &[Value]) -> Result<Value, Error> {
    Ok(list(a, 0)?.last().cloned().unwrap_or_default())
}

fn rest(a: &[Value]) -> Result<Value, Error> {
    let items = list(a, 0)?;
    Ok(if items.is_empty() { Value::Nil } else { items[1..].to_vec().into() })
}

fn initial(a: &[Value]) -> Result<Value, Error> {
    let mut items = list(a, 0)?;
    Ok(if items.pop().is_none() { Value::Nil } else { items.into() })
}

fn append(a: &[Value]) -> Result<Value, Error> {
    let mut items = list(a, 0)?;
    items.push(value(a, 1)?.clone());
    Ok(items.into())
}

fn prepend(a: &[Value]) -> Result<Value, Error> {
    let mut items = list(a, 0)?;
    items.insert(0, value(a, 1)?.clone());
    Ok(items.into())
}

fn reverse(a: &[Value]) -> Result<Value, Error> {
    let mut items = list(a, 0)?;
    items.reverse();
    Ok(items.into())
}

fn check_comparisons(one: usize, other: usize) -> Result<(), Error> {
    match one.saturating_mul(other) {
        0..=COMPARISONS_MAX => Ok(()),
        _ => Err(Error::new("the lists are too long to be compared")),
    }
}

fn uniq(a: &[Value]) -> Result<Value, Error> {
    let items = list(a, 0)?;
    check_comparisons(items.len(), items.len() / 2)?;
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.iter().any(|known| known.same(&item)) {
            out.push(item);
        }
    }
    Ok(out.into())
}

fn without(a: &[Value]) -> Result<Value, Error> {
    let items = list(a, 0)?;
    check_comparisons(items.len(), a.len())?;
    let kept = items.into_iter().filter(|item| !a[1..].iter().any(|gone| gone.same(item)));
    Ok(kept.collect::<Vec<_>>().into())
}

fn has(a: &[Value]) -> Result<Value, Error> {
    if matches!(value(a, 1)?, Value::Nil) {
        return Ok(false.into());
    }
    let needle = value(a, 0)?;
    Ok(list(a, 1)?.iter().any(|item| item.same(needle)).into())
}

fn compact(a: &[Value]) -> Result<Value, Error> {
    Ok(list(a, 0)?.into_iter().filter(Value::is_true).collect::<Vec<_>>().into())
}

fn slice(a: &[Value]) -> Result<Value, Error> {
    let items = list(a, 0)?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let place = |index: usize, or: usize| match a.get(index) {
        None => Ok(or),
        Some(_) => {
            let place = usize::try_from(int(a, index)?).ok().filter(|place| *place <= items.len());
            place.ok_or_else(|| Error::new("slice bounds out of range"))
        }
    };
    let (start, end) = (place(1, 0)?, place(2, items.len())?);
    if start > end {
        return Err(Error::new("slice bounds out of range"));
    }
    Ok(items[start..end].to_vec().into())
}

fn chunk(a: &[Value]) -> Result<Value, Error> {
    let size = usize::try_from(int(a, 0)?).unwrap_or(0).max(1);
    let items = list(a, 1)?;
    bounded(items.len())?;
    Ok(items.chunks(size).map(|chunk| Value::from(chunk.to_vec())).collect::<Vec<_>>().into())
}
