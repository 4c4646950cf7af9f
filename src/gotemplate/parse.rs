//! From tokens to a tree.

use super::lex::{Token, TokenKind, lex};
use super::node::{Branch, Command, Kind, List, Node, Operand, Pipe};
use super::{Error, Host, builtins};

/// What actions stand between.
#[derive(Clone, Debug)]
pub struct Delimiters {
    /// Before an action.
    pub open: String,
    /// Behind it.
    pub close: String,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { open: "{{".into(), close: "}}".into() }
    }
}

/// Actions and parentheses may be nested this deep.
const DEPTH_MAX: usize = 100;

/// Reads a template. The result is its own tree, and those of the templates that it defines.
pub(super) fn parse(
    text: &[u8],
    delimiters: &Delimiters,
    host: &dyn Host,
) -> Result<(List, Vec<(String, List)>), Error> {
    let tokens = lex(text, delimiters)?;
    let mut parser = Parser {
        tokens: tokens.into_iter().peekable(),
        line: 1,
        host,
        defined: Vec::new(),
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
    };
    let (list, end) = parser.list(true).map_err(|error| error.at(|| parser.line.to_string()))?;
    match end {
        Until::Text => Ok((list, parser.defined)),
        Until::Else => Err(Error::new(format!("{}: unexpected {{{{else}}}}", parser.line))),
        Until::End => Err(Error::new(format!("{}: unexpected {{{{end}}}}", parser.line))),
    }
}

/// What a list ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Text,
    Else,
    End,
}

