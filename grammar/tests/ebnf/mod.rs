//! Reads `caddyfile.ebnf` and makes sentences from it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

/// The grammar by rule name.
pub struct Grammar {
    rules: BTreeMap<String, Expr>,
}

/// What stands behind the `=` of a rule.
pub enum Expr {
    /// The text itself.
    Text(String),
    /// The rule of this name.
    Rule(String),
    /// One of these characters, or one other than these.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// One after the other.
    Sequence(Vec<Expr>),
    /// One of these.
    Either(Vec<Expr>),
    /// From `least` to `most` times.
    Repeat { what: Box<Expr>, least: usize, most: usize },
}

/// What stands for "any character but ...".
const ANY: &str = "aZ0 \n\té_.,:;*?@#<>{}\"'`=/-+~|&()[]\\";
/// The same without what confuses `caddy fmt`: it loses the space behind a word that ends in `<`, and takes quotes
/// and braces inside of words and of other quotes for the beginning of something.
const TIDY: &str = "aZ0 \n\té_.,:;*?@>'=/-+~|&()[]";

/// How often `*` and `+` repeat at most in a sentence.
const REPEATS_MAX: usize = 4;

impl Grammar {
    /// The grammar of this package.
    pub fn of_the_caddyfile() -> Grammar {
        Grammar::read(include_str!("../../caddyfile.ebnf"))
    }

    fn read(text: &str) -> Grammar {
        let mut reader = Reader { rest: text };
        let mut rules = BTreeMap::new();
        while let Some(name) = reader.name() {
            reader.expect("=");
            let rule = reader.either();
            reader.expect(";");
            assert!(rules.insert(name.clone(), rule).is_none(), "rule {name} stands twice");
        }
        assert_eq!(reader.rest, "", "a rule begins with its name");
        let grammar = Grammar { rules };
        grammar.rules.values().for_each(|rule| grammar.check(rule));
        grammar
    }

    /// The names of all rules.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().map(String::as_str)
    }

    /// What the rule of this name says.
    pub fn rule(&self, name: &str) -> &Expr {
        &self.rules[name]
    }

    fn check(&self, expr: &Expr) {
        match expr {
            Expr::Rule(name) => assert!(self.rules.contains_key(name), "rule {name} is missing"),
            Expr::Sequence(parts) | Expr::Either(parts) => parts.iter().for_each(|part| self.check(part)),
            Expr::Repeat { what, .. } => self.check(what),
            Expr::Text(_) | Expr::Class { .. } => {}
        }
    }

    /// A sentence of `caddyfile`; the same seed makes the same sentence.
    pub fn sentence(&self, seed: u64) -> String {
        self.make(seed, false)
    }

    /// A sentence with nothing but single spaces and line feeds between tokens.
    pub fn tidy_sentence(&self, seed: u64) -> String {
        self.make(seed, true)
    }

    fn make(&self, seed: u64, tidy: bool) -> String {
        let random = Random(seed);
        let mut maker = Maker { grammar: self, random, out: String::new(), labels: 0, depth: 0, tidy };
        maker.rule("caddyfile");
        maker.out
    }
}

struct Maker<'g> {
    grammar: &'g Grammar,
    random: Random,
    out: String,
    labels: usize,
    depth: usize,
    tidy: bool,
}

