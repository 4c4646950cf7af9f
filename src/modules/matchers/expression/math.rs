//! cel-go's extension for numbers, `math.*`.

use std::cmp::Ordering;

use super::eval::EvalError;
use super::functions::{Applied, Function, Type, global, of_double};
use super::value::Value;

/// So many arguments `math.greatest` and `math.least` take.
const ARGS_MAX: usize = 64;

pub(super) static FUNCTIONS: &[Function] = &[
    global("math.greatest", (1, ARGS_MAX), Type::Any, |args| extreme(args, Ordering::Greater)),
    global("math.least", (1, ARGS_MAX), Type::Any, |args| extreme(args, Ordering::Less)),
    global("math.abs", (1, 1), Type::Any, abs),
    global("math.sign", (1, 1), Type::Any, sign),
    of_double("math.ceil", Type::Double, |args| double(args, f64::ceil)),
    of_double("math.floor", Type::Double, |args| double(args, f64::floor)),
    of_double("math.round", Type::Double, |args| double(args, f64::round)),
    of_double("math.trunc", Type::Double, |args| double(args, f64::trunc)),
    global("math.sqrt", (1, 1), Type::Double, sqrt),
    of_double("math.isNaN", Type::Bool, |args| question(args, f64::is_nan)),
    of_double("math.isInf", Type::Bool, |args| question(args, f64::is_infinite)),
    of_double("math.isFinite", Type::Bool, |args| question(args, f64::is_finite)),
    global("math.bitAnd", (2, 2), Type::Any, |args| bits(args, |a, b| a & b)),
    global("math.bitOr", (2, 2), Type::Any, |args| bits(args, |a, b| a | b)),
    global("math.bitXor", (2, 2), Type::Any, |args| bits(args, |a, b| a ^ b)),
    global("math.bitNot", (1, 1), Type::Any, not),
    global("math.bitShiftLeft", (2, 2), Type::Any, |args| shift(args, "Left", |bits, by| bits << by)),
    global("math.bitShiftRight", (2, 2), Type::Any, |args| shift(args, "Right", |bits, by| bits >> by)),
];

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// The greatest or the least of some numbers, or of a list's.
fn extreme(args: &[Value], wanted: Ordering) -> Applied {
    let numbers = match args {
        [Value::List(items)] if items.is_empty() => {
            let name = if wanted == Ordering::Greater { "max" } else { "min" };
            return Some(Err(EvalError::new(format!("math.@{name}(list) argument must not be empty"))));
        }
        [Value::List(items)] => items.as_slice(),
        numbers => numbers,
    };
    if !numbers.iter().all(is_number) {
        return None;
    }
    let chosen =
        numbers.iter().reduce(|best, next| if next.compare(best) == Some(wanted) { next } else { best });
    chosen.map(|number| Ok(number.clone()))
}

fn abs(args: &[Value]) -> Applied {
    Some(match &args[0] {
        Value::Int(number) => {
            number.checked_abs().map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
        }
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Double(number) => Ok(Value::Double(number.abs())),
        _ => return None,
    })
}

fn sign(args: &[Value]) -> Applied {
    Some(Ok(match &args[0] {
        Value::Int(number) => Value::Int(number.signum()),
        Value::Uint(number) => Value::Uint((*number).min(1)),
        Value::Double(number) if *number == 0.0 || number.is_nan() => Value::Double(*number),
        Value::Double(number) => Value::Double(number.signum()),
        _ => return None,
    }))
}

fn double(args: &[Value], f: impl Fn(f64) -> f64) -> Applied {
    let [Value::Double(number)] = args else { return None };
    Some(Ok(Value::Double(f(*number))))
}

fn question(args: &[Value], f: impl Fn(f64) -> bool) -> Applied {
    let [Value::Double(number)] = args else { return None };
    Some(Ok(Value::Bool(f(*number))))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn sqrt(args: &[Value]) -> Applied {
    let number = match &args[0] {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::Double(number) => *number,
        _ => return None,
    };
    Some(Ok(Value::Double(number.sqrt())))
}

fn bits(args: &[Value], f: impl Fn(u64, u64) -> u64) -> Applied {
    Some(Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(f(a.cast_unsigned(), b.cast_unsigned()).cast_signed()),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(f(*a, *b)),
        _ => return None,
    }))
}

fn not(args: &[Value]) -> Applied {
    Some(Ok(match &args[0] {
        Value::Int(number) => Value::Int(!number),
        Value::Uint(number) => Value::Uint(!number),
        _ => return None,
    }))
}

/// Whatever the number's sign is, what moves in is zero.
fn shift(args: &[Value], side: &str, f: impl Fn(u64, u32) -> u64) -> Applied {
    let by = match args {
        [_, Value::Int(by)] => *by,
        _ => return None,
    };
    if by < 0 {
        return Some(Err(EvalError::new(format!("math.bitShift{side}() negative offset: {by}"))));
    }
    let shifted = |bits: u64| match u32::try_from(by) {
        Ok(by @ 0..64) => f(bits, by),
        _ => 0,
    };
    Some(Ok(match &args[0] {
        Value::Int(number) => Value::Int(shifted(number.cast_unsigned()).cast_signed()),
        Value::Uint(number) => Value::Uint(shifted(*number)),
        _ => return None,
    }))
}
