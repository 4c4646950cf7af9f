//! Functions on numbers.

use super::{Function, bounded, float, int, text, to_float, to_int, value};
use crate::gotemplate::{Error, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("atoi", |a| Ok(text(a, 0)?.parse::<i64>().unwrap_or(0).into())),
    ("int", |a| Ok(int(a, 0)?.into())),
    ("int64", |a| Ok(int(a, 0)?.into())),
    ("float64", |a| Ok(float(a, 0)?.into())),
    ("toDecimal", |a| Ok(i64::from_str_radix(&value(a, 0)?.text(), 8).unwrap_or(0).into())),
    ("add", |a| Ok(a.iter().map(to_int).fold(0_i64, i64::wrapping_add).into())),
    ("add1", |a| Ok(int(a, 0)?.wrapping_add(1).into())),
    ("sub", |a| Ok(int(a, 0)?.wrapping_sub(int(a, 1)?).into())),
    ("mul", |a| Ok(a.iter().map(to_int).fold(1_i64, i64::wrapping_mul).into())),
    ("div", |a| int(a, 0)?.checked_div(int(a, 1)?).map(Value::from).ok_or_else(by_zero)),
    ("mod", |a| int(a, 0)?.checked_rem(int(a, 1)?).map(Value::from).ok_or_else(by_zero)),
    ("addf", |a| Ok(folded(a, |sum, next| sum + next)?.into())),
    ("add1f", |a| Ok((float(a, 0)? + 1.0).into())),
    ("subf", |a| Ok(folded(a, |sum, next| sum - next)?.into())),
    ("mulf", |a| Ok(folded(a, |sum, next| sum * next)?.into())),
    ("divf", |a| Ok(folded(a, |sum, next| sum / next)?.into())),
    ("max", |a| Ok(a.iter().map(to_int).max().ok_or_else(missing)?.into())),
    ("biggest", |a| Ok(a.iter().map(to_int).max().ok_or_else(missing)?.into())),
    ("min", |a| Ok(a.iter().map(to_int).min().ok_or_else(missing)?.into())),
    ("maxf", |a| Ok(folded(a, f64::max)?.into())),
    ("minf", |a| Ok(folded(a, f64::min)?.into())),
    ("ceil", |a| Ok(float(a, 0)?.ceil().into())),
    ("floor", |a| Ok(float(a, 0)?.floor().into())),
    ("round", |a| Ok(round(float(a, 0)?, int(a, 1)?).into())),
    ("until", |a| until(0, int(a, 0)?, if int(a, 0)? < 0 { -1 } else { 1 })),
    ("untilStep", |a| until(int(a, 0)?, int(a, 1)?, int(a, 2)?)),
    ("seq", |a| seq(&a.iter().map(to_int).collect::<Vec<_>>())),
    ("randInt", |a| {
        let (low, high) = (int(a, 0)?, int(a, 1)?);
        let span = high
            .checked_sub(low)
            .filter(|span| *span > 0)
            .ok_or_else(|| Error::new("invalid argument to randInt"))?;
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| Error::new(error.to_string()))?;
        Ok((low + (i64::from_ne_bytes(bytes) & i64::MAX) % span).into())
    }),
];

fn by_zero() -> Error {
    Error::new("integer divide by zero")
}

fn missing() -> Error {
    Error::new("wrong number of args: got 0")
}

fn folded(arguments: &[Value], with: impl Fn(f64, f64) -> f64) -> Result<f64, Error> {
    arguments.iter().map(to_float).reduce(with).ok_or_else(missing)
}

fn round(number: f64, digits: i64) -> f64 {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
    let scaled = number * scale;
    let half = if scaled < 0.0 { scaled.ceil() - scaled } else { scaled - scaled.floor() };
    let away = scaled.trunc() + scaled.signum();
    (if half >= 0.5 { away } else { scaled.trunc() }) / scale
}

/// Numbers from `start` to before `end`.
fn until(start: i64, end: i64, step: i64) -> Result<Value, Error> {
    let count = match step {
        0 => 0,
        _ if (step > 0) != (end > start) => 0,
        _ => end.abs_diff(start).div_ceil(step.unsigned_abs()),
    };
    let count = bounded(usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size_of::<Value>()))?
        / size_of::<Value>();
    Ok(std::iter::successors(Some(start), |number| number.checked_add(step))
        .take(count)
        .map(Value::Int)
        .collect::<Vec<_>>()
        .into())
}

/// Numbers in one text, as the command of that name has them.
fn seq(numbers: &[i64]) -> Result<Value, Error> {
    let towards = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, end, step) = match *numbers {
        [end] => (1, end, towards(1, end)),
        [start, end] => (start, end, towards(start, end)),
        [start, step, end] => (start, end, step),
        _ => return Ok("".into()),
    };
    let past = end.saturating_add(step.signum());
    let Value::List(items) = until(start, past, step)? else { return Ok("".into()) };
    Ok(super::texts(&items).join(" ").into())
}
