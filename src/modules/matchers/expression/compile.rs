//! From what is written to what can be evaluated: names are resolved, types are checked as far as they
//! are known, regular expressions and matchers are built.

use serde_json::{Map, Value as Json, json};

use super::eval::{Each, Node};
use super::functions::{Function, Type};
use super::lexer::{CelError, error};
use super::parser::Ast;
use super::times;
use super::value::Value;
use crate::http::regexp::Regexp;
use crate::http::{Placeholder, Provision, ProvisionError};

/// What a type can be compared with.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Functions of extensions have one of these in front.
const SPACES: [&str; 3] = ["lists", "math", "strings"];

/// Why an expression can't be compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    #[error(transparent)]
    Cel(#[from] CelError),
    /// A matcher in it refuses what it is given.
    #[error("compiling CEL program: {0}")]
    Matcher(#[from] ProvisionError),
}

fn fail<T>(message: impl Into<String>) -> Result<T, CompileError> {
    error(message).map_err(CompileError::Cel)
}

/// Compiles an expression. `name` is that of the matcher, by which captures are known.
pub(super) fn compile(ast: &Ast, name: &str, ctx: &mut Provision<'_>) -> Result<Node, CompileError> {
    let mut compiler = Compiler { name, ctx, variables: Vec::new() };
    let (node, of) = compiler.expression(ast)?;
    if of == Type::Bool {
        return Ok(node);
    }
    fail(format!("CEL request matcher expects return type of bool, not {}", of.name()))
}

struct Compiler<'a, 'b> {
    name: &'a str,
    ctx: &'a mut Provision<'b>,
    variables: Vec<String>,
}

type Compiled = Result<(Node, Type), CompileError>;

impl Compiler<'_, '_> {
    fn expression(&mut self, ast: &Ast) -> Compiled {
        Ok(match ast {
            Ast::Constant(value) => (Node::Constant(value.clone()), Type::of(value)),
            Ast::Placeholder(name) if name == "time.now" => (Node::Now, Type::Any),
            Ast::Placeholder(name) => (Node::Placeholder(Placeholder::parse(name)), Type::Any),
            Ast::Name(name) => match self.variables.iter().rposition(|variable| variable == name) {
                Some(index) => (Node::Variable(index), Type::Any),
                None if TYPES.contains(&name.as_str()) => {
                    let known = TYPES.iter().find(|known| *known == name);
                    (Node::Constant(Value::Kind(known.copied().unwrap_or_default())), Type::Kind)
                }
                None => return fail(format!("undeclared reference to '{name}' (in container '')")),
            },
            Ast::List(items) => {
                let items = self.all(items)?;
                let list = match constants(&items) {
                    Some(values) => Node::Constant(Value::List(values)),
                    None => Node::List(items),
                };
                (list, Type::List)
            }
            Ast::Map(entries) => {
                let mut compiled = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    compiled.push((self.expression(key)?.0, self.expression(value)?.0));
                }
                (Node::Map(compiled.into()), Type::Map)
            }
            Ast::Not(inner) => (Node::Not(self.of(inner, Type::Bool, "!_")?), Type::Bool),
            Ast::Negate(inner) => {
                let (inner, of) = self.expression(inner)?;
                if !matches!(of, Type::Any | Type::Int | Type::Double) {
                    return no_overload("-_", &[of]);
                }
                (Node::Negate(Box::new(inner)), of)
            }
            Ast::Binary(operator, left, right) => self.binary(operator, left, right)?,
            Ast::Choice(condition, then, otherwise) => {
                let condition = self.of(condition, Type::Bool, "_?_:_")?;
                let ((then, a), (otherwise, b)) = (self.expression(then)?, self.expression(otherwise)?);
                if !a.may_be(b) {
                    return no_overload("_?_:_", &[Type::Bool, a, b]);
                }
                let of = if a == Type::Any { b } else { a };
                (Node::Choice(condition, Box::new(then), Box::new(otherwise)), of)
            }
            Ast::Index(of, index) => {
                let (of, index) = (self.expression(of)?.0, self.expression(index)?.0);
                (Node::Index(Box::new(of), Box::new(index)), Type::Any)
            }
            Ast::Select(of, field) if let Some(name) = message_type(of, field) => {
                (Node::Constant(Value::Kind(name)), Type::Kind)
            }
            Ast::Select(of, field) => {
                let (of, of_type) = self.expression(of)?;
                if !of_type.may_be(Type::Map) {
                    return fail(format!("type '{}' does not support field selection", of_type.name()));
                }
                let field = Node::Constant(Value::Text(field.clone()));
                (Node::Index(Box::new(of), Box::new(field)), Type::Any)
            }
            Ast::Call(target, name, args) => self.call(target.as_deref(), name, args)?,
        })
    }

    fn all(&mut self, items: &[Ast]) -> Result<Box<[Node]>, CompileError> {
        items.iter().map(|item| Ok(self.expression(item)?.0)).collect()
    }

    /// An expression that must be of this type.
    fn of(&mut self, ast: &Ast, expected: Type, operator: &str) -> Result<Box<Node>, CompileError> {
        let (node, of) = self.expression(ast)?;
        if of.may_be(expected) { Ok(Box::new(node)) } else { no_overload(operator, &[of]) }
    }

    fn binary(&mut self, operator: &'static str, left: &Ast, right: &Ast) -> Compiled {
        if matches!(operator, "||" | "&&") {
            let name = format!("_{operator}_");
            let (left, right) = (self.of(left, Type::Bool, &name)?, self.of(right, Type::Bool, &name)?);
            let node = if operator == "||" { Node::Or(left, right) } else { Node::And(left, right) };
            return Ok((node, Type::Bool));
        }
        let ((left, a), (right, b)) = (self.expression(left)?, self.expression(right)?);
        let is_number = |of: Type| matches!(of, Type::Int | Type::Uint | Type::Double | Type::Any);
        let (fits, of) = match operator {
            "in" => (b.may_be(Type::List) || b == Type::Map, Type::Bool),
            "==" | "!=" => (a.may_be(b), Type::Bool),
            "<" | "<=" | ">" | ">=" => {
                let ordered = |of: Type| !matches!(of, Type::List | Type::Map | Type::Null);
                (ordered(a) && ordered(b) && a.may_be(b), Type::Bool)
            }
            "+" | "-" if let Some(of) = time_result(operator, a, b) => (true, of),
            _ => {
                let adds = operator == "+" && matches!(a, Type::Text | Type::Bytes | Type::List);
                let adds = adds || operator == "+" && matches!(b, Type::Text | Type::Bytes | Type::List);
                let numbers = is_number(a) && is_number(b);
                (a.may_be(b) && (adds || numbers), if a == Type::Any { b } else { a })
            }
        };
        if !fits {
            let name = if operator == "in" { "@in".to_owned() } else { format!("_{operator}_") };
            return no_overload(&name, &[a, b]);
        }
        Ok((Node::Binary(operator, Box::new(left), Box::new(right)), of))
    }

    fn call(&mut self, target: Option<&Ast>, name: &str, args: &[Ast]) -> Compiled {
        if let Some(macro_call) = self.macro_call(target, name, args)? {
            return Ok(macro_call);
        }
        if target.is_none()
            && let Some(json) = matcher_json(name, args, self.name)?
        {
            let set = Map::from_iter([(name.to_owned(), json)]);
            return Ok((Node::Matcher(self.ctx.matcher_set(&set)?), Type::Bool));
        }
        if name == "matches"
            && let Some((text, pattern)) = match (target, args) {
                (Some(text), [pattern]) => Some((text, pattern)),
                (None, [text, pattern]) => Some((text, pattern)),
                _ => None,
            }
        {
            let Ast::Constant(Value::Text(pattern)) = pattern else {
                return fail("the pattern of 'matches' must be a string literal");
            };
            let regexp = Regexp::new(pattern).map_err(|error| CelError(error.to_string()))?;
            return Ok((Node::Matches(self.of(text, Type::Text, "matches")?, regexp), Type::Bool));
        }
        // `math.abs(x)` is no method of something called `math`.
        if let Some(Ast::Name(space)) = target
            && SPACES.contains(&space.as_str())
            && !self.variables.contains(space)
        {
            return self.call(None, &format!("{space}.{name}"), args);
        }
        let count = args.len() + usize::from(target.is_some());
        let Some(function) = Function::find(name, target.is_some(), count) else {
            return fail(format!("undeclared reference to '{name}' (in container '')"));
        };
        let mut nodes = Vec::with_capacity(count);
        let mut types = Vec::with_capacity(count);
        for (index, arg) in target.into_iter().chain(args).enumerate() {
            let (node, of) = match arg {
                Ast::Constant(Value::Text(zone)) if index == 1 && function.takes_zone() => {
                    match times::zone(zone) {
                        Some(zone) => (Node::Constant(Value::Zone(zone)), Type::Any),
                        None => return fail(format!("unknown time zone {zone}")),
                    }
                }
                _ if index == 1 && function.takes_zone() => {
                    return fail(format!("the time zone of '{name}' must be a string literal"));
                }
                arg => self.expression(arg)?,
            };
            nodes.push(node);
            types.push(of);
        }
        if !function.takes(types.first().copied().unwrap_or(Type::Any)) {
            return no_overload(name, &types);
        }
        // What is constant and can't be converted is a mistake, as in cel-go.
        if function.is_folded()
            && let Some(values) = constants(&nodes)
        {
            let value = function.call(&values).map_err(|error| CelError(error.to_string()))?;
            return Ok((Node::Constant(value), function.result));
        }
        Ok((Node::Call(function, nodes.into()), function.result))
    }

    /// `has(map.field)` and the macros for lists; `None` if it is none of them.
    fn macro_call(
        &mut self,
        target: Option<&Ast>,
        name: &str,
        args: &[Ast],
    ) -> Result<Option<(Node, Type)>, CompileError> {
        if let (None, "has", [Ast::Select(of, field)]) = (target, name, args) {
            let of = self.of(of, Type::Map, "has")?;
            return Ok(Some((Node::Has(of, Value::Text(field.clone())), Type::Bool)));
        }
        if let (Some(Ast::Name(space)), "bind", [Ast::Name(variable), value, body]) = (target, name, args)
            && space == "cel"
        {
            let value = Box::new(self.expression(value)?.0);
            self.variables.push(variable.clone());
            let (body, of) = self.expression(body)?;
            self.variables.pop();
            return Ok(Some((Node::Bind(value, Box::new(body)), of)));
        }
        let (Some(list), [Ast::Name(variable), bodies @ ..]) = (target, args) else { return Ok(None) };
        let each = match (name, bodies.len()) {
            ("all", 1) => Each::All,
            ("exists", 1) => Each::Exists,
            ("exists_one" | "existsOne", 1) => Each::ExistsOne,
            ("filter", 1) => Each::Filter,
            ("map", 1 | 2) => {
                let list = Box::new(self.expression(list)?.0);
                self.variables.push(variable.clone());
                let (filter, body) = match bodies {
                    [filter, body] => (self.of(filter, Type::Bool, "map")?, self.expression(body)?.0),
                    _ => (Box::new(Node::Constant(Value::Bool(true))), self.expression(&bodies[0])?.0),
                };
                self.variables.pop();
                return Ok(Some((Node::Transform(list, filter, Box::new(body)), Type::List)));
            }
            ("sortBy", 1) => {
                let list = self.of(list, Type::List, name)?;
                self.variables.push(variable.clone());
                let key = self.expression(&bodies[0])?.0;
                self.variables.pop();
                return Ok(Some((Node::SortBy(list, Box::new(key)), Type::List)));
            }
            _ => return Ok(None),
        };
        let list = Box::new(self.expression(list)?.0);
        self.variables.push(variable.clone());
        let body = self.of(&bodies[0], Type::Bool, name)?;
        self.variables.pop();
        let of = if each == Each::Filter { Type::List } else { Type::Bool };
        Ok(Some((Node::Each(each, list, body), of)))
    }
}

