//! Evaluation of a compiled expression.

use super::functions::Function;
use super::lists;
use super::value::Value;
use crate::http::regexp::Regexp;
use crate::http::{Exchange, HandlerError, MatcherSet, Placeholder, target};

/// A compiled expression.
pub(super) enum Node {
    Constant(Value),
    /// `None` is one that there isn't.
    Placeholder(Option<Placeholder>),
    /// A variable of a macro around it, counted from the outermost.
    Variable(usize),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Index(Box<Node>, Box<Node>),
    /// `has(map.field)`
    Has(Box<Node>, Value),
    Call(Function, Box<[Node]>),
    Matches(Box<Node>, Regexp),
    Matcher(MatcherSet),
    /// `list.all(variable, body)` and the like.
    Each(Each, Box<Node>, Box<Node>),
    /// `list.map(variable, filter, body)`; without a filter it is true.
    Transform(Box<Node>, Box<Node>, Box<Node>),
    /// `list.sortBy(variable, key)`
    SortBy(Box<Node>, Box<Node>),
    /// `cel.bind(variable, value, body)`
    Bind(Box<Node>, Box<Node>),
    /// `{time.now}`
    Now,
}

/// What a macro wants to know of the elements of a list, or the keys of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
    Filter,
}

/// Why an expression has no value for a request.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct EvalError {
    message: String,
    /// The error of a matcher in it.
    cause: Option<HandlerError>,
}

impl EvalError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }

    /// What this means for the request.
    pub(super) fn into_handler_error(self) -> HandlerError {
        self.cause.unwrap_or_else(|| HandlerError::internal(self.message))
    }
}

/// What an expression is evaluated with.
pub(super) struct Scope<'x> {
    pub(super) x: &'x mut Exchange,
    variables: Vec<Value>,
}

impl<'x> Scope<'x> {
    pub(super) fn new(x: &'x mut Exchange) -> Self {
        Self { x, variables: Vec::new() }
    }
}

impl Node {
    pub(super) fn eval(&self, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Placeholder(placeholder) => {
                Value::from(placeholder.as_ref().and_then(|placeholder| placeholder.typed(scope.x)))
            }
            Self::Variable(index) => scope.variables[*index].clone(),
            Self::List(items) => {
                Value::List(items.iter().map(|item| item.eval(scope)).collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| Ok((key.eval(scope)?, value.eval(scope)?));
                Value::Map(entries.iter().map(entry).collect::<Result<_, EvalError>>()?)
            }
            Self::Not(inner) => Value::Bool(!inner.truth(scope)?),
            Self::Negate(inner) => negated(&inner.eval(scope)?)?,
            Self::Or(left, right) => Value::Bool(either(true, left, right, scope)?),
            Self::And(left, right) => Value::Bool(either(false, left, right, scope)?),
            Self::Binary(operator, left, right) => {
                let (left, right) = (left.eval(scope)?, right.eval(scope)?);
                binary(operator, &left, &right)?
            }
            Self::Choice(condition, then, otherwise) => {
                let chosen = if condition.truth(scope)? { then } else { otherwise };
                chosen.eval(scope)?
            }
            Self::Index(of, index) => {
                let (of, index) = (of.eval(scope)?, index.eval(scope)?);
                indexed(&of, &index)?
            }
            Self::Has(of, field) => Value::Bool(of.eval(scope)?.get(field).is_some()),
            Self::Call(function, args) => {
                let args = args.iter().map(|arg| arg.eval(scope)).collect::<Result<Vec<_>, _>>()?;
                function.call(&args)?
            }
            Self::Matches(text, regexp) => match text.eval(scope)? {
                Value::Text(text) => Value::Bool(regexp.is_match(text.as_bytes())),
                _ => return Err(EvalError::new("no such overload")),
            },
            Self::Matcher(matcher) => Value::Bool(
                matcher
                    .matches(scope.x)
                    .map_err(|error| EvalError { message: error.to_string(), cause: Some(error) })?,
            ),
            Self::SortBy(list, key) => {
                let items = elements(list.eval(scope)?)?;
                let keys = items.iter().map(|item| key.with(item.clone(), scope, Self::eval));
                let keys = keys.collect::<Result<Vec<_>, _>>()?;
                lists::sorted(items, &keys)?
            }
            Self::Bind(value, body) => {
                let value = value.eval(scope)?;
                body.with(value, scope, Self::eval)?
            }
            Self::Now => Value::Time(jiff::Timestamp::now()),
            Self::Each(each, list, body) => each.eval(list, body, scope)?,
            Self::Transform(list, filter, body) => {
                let mut items = Vec::new();
                for item in elements(list.eval(scope)?)? {
                    if filter.with(item.clone(), scope, Self::truth)? {
                        items.push(body.with(item, scope, Self::eval)?);
                    }
                }
                Value::List(items)
            }
        })
    }

    /// The value, which must be a truth value.
    pub(super) fn truth(&self, scope: &mut Scope<'_>) -> Result<bool, EvalError> {
        match self.eval(scope)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvalError::new("no such overload")),
        }
    }

    /// Evaluates with one more variable.
    fn with<T>(
        &self,
        variable: Value,
        scope: &mut Scope<'_>,
        eval: impl Fn(&Self, &mut Scope<'_>) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        scope.variables.push(variable);
        let value = eval(self, scope);
        scope.variables.pop();
        value
    }
}

