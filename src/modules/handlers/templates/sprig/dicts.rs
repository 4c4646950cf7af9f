//! Functions on maps.

use std::rc::Rc;

use super::{Function, map, text, value};
use crate::gotemplate::{Error, Map, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("dict", |a| {
        let mut dict = Map::new();
        for pair in a.chunks(2) {
            dict.insert(pair[0].text().into_owned(), pair.get(1).cloned().unwrap_or_else(|| "".into()));
        }
        Ok(dict.into())
    }),
    ("get", |a| Ok(map(a, 0)?.borrow().get(&*text(a, 1)?).cloned().unwrap_or_else(|| "".into()))),
    ("set", |a| {
        let dict = map(a, 0)?;
        if matches!(value(a, 2)?, Value::Map(inner) if Rc::ptr_eq(inner, &dict)) {
            return Err(Error::new("a map can't be put into itself"));
        }
        dict.borrow_mut().insert(text(a, 1)?.into_owned(), value(a, 2)?.clone());
        Ok(Value::Map(dict))
    }),
    ("unset", |a| {
        let dict = map(a, 0)?;
        dict.borrow_mut().remove(&*text(a, 1)?);
        Ok(Value::Map(dict))
    }),
    ("hasKey", |a| Ok(map(a, 0)?.borrow().contains_key(&*text(a, 1)?).into())),
    ("pluck", |a| {
        let key = text(a, 0)?;
        let maps: Result<Vec<_>, _> = (1..a.len()).map(|index| map(a, index)).collect();
        Ok(maps?.iter().filter_map(|map| map.borrow().get(&*key).cloned()).collect::<Vec<_>>().into())
    }),
    ("keys", |a| {
        let maps: Result<Vec<_>, _> = (0..a.len()).map(|index| map(a, index)).collect();
        let keys = |map: &Rc<std::cell::RefCell<Map>>| {
            map.borrow().keys().map(|key| Value::from(key.as_str())).collect::<Vec<_>>()
        };
        Ok(maps?.iter().flat_map(keys).collect::<Vec<_>>().into())
    }),
    ("values", |a| Ok(map(a, 0)?.borrow().values().cloned().collect::<Vec<_>>().into())),
    ("pick", |a| Ok(filtered(a, true)?.into())),
    ("omit", |a| Ok(filtered(a, false)?.into())),
    ("merge", |a| merge(a, false)),
    ("mustMerge", |a| merge(a, false)),
    ("mergeOverwrite", |a| merge(a, true)),
    ("mustMergeOverwrite", |a| merge(a, true)),
    ("deepCopy", |a| Ok(copy(value(a, 0)?))),
    ("mustDeepCopy", |a| Ok(copy(value(a, 0)?))),
    ("dig", dig),
];

/// Something of its own that is the same all through. As for all values that functions get, the budget has
/// seen that it is neither nested too deeply nor holds itself.
fn copy(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let entries = map.borrow();
            entries.iter().map(|(key, inner)| (key.clone(), copy(inner))).collect::<Map>().into()
        }
        Value::List(items) => items.iter().map(copy).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

fn filtered(a: &[Value], keeps: bool) -> Result<Map, Error> {
    let named: Result<Vec<_>, _> = (1..a.len()).map(|index| text(a, index)).collect();
    let named = named?;
    let dict = map(a, 0)?;
    let entries = dict.borrow();
    let kept = entries.iter().filter(|(key, _)| named.iter().any(|name| name == *key) == keeps);
    Ok(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Puts what further maps have into the first one.
fn merge(a: &[Value], overwrites: bool) -> Result<Value, Error> {
    let first = map(a, 0)?;
    // All are copied before the first one changes, which may be within them.
    let others: Vec<_> = a.iter().skip(1).map(copy).collect();
    for other in others {
        if let Value::Map(other) = other {
            merge_into(&first, &other, overwrites);
        }
    }
    Ok(Value::Map(first))
}

fn merge_into(into: &Rc<std::cell::RefCell<Map>>, from: &Rc<std::cell::RefCell<Map>>, overwrites: bool) {
    for (key, value) in from.borrow().iter() {
        let present = into.borrow().get(key).cloned();
        match (&present, value) {
            (Some(Value::Map(inner)), Value::Map(new)) => {
                merge_into(inner, new, overwrites);
            }
            (Some(present), _) if present.is_true() && !(overwrites && value.is_true()) => {}
            _ => drop(into.borrow_mut().insert(key.clone(), value.clone())),
        }
    }
}

/// `dig "a" "b" default map`
fn dig(a: &[Value]) -> Result<Value, Error> {
    let [keys @ .., default, dict] = a else { return Err(Error::new("dig needs at least three arguments")) };
    let mut found = dict.clone();
    for index in 0..keys.len() {
        let key = text(keys, index)?;
        let Value::Map(map) = &found else { return Ok(default.clone()) };
        let Some(next) = map.borrow().get(&*key).cloned() else { return Ok(default.clone()) };
        found = next;
    }
    Ok(found)
}
