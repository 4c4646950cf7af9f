//! A Caddyfile's blocks as an indented tree, for people and tests.

use std::fmt;

use crate::block::{Parsed, ServerBlock};
use crate::token::{Quote, Token};

/// The keys of each block, below them its directives one token after another; the lines of nested blocks are indented.
impl fmt::Display for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for block in &self.server_blocks {
            write!(f, "{block}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}", warning.message)?;
        }
        Ok(())
    }
}

impl fmt::Display for ServerBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_named_route { "route" } else { "block" })?;
        for key in &self.keys {
            write!(f, " {}", Shown(key))?;
        }
        writeln!(f, "{}", if self.has_braces { " (braces)" } else { "" })?;
        for segment in &self.segments {
            let mut depth: usize = 1;
            let mut before: Option<&Token> = None;
            for token in segment {
                depth -= usize::from(token.is_close_brace() && depth > 1);
                match before {
                    Some(before) if !before.is_followed_on_new_line_by(token) => f.write_str(" ")?,
                    Some(_) => write!(f, "\n{}", "  ".repeat(depth))?,
                    None => f.write_str("  ")?,
                }
                write!(f, "{}", Shown(token))?;
                depth += usize::from(token.is_open_brace());
                before = Some(token);
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A token in the quotes it was written with, line breaks escaped.
struct Shown<'t>(&'t Token);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.shown().replace('\n', "\\n").replace('\r', "\\r");
        match self.0.quote {
            Quote::None => write!(f, "{text}"),
            Quote::Double => write!(f, "\"{text}\""),
            Quote::Backtick => write!(f, "`{text}`"),
            Quote::Heredoc => write!(f, "<<{text}>>"),
        }
    }
}
