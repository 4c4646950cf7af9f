//! Trees carried out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::slice;

use super::node::{Branch, Command, Kind, List, Operand, Pipe};
use super::parse::{Delimiters, parse};
use super::{Budget, Error, Value, builtins};

/// What a template may ask for besides what Go itself has.
pub trait Host {
    /// Whether there is a function of this name.
    fn knows(&self, name: &str) -> bool;

    /// Calls a function that it knows. `templates` are those that the calling one can name.
    ///
    /// # Errors
    /// The function fails; so does the template then.
    fn call(&self, name: &str, arguments: &[Value], templates: &Templates) -> Result<Value, Error>;
}

/// Templates that know each other by their names.
#[derive(Debug)]
pub struct Templates {
    name: String,
    delimiters: Delimiters,
    by_name: RefCell<BTreeMap<String, Rc<List>>>,
}

impl Templates {
    /// None yet; the one that is called `name` comes first.
    pub fn new(name: &str, delimiters: &Delimiters) -> Self {
        Self { name: name.to_owned(), delimiters: delimiters.clone(), by_name: RefCell::default() }
    }

    /// Reads a text, which is the first template's, and defines others if it says so.
    ///
    /// # Errors
    /// It is not well-formed, or names a function that there isn't.
    pub fn read(&self, text: &[u8], host: &dyn Host) -> Result<(), Error> {
        let place = || format!("template: {}", self.name);
        let (list, defined) = parse(text, &self.delimiters, host)
            .map_err(|error| Error::new(format!("{}:{error}", place())))?;
        let mut by_name = self.by_name.borrow_mut();
        for (name, list) in defined.into_iter().chain([(self.name.clone(), list)]) {
            // What says nothing replaces nothing.
            if !list.is_blank() || !by_name.contains_key(&name) {
                by_name.insert(name, Rc::new(list));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Rc<List>> {
        self.by_name.borrow().get(name).cloned()
    }
}

/// One rendering of a template.
pub struct Run<'r> {
    templates: &'r Templates,
    host: &'r dyn Host,
    budget: &'r Budget,
    variables: Vec<(String, Value)>,
    out: Vec<u8>,
}

/// How a list has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'r> Run<'r> {
    /// Renders the first of these templates for `dot`.
    ///
    /// # Errors
    /// An action fails, or the budget is used up.
    pub fn render(
        templates: &'r Templates,
        host: &'r dyn Host,
        budget: &'r Budget,
        dot: &Value,
    ) -> Result<Vec<u8>, Error> {
        budget.admit(slice::from_ref(dot))?;
        let mut run =
            Run { templates, host, budget, variables: vec![("$".into(), dot.clone())], out: Vec::new() };
        match templates.find(&templates.name) {
            Some(list) => {
                run.list(&list, dot).map_err(|error| error.at(|| format!("template: {}", templates.name)))?
            }
            None => {
                return Err(Error::new(format!("template: {}: it is incomplete or empty", templates.name)));
            }
        };
        Ok(run.out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.budget.take(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, list: &List, dot: &Value) -> Result<Flow, Error> {
        let budget = self.budget;
        let _level = budget.enter()?;
        for node in &list.0 {
            budget.step()?;
            let flow = self.node(&node.kind, dot).map_err(|error| error.at(|| format!("{}", node.line)))?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Kind, dot: &Value) -> Result<Flow, Error> {
        match node {
            Kind::Text(text) => self.write(text)?,
            Kind::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.print(&value)?;
                }
            }
            Kind::If(branch) => return self.branch(branch, dot, false),
            Kind::With(branch) => return self.branch(branch, dot, true),
            Kind::Range(branch) => return self.range(branch, dot),
            Kind::Template(name, pipe) => self.template(name, pipe.as_ref(), dot)?,
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, value: &Value) -> Result<(), Error> {
        match value {
            Value::Nil => self.write(b"<no value>"),
            Value::Str(text) => self.write(text),
            other => {
                self.budget.admit(slice::from_ref(other))?;
                self.write(&super::format::plain(other))
            }
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, is_with: bool) -> Result<Flow, Error> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true if is_with => self.list(&branch.list, &value)?,
            true => self.list(&branch.list, dot)?,
            false => self.list(&branch.otherwise, dot)?,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Error> {
        let known = self.variables.len();
        let value = self.pipe_value(&branch.pipe, dot)?;
        let plain = match &value {
            Value::Object(object) => object.as_plain(),
            _ => None,
        };
        // A map may be changed on the way: what was there at first counts.
        let items: Vec<(Value, Value)> = match plain.as_ref().unwrap_or(&value) {
            Value::Nil => Vec::new(),
            Value::List(items) => {
                let indices = (0_i64..).map(Value::Int);
                indices.zip(items.iter().cloned()).collect()
            }
            Value::Map(map) => {
                let map = map.borrow();
                self.budget.take(map.keys().map(String::len).sum())?;
                map.iter().map(|(key, value)| (Value::from(key.as_str()), value.clone())).collect()
            }
            Value::Int(count) => return self.count(branch, *count, dot, known),
            other => return Err(Error::new(format!("range can't iterate over {}", other.text()))),
        };
        self.budget.take(items.len() * size_of::<(Value, Value)>())?;
        if items.is_empty() {
            return self.otherwise(branch, dot, known);
        }
        for (key, item) in items {
            if self.turn(branch, key, item, known)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn count(&mut self, branch: &Branch, count: i64, dot: &Value, known: usize) -> Result<Flow, Error> {
        if count <= 0 {
            return self.otherwise(branch, dot, known);
        }
        for number in 0..count {
            if self.turn(branch, Value::Int(number), Value::Int(number), known)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn otherwise(&mut self, branch: &Branch, dot: &Value, known: usize) -> Result<Flow, Error> {
        let flow = self.list(&branch.otherwise, dot)?;
        self.variables.truncate(known);
        Ok(flow)
    }

    /// One turn of a loop.
    fn turn(&mut self, branch: &Branch, key: Value, item: Value, known: usize) -> Result<Flow, Error> {
        self.budget.step()?;
        let values = match branch.pipe.variables.len() {
            2 => vec![key, item.clone()],
            1 => vec![item.clone()],
            _ => Vec::new(),
        };
        for (name, value) in branch.pipe.variables.iter().zip(values) {
            if branch.pipe.assigns {
                self.assign(name, value)?;
            } else {
                self.variables.push((name.clone(), value));
            }
        }
        let flow = self.list(&branch.list, &item)?;
        self.variables.truncate(known);
        Ok(flow)
    }

    fn template(&mut self, name: &str, pipe: Option<&Pipe>, dot: &Value) -> Result<(), Error> {
        let dot = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let found = self.templates.find(name);
        let list = found.ok_or_else(|| Error::new(format!("template {name:?} not defined")))?;
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), dot.clone())]);
        let result = self.list(&list, &dot);
        self.variables = outer;
        result.map(drop)
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), Error> {
        let found = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        found.ok_or_else(|| Error::new(format!("undefined variable: {name}")))?.1 = value;
        Ok(())
    }

    /// The outcome of a pipeline, which its variables get too.
    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Error> {
        let value = self.pipe_value(pipe, dot)?;
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn pipe_value(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Error> {
        let budget = self.budget;
        let _level = budget.enter()?;
        let mut last = None;
        for command in &pipe.commands {
            budget.step()?;
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_default())
    }

    /// The outcome of a command that gets `last` as its last argument.
    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value, Error> {
        let Some((first, rest)) = command.0.split_first() else { return Ok(Value::Nil) };
        match first {
            Operand::Function(name) if matches!(name.as_str(), "and" | "or") && !self.host.knows(name) => {
                self.shortcut(name == "and", rest, dot, last)
            }
            Operand::Function(name) => {
                let arguments = self.arguments(rest, dot, last)?;
                self.call(name, &arguments)
            }
            Operand::Field(fields) => {
                let arguments = self.arguments(rest, dot, last)?;
                self.fields(dot.clone(), fields, &arguments)
            }
            Operand::Variable(name, fields) => {
                let value = self.variable(name)?;
                let arguments = self.arguments(rest, dot, last)?;
                self.fields(value, fields, &arguments)
            }
            Operand::Chain(inner, fields) => {
                let value = self.operand(inner, dot)?;
                let arguments = self.arguments(rest, dot, last)?;
                self.fields(value, fields, &arguments)
            }
            other if rest.is_empty() && last.is_none() => match other {
                Operand::Nil => Err(Error::new("nil is not a command")),
                other => self.operand(other, dot),
            },
            _ => Err(Error::new("can't give argument to non-function")),
        }
    }

    fn shortcut(
        &mut self,
        is_and: bool,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let mut value = None;
        for operand in operands {
            let one = self.operand(operand, dot)?;
            let decides = one.is_true() != is_and;
            value = Some(one);
            if decides {
                return Ok(value.unwrap_or_default());
            }
        }
        last.or(value).ok_or_else(|| Error::new("wrong number of args: want at least 1 got 0"))
    }

    fn arguments(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Vec<Value>, Error> {
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        Ok(arguments)
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, Error> {
        let is_host = self.host.knows(name);
        if is_host || builtins::looks_through(name) {
            self.budget.admit(arguments)?;
        }
        let result = match is_host {
            true => self.host.call(name, arguments, self.templates),
            false => builtins::call(name, arguments),
        };
        let value = result.map_err(|error| error.at(|| format!("error calling {name}")))?;
        self.got(value)
    }

    /// A value that the template has got from elsewhere, and pays for.
    fn got(&self, value: Value) -> Result<Value, Error> {
        self.budget.admit(slice::from_ref(&value))?;
        Ok(value)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        self.budget.step()?;
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Field(fields) => self.fields(dot.clone(), fields, &[]),
            Operand::Variable(name, fields) => {
                let value = self.variable(name)?;
                self.fields(value, fields, &[])
            }
            Operand::Function(name) => self.call(name, &[]),
            Operand::Pipe(pipe) => self.pipe_value(pipe, dot),
            Operand::Chain(inner, fields) => {
                let value = self.operand(inner, dot)?;
                self.fields(value, fields, &[])
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Value, Error> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| Error::new(format!("undefined variable: {name}")))
    }

    /// What a chain of fields leads to; the last one gets the arguments.
    fn fields(&self, value: Value, fields: &[String], arguments: &[Value]) -> Result<Value, Error> {
        self.budget.admit(arguments)?;
        let Some((last, path)) = fields.split_last() else {
            return match arguments {
                [] => Ok(value),
                _ => Err(Error::new("can't give argument to non-function")),
            };
        };
        let holder = path.iter().try_fold(value, |value, name| self.field(&value, name, &[]))?;
        self.field(&holder, last, arguments)
    }

    fn field(&self, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
        let found = field(value, name, arguments)?;
        // What a map has is there already.
        if matches!(value, Value::Map(_)) { Ok(found) } else { self.got(found) }
    }
}

fn field(value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match value {
        Value::Map(map) => match arguments {
            [] => Ok(map.borrow().get(name).cloned().unwrap_or_default()),
            _ => Err(Error::new(format!("{name} is not a method but has arguments"))),
        },
        Value::Object(object) => match (object.member(name, arguments), object.as_plain()) {
            (Some(result), _) => result,
            (None, Some(plain @ Value::Map(_))) => field(&plain, name, arguments),
            (None, _) => {
                Err(Error::new(format!("can't evaluate field {name} in type {}", object.type_name())))
            }
        },
        Value::Nil => Err(Error::new(format!("nil pointer evaluating interface {{}}.{name}"))),
        other => Err(Error::new(format!("can't evaluate field {name} in type {}", other.type_name()))),
    }
}
