//! Tokens to a tree, by the grammar of the language definition.

use super::lexer::{CelError, Token, error, tokens};
use super::value::Value;

/// An expression as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ast {
    Constant(Value),
    Placeholder(String),
    Name(String),
    List(Vec<Ast>),
    Map(Vec<(Ast, Ast)>),
    Not(Box<Ast>),
    Negate(Box<Ast>),
    /// An operator between two.
    Binary(&'static str, Box<Ast>, Box<Ast>),
    Choice(Box<Ast>, Box<Ast>, Box<Ast>),
    Index(Box<Ast>, Box<Ast>),
    Select(Box<Ast>, String),
    /// `name(args)`, or `target.name(args)`.
    Call(Option<Box<Ast>>, String, Vec<Ast>),
}

/// Expressions may be nested this deep.
const DEPTH_MAX: usize = 50;

pub(super) fn parse(text: &str) -> Result<Ast, CelError> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let mut parser = Parser { rest: tokens, depth: 0 };
    let ast = parser.expression()?;
    match parser.rest.last() {
        None => Ok(ast),
        Some(token) => error(format!("Syntax error: extraneous input {}", shown(token))),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Symbol(symbol) => format!("'{symbol}'"),
        Token::Word(word) => format!("'{word}'"),
        other => format!("{other:?}"),
    }
}

struct Parser {
    /// What is to come, the next token last.
    rest: Vec<Token>,
    depth: usize,
}

impl Parser {
    fn is_next(&self, symbol: &str) -> bool {
        matches!(self.rest.last(), Some(Token::Symbol(next)) if *next == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let taken = self.is_next(symbol);
        if taken {
            self.rest.pop();
        }
        taken
    }

    fn expect(&mut self, symbol: &str) -> Result<(), CelError> {
        if self.take(symbol) {
            return Ok(());
        }
        match self.rest.last() {
            Some(token) => error(format!("Syntax error: {} where '{symbol}' is expected", shown(token))),
            None => error(format!("Syntax error: missing '{symbol}' at '<EOF>'")),
        }
    }

    fn expression(&mut self) -> Result<Ast, CelError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return error("expression is nested too deeply");
        }
        let condition = self.binary(0)?;
        let ast = if self.take("?") {
            let then = self.binary(0)?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            Ast::Choice(Box::new(condition), Box::new(then), Box::new(otherwise))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(ast)
    }

    /// Operators from that level on; the last ones bind most tightly.
    fn binary(&mut self, level: usize) -> Result<Ast, CelError> {
        const LEVELS: [&[&str]; 5] =
            [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">", "in"], &["+", "-"], &["*", "/", "%"]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.binary(level + 1)?;
            left = Ast::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let operator = operators.iter().find(|operator| match self.rest.last() {
            Some(Token::Symbol(next)) => next == *operator,
            Some(Token::Word(next)) => next == "in" && **operator == "in",
            _ => false,
        })?;
        self.rest.pop();
        Some(operator)
    }

    fn unary(&mut self) -> Result<Ast, CelError> {
        let (mut nots, mut minuses) = (0, 0);
        while self.take("!") {
            nots += 1;
        }
        while nots == 0 && self.take("-") {
            minuses += 1;
        }
        // Only with its sign is the least integer one.
        if minuses % 2 == 1 && self.rest.last() == Some(&Token::IntMin) {
            self.rest.pop();
            return Ok(Ast::Constant(Value::Int(i64::MIN)));
        }
        let mut ast = self.member()?;
        // An even number of them is none, as in cel-go.
        if nots % 2 == 1 {
            ast = Ast::Not(Box::new(ast));
        }
        if minuses % 2 == 1 {
            ast = match ast {
                Ast::Constant(Value::Int(number)) => Ast::Constant(Value::Int(-number)),
                Ast::Constant(Value::Double(number)) => Ast::Constant(Value::Double(-number)),
                ast => Ast::Negate(Box::new(ast)),
            };
        }
        Ok(ast)
    }

    fn member(&mut self) -> Result<Ast, CelError> {
        let mut ast = self.primary()?;
        loop {
            if self.take(".") {
                let Some(Token::Word(name)) = self.rest.pop() else {
                    return error("Syntax error: a name is expected after '.'");
                };
                ast = if self.take("(") {
                    Ast::Call(Some(Box::new(ast)), name, self.list(")")?)
                } else {
                    Ast::Select(Box::new(ast), name)
                };
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                ast = Ast::Index(Box::new(ast), Box::new(index));
            } else {
                return Ok(ast);
            }
        }
    }

    fn primary(&mut self) -> Result<Ast, CelError> {
        let Some(token) = self.rest.pop() else { return error("Syntax error: mismatched input '<EOF>'") };
        Ok(match token {
            Token::Int(number) => Ast::Constant(Value::Int(number)),
            Token::IntMin => return error("invalid int literal"),
            Token::Uint(number) => Ast::Constant(Value::Uint(number)),
            Token::Double(number) => Ast::Constant(Value::Double(number)),
            Token::Text(text) => Ast::Constant(Value::Text(text)),
            Token::Bytes(bytes) => Ast::Constant(Value::Bytes(bytes)),
            Token::Placeholder(name) => Ast::Placeholder(name),
            Token::Word(word) => match word.as_str() {
                "true" => Ast::Constant(Value::Bool(true)),
                "false" => Ast::Constant(Value::Bool(false)),
                "null" => Ast::Constant(Value::Null),
                "in" => return error("Syntax error: mismatched input 'in'"),
                _ if self.take("(") => Ast::Call(None, word, self.list(")")?),
                _ => Ast::Name(word),
            },
            Token::Symbol("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                inner
            }
            Token::Symbol("[") => Ast::List(self.list("]")?),
            Token::Symbol("{") => Ast::Map(self.map()?),
            Token::Symbol(symbol) => return error(format!("Syntax error: extraneous input '{symbol}'")),
        })
    }

    /// Expressions up to the symbol; a comma may stand behind the last one.
    fn list(&mut self, end: &str) -> Result<Vec<Ast>, CelError> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.expression()?);
            if !self.take(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Vec<(Ast, Ast)>, CelError> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_bind_as_defined() {
        for (text, same) in [
            ("1 + 2 * 3 == 7 && true || false", "(((1 + (2 * 3)) == 7) && true) || false"),
            ("a - b - c", "(a - b) - c"),
            ("!a.b(c)[0].d", "!(((a.b(c))[0]).d)"),
            ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
            ("!!a", "a"),
            ("x in [1, 2,]", "(x) in ([1, 2])"),
        ] {
            assert_eq!(parse(text), parse(same), "{text}");
        }
        assert_eq!(parse("-9223372036854775808"), Ok(Ast::Constant(Value::Int(i64::MIN))));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "1 +", "(1", "a b", "{'a'}", "a.", "[1 2]", "9223372036854775808", "a ? b"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = "(".repeat(1000) + "1" + &")".repeat(1000);
        assert_eq!(parse(&deep), error("expression is nested too deeply"));
    }
}