/// The values, if all of them are known.
fn constants(nodes: &[Node]) -> Option<Vec<Value>> {
    let constant = |node: &Node| match node {
        Node::Constant(value) => Some(value.clone()),
        _ => None,
    };
    nodes.iter().map(constant).collect()
}

/// `google.protobuf.Timestamp` and its like.
fn message_type(of: &Ast, field: &str) -> Option<&'static str> {
    let Ast::Select(google, protobuf) = of else { return None };
    match (&**google, protobuf.as_str(), field) {
        (Ast::Name(google), "protobuf", "Timestamp") if google == "google" => Some(Type::Time.name()),
        (Ast::Name(google), "protobuf", "Duration") if google == "google" => Some(Type::Span.name()),
        _ => None,
    }
}

/// What `+` and `-` make of times and spans; `None` if that is for others.
fn time_result(operator: &str, left: Type, right: Type) -> Option<Type> {
    match (left, right) {
        (Type::Span, Type::Span) => Some(Type::Span),
        (Type::Time, Type::Span) => Some(Type::Time),
        (Type::Span, Type::Time) if operator == "+" => Some(Type::Time),
        (Type::Time, Type::Time) if operator == "-" => Some(Type::Span),
        (Type::Time | Type::Span, Type::Any) | (Type::Any, Type::Time | Type::Span) => Some(Type::Any),
        _ => None,
    }
}

