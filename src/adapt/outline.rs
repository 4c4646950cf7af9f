//! Which site answers which address, and in which order its routes are tried, with the lines that say so.
//!
//! Places in the Caddyfile don't stand in the configuration. Where somebody asks for them they are noted beside it
//! while it is made, and put in the order in which the routes come out.

use std::cell::RefCell;
use std::rc::Rc;

use tollgate_grammar::{Place, Quote};

use super::helper::Session;
use super::site::SiteAt;
use super::value::Said;
use super::{AutoHttpsOption, Token, server_options};
use crate::config::http::Server;

/// What a Caddyfile serves, and in which order.
#[derive(Debug, Default)]
pub struct Outline {
    /// The servers, in the order of their names.
    pub servers: Vec<ServerOutline>,
    /// Routes that others invoke by name.
    pub named_routes: Vec<(Line, Block)>,
}

/// One server: some listeners, and the sites behind them.
#[derive(Debug)]
pub struct ServerOutline {
    /// Its name in the configuration.
    pub name: String,
    /// The addresses that it listens on.
    pub listen: Vec<String>,
    /// Whether it speaks TLS.
    pub is_https: bool,
    /// The port of plain HTTP from where clients are sent here.
    pub redirected_from: Option<u16>,
    /// Its sites, in the order in which they are tried; the first whose address matches answers.
    pub sites: Vec<SiteOutline>,
}

/// One site of a server.
#[derive(Debug)]
pub struct SiteOutline {
    /// Its addresses there.
    pub addresses: Vec<Line>,
    /// What happens to requests.
    pub routes: Block,
    /// What happens to those that fail.
    pub errors: Block,
}

/// A block of directives, in the order in which they run.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// The named matchers that it defines.
    pub matchers: Vec<Line>,
    /// The directives that make routes.
    pub steps: Vec<Step>,
}

/// A directive that makes routes.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whether it runs only if none of the same name that stands before it did.
    pub is_alternative: bool,
    /// What was written.
    pub written: Rc<Written>,
}

/// A directive as it was written, with what stands in its block.
#[derive(Debug)]
pub struct Written {
    /// Its line.
    pub line: Line,
    /// The directives in its block, if it is one that has some.
    pub inner: Block,
}

/// A piece of the Caddyfile.
#[derive(Clone, Debug)]
pub struct Line {
    /// How it is written; what came out of an environment variable reads `{$NAME}`.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

impl Line {
    /// One token.
    fn of(token: &Token) -> Self {
        Self { text: shown(token), place: Place::of(token) }
    }

    /// The first line of some tokens, without the brace at its end.
    fn first_of<'t>(tokens: impl Iterator<Item = &'t Token>) -> Option<Self> {
        let mut tokens = tokens.peekable();
        let first = *tokens.peek()?;
        let mut line = Self { text: String::new(), place: Place::of(first) };
        let mut before: Option<&Token> = None;
        for token in tokens {
            if before.is_some_and(|before| before.is_followed_on_new_line_by(token)) || token.is_open_brace()
            {
                break;
            }
            line.push(if before.is_some() { " " } else { "" }, token);
            before = Some(token);
        }
        Some(line)
    }

    /// All of some tokens on one line, as a definition of a matcher is best read.
    fn joined<'t>(tokens: impl Iterator<Item = &'t Token>) -> Option<Self> {
        let mut tokens = tokens.peekable();
        let first = *tokens.peek()?;
        let mut line = Self { text: String::new(), place: Place::of(first) };
        let mut before: Option<&Token> = None;
        for token in tokens {
            let separator = match before {
                None => "",
                Some(before) if before.is_followed_on_new_line_by(token) => {
                    if before.is_open_brace() || token.is_close_brace() { " " } else { "; " }
                }
                Some(_) => " ",
            };
            line.push(separator, token);
            before = Some(token);
        }
        Some(line)
    }

    fn push(&mut self, separator: &str, token: &Token) {
        self.text.push_str(separator);
        self.text.push_str(&shown(token));
    }
}

/// A token as it was written, but on one line.
fn shown(token: &Token) -> String {
    let text = token.shown();
    let first = text.lines().next().unwrap_or_default();
    let more = if first.len() < text.len() { "..." } else { "" };
    match token.quote {
        Quote::None => text,
        Quote::Double => format!("\"{}{more}\"", first.replace('"', "\\\"")),
        Quote::Backtick => format!("`{first}{more}`"),
        Quote::Heredoc => format!("<<{first}{more}"),
    }
}

