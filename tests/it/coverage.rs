//! Every name that a Caddyfile can hold has a golden in `tests/adapt` that uses it, and with success if it can have it.

use std::collections::BTreeSet;

use crate::support::repository;

/// A name as what it is used.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    Directive(String),
    Matcher(String),
    GlobalOption(String),
}

/// Options that name a module of which neither Caddy nor this gateway has one: only their errors can be shown.
const NEED_A_PLUGIN: &[&str] = &["acme_dns", "dns", "filesystem"];

/// What a Caddyfile uses, by its lines: goldens are laid out, and have one thing to a line.
pub fn uses(caddyfile: &str) -> BTreeSet<Use> {
    let mut found = BTreeSet::new();
    // What the blocks are that the line stands in.
    let mut open: Vec<&str> = Vec::new();
    for line in caddyfile.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "}" {
            open.pop();
            continue;
        }
        match open.as_slice() {
            ["options"] => _ = found.insert(Use::GlobalOption(first.to_owned())),
            [.., "matcher"] => _ = found.insert(Use::Matcher(first.to_owned())),
            [.., "options"] | ["options", ..] | [] => {}
            _ if first.starts_with('@') => {
                let name = words.clone().next().filter(|word| *word != "{");
                found.extend(name.map(|name| Use::Matcher(name.to_owned())));
            }
            _ => _ = found.insert(Use::Directive(first.to_owned())),
        }
        if line == "{" || line.ends_with(" {") {
            open.push(match first {
                "{" => "options",
                _ if first.starts_with('@') => "matcher",
                _ => "block",
            });
        }
    }
    found
}

#[test]
fn uses_are_told_apart() {
    let text = "{\n\tdebug\n\tlog {\n\t\tlevel x\n\t}\n}\n:80 {\n\t@a {\n\t\tpath /x\n\t}\n\t@b host x\n\trespond ok\n}\n";
    let expected = [
        Use::Directive("respond".into()),
        Use::Matcher("host".into()),
        Use::Matcher("path".into()),
        Use::GlobalOption("debug".into()),
        Use::GlobalOption("log".into()),
    ];
    assert_eq!(uses(text), BTreeSet::from(expected));
}

#[test]
fn every_name_has_a_golden() {
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(repository("tests/adapt")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some((caddyfile, outcome)) = text.split_once("\n----------\n") else { continue };
        let succeeds = outcome.starts_with('{');
        let counts = |used: &Use| {
            succeeds || matches!(used, Use::GlobalOption(name) if NEED_A_PLUGIN.contains(&name.as_str()))
        };
        used.extend(uses(caddyfile).into_iter().filter(counts));
    }
    let vocabulary = tollgate::modules::registry().vocabulary;
    let directives = vocabulary.directive_names().into_iter().map(|name| Use::Directive(name.to_owned()));
    let matchers = vocabulary.matcher_names().into_iter().map(|name| Use::Matcher(name.to_owned()));
    let options = vocabulary.option_names().into_iter().map(|name| Use::GlobalOption(name.to_owned()));
    let missing: Vec<Use> =
        directives.chain(matchers).chain(options).filter(|name| !used.contains(name)).collect();
    assert!(missing.is_empty(), "tests/adapt has no golden that uses {missing:#?}");
}