fn no_overload<T>(name: &str, types: &[Type]) -> Result<T, CompileError> {
    let types: Vec<_> = types.iter().map(|of| of.name()).collect();
    fail(format!("found no matching overload for '{name}' applied to '({})'", types.join(", ")))
}

/// The JSON of a matcher that is called as a function; `None` if there is none of that name.
fn matcher_json(name: &str, args: &[Ast], own_name: &str) -> Result<Option<Json>, CompileError> {
    let named = |name: String| if name.is_empty() { own_name.to_owned() } else { name };
    Ok(Some(match name {
        "path" | "host" | "method" => json!(strings(args)?),
        "remote_ip" | "client_ip" => json!({ "ranges": strings(args)? }),
        "protocol" => match &*strings(args)? {
            [protocol] => json!(protocol.to_lowercase()),
            _ => return fail("matcher requires one argument"),
        },
        "path_regexp" => match strings(args)?.as_slice() {
            [pattern] => json!({"name": own_name, "pattern": pattern}),
            [name, pattern] => json!({"name": named(name.clone()), "pattern": pattern}),
            _ => return fail("matcher requires one or two arguments"),
        },
        "header_regexp" | "vars_regexp" => match strings(args)?.as_slice() {
            [field, pattern] => json!({field: {"name": own_name, "pattern": pattern}}),
            [name, field, pattern] => json!({field: {"name": named(name.clone()), "pattern": pattern}}),
            _ => return fail("matcher requires two or three arguments"),
        },
        "header" | "query" | "vars" => match args {
            [Ast::Map(entries)] => json!(string_lists(entries)?),
            _ => return fail("matcher requires a map literal argument"),
        },
        "file" => match args {
            [] => json!({}),
            [Ast::Map(entries)] => file_json(entries)?,
            _ => json!({ "try_files": strings(args)? }),
        },
        _ => return Ok(None),
    }))
}