/// Notes what was written, if somebody asks.
#[derive(Default)]
pub(super) struct Outliner {
    /// The blocks that are being read, the innermost last; nothing if nobody asks.
    open: Option<RefCell<Vec<Block>>>,
    outline: RefCell<Outline>,
}

impl Outliner {
    /// One that notes.
    pub(super) fn asked() -> Self {
        Self { open: Some(RefCell::default()), ..Self::default() }
    }

    /// Begins a block.
    pub(super) fn begin(&self) {
        if let Some(open) = &self.open {
            open.borrow_mut().push(Block::default());
        }
    }

    /// Ends the block that began last.
    pub(super) fn end(&self) -> Option<Block> {
        self.open.as_ref()?.borrow_mut().pop()
    }

    /// Ends the block of a directive with these tokens.
    pub(super) fn end_directive(&self, tokens: Option<Line>) -> Option<Rc<Written>> {
        let inner = self.end()?;
        Some(Rc::new(Written { line: tokens?, inner }))
    }

    /// The line of a directive, if somebody asks.
    pub(super) fn line<'t>(&self, tokens: impl Iterator<Item = &'t Token>) -> Option<Line> {
        self.open.as_ref()?;
        Line::first_of(tokens)
    }

    /// Notes the definition of a matcher in the block that is open, or gives it back if there is none.
    pub(super) fn matcher(&self, definition: &[Token]) -> Option<Line> {
        let mut open = self.open.as_ref()?.borrow_mut();
        let line = Line::joined(definition.iter())?;
        match open.last_mut() {
            Some(block) => {
                block.matchers.push(line);
                None
            }
            None => Some(line),
        }
    }

    /// Notes directives in the order in which they run.
    pub(super) fn steps(&self, said: &[Said]) {
        let Some(open) = &self.open else { return };
        if let Some(block) = open.borrow_mut().last_mut() {
            add_steps(&mut block.steps, said);
        }
    }

    /// Notes a named route.
    pub(super) fn named_route(&self, key: &Token, block: Option<Block>) {
        if let Some(block) = block {
            let mut line = Line::of(key);
            line.text = format!("&({})", line.text);
            self.outline.borrow_mut().named_routes.push((line, block));
        }
    }

    /// Begins the outline of a server.
    pub(super) fn server(&self, index: usize, server: &Server, sites: &[SiteAt], session: &Session<'_>) {
        if self.open.is_none() {
            return;
        }
        let options = session.options;
        let named = server_options::said_for(server, options).map(|said| said.name.clone());
        let has_names = sites.iter().any(|site| !site.hosts_not_http(options.http_port()).is_empty());
        let automatic = has_names && !options.auto_https(AutoHttpsOption::Off);
        let redirects = automatic && !options.auto_https(AutoHttpsOption::DisableRedirects);
        self.outline.borrow_mut().servers.push(ServerOutline {
            name: named.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("srv{index}")),
            listen: server.listen.clone(),
            is_https: automatic || !server.tls_connection_policies.is_empty(),
            redirected_from: redirects.then(|| options.http_port()),
            sites: Vec::new(),
        });
    }

    /// Adds a site to the server that began last.
    pub(super) fn site(&self, site: &SiteAt, routes: Option<Block>) {
        let mut outline = self.outline.borrow_mut();
        let (Some(mut routes), Some(server)) = (routes, outline.servers.last_mut()) else { return };
        routes.matchers = site.pile.matcher_lines.clone();
        let errors = site.pile.error_routes.borrow();
        let steps = errors.iter().filter_map(|(_, written)| written.clone());
        let steps = steps.map(|written| Step { is_alternative: false, written }).collect();
        server.sites.push(SiteOutline {
            addresses: site.key_tokens.iter().map(Line::of).collect(),
            routes,
            errors: Block { matchers: Vec::new(), steps },
        });
    }

    /// All that was noted.
    pub(super) fn into_outline(self) -> Outline {
        self.outline.into_inner()
    }
}

fn add_steps(steps: &mut Vec<Step>, said: &[Said]) {
    let begin = steps.len();
    for one in said {
        let Some(written) = &one.written else { continue };
        // A directive may make several routes.
        if steps[begin..].last().is_some_and(|last| Rc::ptr_eq(&last.written, written)) {
            continue;
        }
        let is_alternative = super::routes::EXCLUSIVE.contains(&one.directive)
            && said
                .iter()
                .take_while(|other| !std::ptr::eq(*other, one))
                .any(|other| other.directive == one.directive);
        steps.push(Step { is_alternative, written: written.clone() });
    }
}
