//! cel-go's extension for lists.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::eval::EvalError;
use super::functions::{Applied, Function, Type, global, method};
use super::value::Value;

/// `lists.range` makes no longer list.
const RANGE_MAX: i64 = 10_000;
/// What is no text is compared each with each, in lists of so many elements at most.
const DISTINCT_MAX: usize = 1000;

pub(super) static FUNCTIONS: &[Function] = &[
    global("lists.range", (1, 1), Type::List, range),
    method("flatten", (0, 1), Type::List, Type::List, flatten),
    method("distinct", (0, 0), Type::List, Type::List, distinct),
    method("sort", (0, 0), Type::List, Type::List, |args| match args {
        [Value::List(items)] => Some(sorted(items.clone(), items)),
        _ => None,
    }),
];

fn range(args: &[Value]) -> Applied {
    let [Value::Int(count)] = args else { return None };
    if *count > RANGE_MAX {
        return Some(Err(EvalError::new(format!("lists.range has at most {RANGE_MAX} elements"))));
    }
    Some(Ok(Value::List((0..*count).map(Value::Int).collect())))
}

fn flatten(args: &[Value]) -> Applied {
    let (items, depth) = match args {
        [Value::List(items)] => (items, 1),
        [Value::List(_), Value::Int(..0)] => return Some(Err(EvalError::new("level must be non-negative"))),
        [Value::List(items), Value::Int(depth)] => (items, *depth),
        _ => return None,
    };
    let mut flat = Vec::new();
    flatten_into(&mut flat, items, depth);
    Some(Ok(Value::List(flat)))
}

fn flatten_into(flat: &mut Vec<Value>, items: &[Value], depth: i64) {
    for item in items {
        match item {
            Value::List(inner) if depth > 0 => flatten_into(flat, inner, depth - 1),
            item => flat.push(item.clone()),
        }
    }
}

fn distinct(args: &[Value]) -> Applied {
    let [Value::List(items)] = args else { return None };
    let texts = items.iter().map(|item| if let Value::Text(text) = item { Some(text) } else { None });
    if let Some(texts) = texts.collect::<Option<Vec<_>>>() {
        // These can come from a client, by the thousand.
        let mut seen = HashSet::with_capacity(texts.len());
        let fresh = texts.into_iter().filter(|text| seen.insert(*text));
        return Some(Ok(Value::List(fresh.cloned().map(Value::Text).collect())));
    }
    if items.len() > DISTINCT_MAX {
        return Some(Err(EvalError::new(format!("distinct has at most {DISTINCT_MAX} elements"))));
    }
    let mut found: Vec<Value> = Vec::new();
    for item in items {
        if !found.iter().any(|earlier| earlier.equals(item)) {
            found.push(item.clone());
        }
    }
    Some(Ok(Value::List(found)))
}

/// `items` in the order of their keys, which are all of one type.
pub(super) fn sorted(items: Vec<Value>, keys: &[Value]) -> Result<Value, EvalError> {
    if let Some(first) = keys.first() {
        if keys.iter().any(|key| key.type_name() != first.type_name()) {
            return Err(EvalError::new("list elements must have the same type"));
        }
        if first.compare(first).is_none() && !matches!(first, Value::Double(_)) {
            return Err(EvalError::new("list elements must be comparable"));
        }
    }
    let mut pairs: Vec<_> = keys.iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| match (a, b) {
        // Sorting needs an order of all, what is no number included.
        (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
        _ => a.compare(b).unwrap_or(Ordering::Equal),
    });
    Ok(Value::List(pairs.into_iter().map(|(_, item)| item).collect()))
}
