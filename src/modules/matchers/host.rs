//! `host`: requests for these hosts, whatever their case and port.
//!
//! A `*` stands for one label of the name.
//!
//! ```caddyfile
//! http:// {
//! 	@docs host docs.example.com *.docs.example.com
//! 	respond @docs "documentation"
//! }
//! ```

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{arguments, decode, list};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::ascii_host;
use crate::config::schema::ModuleSchema;
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Need, Provision, ProvisionError, Template, Unknown,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "host <hosts...>", parse }],
    schemas: &[ModuleSchema::of::<Option<Vec<String>>>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "host";

/// So many hosts are compared one by one; more are looked up in a table.
const LIST_MAX: usize = 8;

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let is_label = |host: &str, at: usize| host[..at].ends_with(['.']) || at == 0;
    Ok(list(arguments(&mut reader.cursor, NAME, is_label)?))
}

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let said: Vec<String> = decode(NAME, json)?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let (mut exact, mut fuzzy) = (Vec::new(), Vec::new());
    for (index, host) in said.iter().enumerate() {
        let ascii = ascii_host(host);
        let lower = ascii.to_lowercase();
        if let Some(first) = seen.insert(lower.clone(), index) {
            return Err(ProvisionError::invalid(format!(
                "host at index {first} is repeated at index {index}: {host}"
            )));
        }
        if ascii.contains(['{', '*']) {
            fuzzy.push(Template::compile(&ascii, Unknown::Empty));
        } else {
            exact.push(lower.into_boxed_str());
        }
    }
    let exact = if exact.len() > LIST_MAX {
        Exact::Table(exact.into_iter().collect())
    } else {
        Exact::List(exact.into())
    };
    Ok(Box::new(Hosts { exact, fuzzy: fuzzy.into() }))
}

struct Hosts {
    exact: Exact,
    /// Those with placeholders or wildcards.
    fuzzy: Box<[Template]>,
}

/// Names in lower case.
enum Exact {
    List(Box<[Box<str>]>),
    Table(HashSet<Box<str>>),
}

impl Matcher for Hosts {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let host = x.bare_hostname();
        let found = match &self.exact {
            Exact::List(names) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
            Exact::Table(names) if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                names.contains(&*host.to_ascii_lowercase())
            }
            Exact::Table(names) => names.contains(host),
        };
        Ok(found || self.fuzzy.iter().any(|pattern| is_meant(&pattern.render_marked(x), host.as_bytes())))
    }

    fn cost_ns(&self) -> u32 {
        8
    }

    fn need(&self) -> Option<Need> {
        if !self.fuzzy.is_empty() {
            return None;
        }
        Some(Need::Host(match &self.exact {
            Exact::List(names) => names.to_vec(),
            Exact::Table(names) => names.iter().cloned().collect(),
        }))
    }
}

/// Whether `host` is what the pattern says, label by label. A `*` that came out of a placeholder is
/// no wildcard.
fn is_meant(pattern: &[(u8, bool)], host: &[u8]) -> bool {
    let mut labels = host.split(|byte| *byte == b'.');
    let mut patterns = pattern.split(|(byte, _)| *byte == b'.');
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return true,
            (Some([(b'*', true)]), Some(_)) => {}
            (Some(pattern), Some(label))
                if pattern.len() == label.len()
                    && pattern.iter().zip(label).all(|((a, _), b)| a.eq_ignore_ascii_case(b)) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{matcher, matches, routes};

    fn host(hosts: &[&str], sent: &str) -> bool {
        matches(NAME, &json!(hosts), &mut Exchange::get("/?q=*", &[("host", sent), ("x-h", "c.example")]))
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn names_match_label_by_label() {
        for (pattern, yes, no) in [
            (
                "a.example",
                vec!["a.example", "A.Example", "a.example:1234"],
                vec!["a.example.", "b.example", ""],
            ),
            ("*.wild.example", vec!["x.wild.example"], vec!["x.y.wild.example", "wild.example"]),
            ("api.*.example", vec!["api.x.example"], vec!["api.x.y.example"]),
            ("{http.request.header.x-h}", vec!["C.example"], vec!["d.example"]),
            ("{http.request.uri.query.q}.example", vec!["*.example"], vec!["a.example"]),
            ("::1", vec!["[::1]:80", "[::1]"], vec!["[::2]"]),
            ("*", vec!["localhost"], vec!["a.example"]),
        ] {
            for sent in yes {
                assert!(host(&[pattern], sent), "{pattern} {sent}");
            }
            for sent in no {
                assert!(!host(&[pattern], sent), "{pattern} {sent}");
            }
        }
    }

    #[test]
    fn many_hosts_match_as_few_do() {
        let names: Vec<String> = (0..200).map(|n| format!("H{n}.example")).collect();
        let many: Vec<&str> = names.iter().map(String::as_str).chain(["*.other.example"]).collect();
        for sent in ["h7.example", "H199.EXAMPLE:80", "x.other.example", "h200.example", "other.example"] {
            let few = many.iter().any(|one| host(&[one], sent));
            assert_eq!(host(&many, sent), few, "{sent}");
        }
    }

    #[test]
    fn a_host_that_is_there_twice_is_refused() {
        let error = matcher(NAME, &json!(["a.example", "b", "A.example"])).err().unwrap().to_string();
        assert!(error.ends_with("host at index 0 is repeated at index 2: A.example"), "{error}");
    }

    #[test]
    fn it_is_written_as_in_caddy() {
        // A site whose routes look at the host is a subroute.
        let site = routes("@m host a.example b.example\nrespond @m ok");
        let json = &site[0]["handle"][0]["routes"][0]["match"];
        assert_eq!(*json, json!([{"host": ["a.example", "b.example"]}]));
    }
}