/// Whether either side is `decisive`. An error on one side does not matter if the other one decides.
fn either(decisive: bool, left: &Node, right: &Node, scope: &mut Scope<'_>) -> Result<bool, EvalError> {
    match left.truth(scope) {
        Ok(truth) if truth == decisive => Ok(decisive),
        Ok(_) => right.truth(scope),
        Err(error) => match right.truth(scope) {
            Ok(truth) if truth == decisive => Ok(decisive),
            _ => Err(error),
        },
    }
}

fn negated(value: &Value) -> Result<Value, EvalError> {
    match value {
        Value::Int(number) => {
            number.checked_neg().map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
        }
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvalError::new("no such overload")),
    }
}

fn binary(operator: &str, left: &Value, right: &Value) -> Result<Value, EvalError> {
    let no_overload = || EvalError::new("no such overload");
    Ok(Value::Bool(match operator {
        "==" => left.equals(right),
        "!=" => !left.equals(right),
        "in" => match right {
            Value::List(items) => items.iter().any(|item| item.equals(left)),
            Value::Map(_) => right.get(left).is_some(),
            _ => return Err(no_overload()),
        },
        "<" | "<=" | ">" | ">=" => {
            // A number that is none comes neither before nor after.
            let is_nan = |value: &Value| matches!(value, Value::Double(number) if number.is_nan());
            match left.compare(right) {
                Some(order) => match operator {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_ge(),
                },
                None if is_nan(left) || is_nan(right) => false,
                None => return Err(no_overload()),
            }
        }
        _ => return left.arithmetic(operator, right),
    }))
}

fn indexed(of: &Value, index: &Value) -> Result<Value, EvalError> {
    match (of, index) {
        (Value::List(items), Value::Int(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| items.get(index))
            .cloned()
            .ok_or_else(|| EvalError::new(format!("index out of bounds: {index}"))),
        (Value::Map(_), key) => {
            of.get(key).cloned().ok_or_else(|| EvalError::new(format!("no such key: {key:?}")))
        }
        _ => Err(EvalError::new("no such overload")),
    }
}

/// The elements of a list, or the keys of a map.
fn elements(value: Value) -> Result<Vec<Value>, EvalError> {
    match value {
        Value::List(items) => Ok(items),
        Value::Map(entries) => Ok(entries.into_iter().map(|(key, _)| key).collect()),
        _ => Err(EvalError::new("no such overload")),
    }
}

impl Each {
    fn eval(self, list: &Node, body: &Node, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        let (mut matched, mut kept, mut failed) = (0_usize, Vec::new(), None);
        let items = elements(list.eval(scope)?)?;
        let count = items.len();
        for item in items {
            let truth = match body.with(item.clone(), scope, Node::truth) {
                Ok(truth) => truth,
                // As with `||` and `&&`, another element may decide.
                Err(error) if matches!(self, Self::All | Self::Exists) => {
                    failed.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self {
                Self::All if !truth => return Ok(Value::Bool(false)),
                Self::Exists if truth => return Ok(Value::Bool(true)),
                Self::Filter if truth => kept.push(item),
                _ => {}
            }
            matched += usize::from(truth);
        }
        match (self, failed) {
            (_, Some(error)) => Err(error),
            (Self::Filter, None) => Ok(Value::List(kept)),
            (Self::All, None) => Ok(Value::Bool(matched == count)),
            (Self::Exists, None) => Ok(Value::Bool(matched > 0)),
            (Self::ExistsOne, None) => Ok(Value::Bool(matched == 1)),
        }
    }
}

/// Text as bytes for those functions that need them.
pub(super) fn text_of(bytes: &[u8]) -> String {
    target::lossy(bytes).into_owned()
}