impl Maker<'_> {
    fn rule(&mut self, name: &str) {
        // What the grammar says only in words.
        match name {
            "label" => {
                self.labels += 1;
                self.out.push_str(&format!("n{}", self.labels));
            }
            "target" => self.rule("pattern"),
            "escape" if self.tidy => self.out.push('x'),
            "sp" if self.tidy => self.out.push(' '),
            "newline" if self.tidy => self.out.push('\n'),
            "marker" => self.out.push_str("END"),
            "indentation" => self.out.push('\t'),
            "default" => self.out.push_str("def"),
            _ => {
                self.depth += 1;
                self.expr(&self.grammar.rules[name]);
                self.depth -= 1;
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Text(text) => self.out.push_str(text),
            Expr::Rule(name) => self.rule(name),
            Expr::Class { negated, ranges } => {
                let ch = self.one_of(*negated, ranges);
                self.out.push(ch);
            }
            Expr::Sequence(parts) => parts.iter().for_each(|part| self.expr(part)),
            Expr::Either(parts) => {
                let chosen = self.random.below(parts.len());
                self.expr(&parts[chosen]);
            }
            Expr::Repeat { what, least, most } => {
                // Deep inside, as little as possible, so that sentences end.
                let most = if self.depth > 40 { *least } else { *most };
                for _ in 0..least + self.random.below(most - least + 1) {
                    self.expr(what);
                }
            }
        }
    }

    fn one_of(&mut self, negated: bool, ranges: &[(char, char)]) -> char {
        let inside = |ch: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&ch));
        if negated {
            let chars = if self.tidy { TIDY } else { ANY };
            let pool: Vec<char> = chars.chars().filter(|ch| !inside(*ch)).collect();
            return pool[self.random.below(pool.len())];
        }
        let (from, to) = ranges[self.random.below(ranges.len())];
        let span = to as usize - from as usize + 1;
        char::from_u32(from as u32 + self.random.below(span) as u32).expect("a range of ASCII")
    }
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// Reads the notation.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("/*") else { return };
            let end = comment.find("*/").expect("a comment ends");
            self.rest = &comment[end + 2..];
        }
    }

    fn takes(&mut self, text: &str) -> bool {
        self.skip();
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, text: &str) {
        assert!(self.takes(text), "{text} is missing before {:.40}", self.rest);
    }

    fn name(&mut self) -> Option<String> {
        self.skip();
        let end = self.rest.find(|ch: char| !ch.is_ascii_lowercase() && ch != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn either(&mut self) -> Expr {
        let mut parts = vec![self.sequence()];
        while self.takes("|") {
            parts.push(self.sequence());
        }
        if parts.len() == 1 { parts.remove(0) } else { Expr::Either(parts) }
    }

    fn sequence(&mut self) -> Expr {
        let mut parts = Vec::new();
        while let Some(part) = self.item() {
            parts.push(part);
        }
        Expr::Sequence(parts)
    }

    fn item(&mut self) -> Option<Expr> {
        let item = if self.takes("\"") {
            Expr::Text(self.characters('"').into_iter().map(|(ch, _)| ch).collect())
        } else if self.takes("[") {
            self.class()
        } else if self.takes("(") {
            let group = self.either();
            self.expect(")");
            group
        } else {
            Expr::Rule(self.name()?)
        };
        let (least, most) = match self.rest.chars().next() {
            Some('?') => (0, 1),
            Some('*') => (0, REPEATS_MAX),
            Some('+') => (1, REPEATS_MAX),
            _ => return Some(item),
        };
        self.rest = &self.rest[1..];
        Some(Expr::Repeat { what: Box::new(item), least, most })
    }

    fn class(&mut self) -> Expr {
        let negated = self.rest.starts_with('^');
        self.rest = &self.rest[usize::from(negated)..];
        let chars = self.characters(']');
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let is_range = chars.get(at + 1) == Some(&('-', false)) && at + 2 < chars.len();
            let to = if is_range { at + 2 } else { at };
            ranges.push((chars[at].0, chars[to].0));
            at = to + 1;
        }
        Expr::Class { negated, ranges }
    }

    /// The characters up to `end`, and whether each was escaped.
    fn characters(&mut self, end: char) -> Vec<(char, bool)> {
        let mut found = Vec::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().expect("a literal ends") {
                ch if ch == end => break,
                '\\' => {
                    let escaped = match chars.next().expect("an escape is complete") {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    };
                    found.push((escaped, true));
                }
                ch => found.push((ch, false)),
            }
        }
        self.rest = chars.as_str();
        found
    }
}