/// The JSON of `file({'root': ..., 'try_files': [...]})`.
fn file_json(entries: &[(Ast, Ast)]) -> Result<Json, CompileError> {
    let mut json = Map::new();
    for (key, values) in string_lists(entries)? {
        match (key.as_str(), values.as_array().map(Vec::as_slice)) {
            ("try_files" | "split_path", _) => json.insert(key, values),
            ("try_policy" | "root", Some([value])) => json.insert(key, value.clone()),
            _ => return fail("matcher requires either a map or string literal argument"),
        };
    }
    Ok(Json::Object(json))
}

fn strings(args: &[Ast]) -> Result<Vec<String>, CompileError> {
    if args.is_empty() {
        return fail("matcher requires at least one argument");
    }
    args.iter().map(string).collect()
}

/// A string literal, a placeholder, or several of them with `+` between, as a matcher takes it.
fn string(ast: &Ast) -> Result<String, CompileError> {
    match ast {
        Ast::Constant(Value::Text(text)) => Ok(text.clone()),
        Ast::Placeholder(name) => Ok(format!("{{{name}}}")),
        Ast::Binary("+", left, right) => Ok(string(left)? + &string(right)?),
        _ => fail("matcher arguments must be string constants"),
    }
}

fn string_lists(entries: &[(Ast, Ast)]) -> Result<Map<String, Json>, CompileError> {
    let entry = |(key, values): &(Ast, Ast)| {
        let values = match values {
            Ast::List(values) => values.iter().map(string).collect::<Result<Vec<_>, _>>()?,
            value => vec![string(value)?],
        };
        Ok((string(key)?, json!(values)))
    };
    entries.iter().map(entry).collect()
}