struct Parser<'h> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    line: usize,
    host: &'h dyn Host,
    defined: Vec<(String, List)>,
    variables: Vec<String>,
    /// How many `range`s stand around.
    loops: usize,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, Error> {
        let token = self.tokens.next().ok_or_else(|| Error::new("unexpected EOF"))?;
        self.line = token.line;
        Ok(token)
    }

    fn peek(&mut self) -> Option<&TokenKind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    fn takes(&mut self, wanted: impl FnOnce(&TokenKind) -> bool) -> bool {
        self.tokens.next_if(|token| wanted(&token.kind)).is_some()
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::new("the template is nested too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Texts and actions up to an end, which is taken with its `}}` or, for `else`, without.
    fn list(&mut self, is_top: bool) -> Result<(List, Until), Error> {
        let mut list = Vec::new();
        while let Some(token) = self.tokens.next() {
            self.line = token.line;
            let line = token.line;
            if let TokenKind::Text(text) = token.kind {
                list.push(Node { line, kind: Kind::Text(text.into()) });
                continue;
            }
            let kind = match &token.kind {
                TokenKind::Word(word) => match word.as_str() {
                    "end" => {
                        self.end_of_action("end")?;
                        return Ok((List(list), Until::End));
                    }
                    "else" => return Ok((List(list), Until::Else)),
                    "define" if is_top => {
                        self.define()?;
                        continue;
                    }
                    "define" => return Err(Error::new("unexpected {{define}}")),
                    word => self.control(word)?,
                },
                _ => None,
            };
            let kind = match kind {
                Some(kind) => kind,
                None => Kind::Action(self.pipe(Some(token), "command")?),
            };
            list.push(Node { line, kind });
        }
        Ok((List(list), Until::Text))
    }

    /// The action that this keyword begins, if it is one.
    fn control(&mut self, word: &str) -> Result<Option<Kind>, Error> {
        Ok(Some(match word {
            "if" => Kind::If(self.branch("if")?),
            "with" => Kind::With(self.branch("with")?),
            "range" => Kind::Range(self.branch("range")?),
            "template" => {
                let name = self.name("template")?;
                let pipe = match self.takes(|kind| matches!(kind, TokenKind::End)) {
                    true => None,
                    false => Some(self.pipe(None, "template clause")?),
                };
                Kind::Template(name, pipe)
            }
            "block" => self.block()?,
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(Error::new(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.end_of_action(word)?;
                if word == "break" { Kind::Break } else { Kind::Continue }
            }
            _ => return Ok(None),
        }))
    }

    fn end_of_action(&mut self, context: &str) -> Result<(), Error> {
        match self.next()?.kind {
            TokenKind::End => Ok(()),
            _ => Err(Error::new(format!("unexpected token in {context}"))),
        }
    }

    /// A name in quotes.
    fn name(&mut self, context: &str) -> Result<String, Error> {
        match self.next()?.kind {
            TokenKind::Constant(super::Value::Str(name)) => Ok(String::from_utf8_lossy(&name).into_owned()),
            _ => Err(Error::new(format!("unexpected token in {context} clause"))),
        }
    }

    fn define(&mut self) -> Result<(), Error> {
        let name = self.name("define")?;
        self.end_of_action("define clause")?;
        let list = self.body()?;
        self.defined.push((name, list));
        Ok(())
    }

    /// The body of a template of its own, which knows no variables from outside.
    fn body(&mut self) -> Result<List, Error> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (list, end) = self.deeper(|parser| parser.list(false))?;
        self.variables = variables;
        self.loops = loops;
        match end {
            Until::End => Ok(list),
            Until::Else => Err(Error::new("unexpected {{else}} in define clause")),
            Until::Text => Err(Error::new("unexpected EOF")),
        }
    }

    fn block(&mut self) -> Result<Kind, Error> {
        let name = self.name("block")?;
        let pipe = self.pipe(None, "block clause")?;
        let list = self.body()?;
        self.defined.push((name.clone(), list));
        Ok(Kind::Template(name, Some(pipe)))
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Error> {
        self.deeper(|parser| {
            let known = parser.variables.len();
            let pipe = parser.pipe(None, word)?;
            if word == "range" {
                parser.loops += 1;
            }
            let (list, end) = parser.list(false)?;
            if word == "range" {
                parser.loops -= 1;
            }
            let otherwise = match end {
                Until::Text => return Err(Error::new("unexpected EOF")),
                Until::End => List::default(),
                Until::Else => parser.otherwise(word)?,
            };
            parser.variables.truncate(known);
            Ok(Branch { pipe, list, otherwise })
        })
    }

    /// What stands behind `else`, up to the end of the branch.
    fn otherwise(&mut self, word: &str) -> Result<List, Error> {
        let chained = matches!(self.peek(), Some(TokenKind::Word(next)) if next == word && word != "range");
        if chained {
            let token = self.next()?;
            // It shares the `end`.
            let branch = self.branch(word)?;
            let kind = if word == "if" { Kind::If(branch) } else { Kind::With(branch) };
            return Ok(List(vec![Node { line: token.line, kind }]));
        }
        self.end_of_action("else")?;
        match self.list(false)? {
            (list, Until::End) => Ok(list),
            (_, Until::Else) => Err(Error::new("expected end; found {{else}}")),
            (_, Until::Text) => Err(Error::new("unexpected EOF")),
        }
    }

    /// A pipeline up to the end of its action; `first` is its first token, if that has been taken.
    fn pipe(&mut self, first: Option<Token>, context: &str) -> Result<Pipe, Error> {
        let mut pipe = Pipe::default();
        let mut first = first;
        let variable = match &first {
            Some(token) => match &token.kind {
                TokenKind::Variable(name) => Some(name.clone()),
                _ => None,
            },
            None => match self.peek() {
                Some(TokenKind::Variable(name)) => Some(name.clone()),
                _ => None,
            },
        };
        if let Some(name) = variable {
            let token = match first.take() {
                Some(token) => token,
                None => self.next()?,
            };
            first = self.declaration(&mut pipe, name, context)?.then_some(token);
        }
        self.commands(&mut pipe, first, context, false)?;
        // What is declared is known from here on.
        if !pipe.assigns {
            self.variables.extend(pipe.variables.iter().cloned());
        }
        Ok(pipe)
    }

    /// Reads what declares or assigns variables, the first of which has been taken; whether it was
    /// none, and the variable is an operand.
    fn declaration(&mut self, pipe: &mut Pipe, name: String, context: &str) -> Result<bool, Error> {
        if context == "range" && self.takes(|kind| matches!(kind, TokenKind::Comma)) {
            let TokenKind::Variable(second) = self.next()?.kind else {
                return Err(Error::new("range can only initialize variables"));
            };
            pipe.variables = vec![name, second];
        } else {
            match self.peek() {
                Some(TokenKind::Declare | TokenKind::Assign) => pipe.variables = vec![name],
                _ => return Ok(true),
            }
        }
        match self.next()?.kind {
            TokenKind::Declare => {}
            TokenKind::Assign => {
                pipe.assigns = true;
                for name in &pipe.variables {
                    self.check_variable(name)?;
                }
            }
            _ => return Err(Error::new("unexpected token in range")),
        }
        Ok(false)
    }

    fn check_variable(&self, name: &String) -> Result<(), Error> {
        match self.variables.contains(name) {
            true => Ok(()),
            false => Err(Error::new(format!("undefined variable {name:?}"))),
        }
    }

    fn commands(
        &mut self,
        pipe: &mut Pipe,
        first: Option<Token>,
        context: &str,
        in_parens: bool,
    ) -> Result<(), Error> {
        let mut first = first;
        loop {
            let mut operands = Vec::new();
            let is_last = loop {
                let token = match first.take() {
                    Some(token) => token,
                    None => self.next()?,
                };
                match token.kind {
                    TokenKind::Pipe => break false,
                    TokenKind::End if !in_parens => break true,
                    TokenKind::Close if in_parens => break true,
                    _ => operands.push(self.operand(token, context)?),
                }
            };
            if operands.is_empty() {
                return Err(Error::new(match pipe.commands.is_empty() && is_last {
                    true => format!("missing value for {context}"),
                    false => "empty command".to_owned(),
                }));
            }
            let is_value = matches!(operands[0], Operand::Constant(_) | Operand::Nil | Operand::Dot);
            if is_value && !pipe.commands.is_empty() {
                return Err(Error::new("non executable command in pipeline"));
            }
            pipe.commands.push(Command(operands));
            if is_last {
                return Ok(());
            }
        }
    }

    fn operand(&mut self, token: Token, context: &str) -> Result<Operand, Error> {
        let mut operand = match token.kind {
            TokenKind::Word(word) => match word.as_str() {
                "true" => Operand::Constant(super::Value::Bool(true)),
                "false" => Operand::Constant(super::Value::Bool(false)),
                "nil" => Operand::Nil,
                name if self.host.knows(name) || builtins::is_known(name) => Operand::Function(word),
                name => return Err(Error::new(format!("function {name:?} not defined"))),
            },
            TokenKind::Dot => Operand::Dot,
            TokenKind::Field(name) => Operand::Field(vec![name]),
            TokenKind::Variable(name) => {
                self.check_variable(&name)?;
                Operand::Variable(name, Vec::new())
            }
            TokenKind::Constant(value) => Operand::Constant(value),
            TokenKind::Open => {
                let mut pipe = Pipe::default();
                self.deeper(|parser| parser.commands(&mut pipe, None, "parenthesized pipeline", true))?;
                Operand::Pipe(Box::new(pipe))
            }
            _ => return Err(Error::new(format!("unexpected token in {context}"))),
        };
        while let Some(token) =
            self.tokens.next_if(|token| !token.spaced && matches!(token.kind, TokenKind::Field(_)))
        {
            let TokenKind::Field(name) = token.kind else { continue };
            operand = match operand {
                Operand::Field(mut fields) => {
                    fields.push(name);
                    Operand::Field(fields)
                }
                Operand::Variable(variable, mut fields) => {
                    fields.push(name);
                    Operand::Variable(variable, fields)
                }
                Operand::Chain(inner, mut fields) => {
                    fields.push(name);
                    Operand::Chain(inner, fields)
                }
                Operand::Constant(_) | Operand::Nil | Operand::Dot => {
                    return Err(Error::new(format!("unexpected .{name} after term")));
                }
                other => Operand::Chain(Box::new(other), vec![name]),
            };
        }
        match self.tokens.peek() {
            Some(next) if !next.spaced && !ends_operand(&next.kind) => {
                Err(Error::new("unexpected token in operand"))
            }
            _ => Ok(operand),
        }
    }
}

fn ends_operand(kind: &TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::End
            | TokenKind::Close
            | TokenKind::Pipe
            | TokenKind::Comma
            | TokenKind::Declare
            | TokenKind::Assign
    )
}
