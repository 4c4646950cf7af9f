//! The tree of a template.

use std::rc::Rc;

use super::Value;

/// Texts and actions in their order.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Node>);

/// A piece of a template, with the line that it stands on.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Text(Rc<[u8]>),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(String, Option<Pipe>),
    Break,
    Continue,
}

/// An `if`, `with` or `range`.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) list: List,
    pub(super) otherwise: List,
}

/// Commands, each of which gets the outcome of the one before.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The variables that get the outcome.
    pub(super) variables: Vec<String>,
    /// Whether they are there already (`=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// Something to call, and its arguments.
#[derive(Debug)]
pub(super) struct Command(pub(super) Vec<Operand>);

#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Constant(Value),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
    /// `(...).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl List {
    /// Whether there is nothing in it but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.0.iter().all(|node| matches!(&node.kind, Kind::Text(text) if text.trim_ascii().is_empty()))
    }
}
