//! `grammar/caddyfile.tmLanguage.json`: how editors colour a Caddyfile, made of the names in the registry.
//!
//! `TOLLGATE_BLESS=1 cargo nextest run highlight` writes it anew.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};
use tollgate::modules;

use crate::support::{repository, repository_text};

const FILE: &str = "grammar/caddyfile.tmLanguage.json";

/// Words that begin a line, by what they are.
struct Names {
    directives: BTreeSet<String>,
    options: BTreeSet<String>,
    matchers: BTreeSet<String>,
    /// What stands in the block of something.
    inner: BTreeSet<String>,
}

impl Names {
    fn read() -> Names {
        let registry = modules::registry();
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let mut inner = BTreeSet::new();
        for module in &registry.modules {
            inner.extend(module.directives.iter().flat_map(|row| words(row.syntax)));
            inner.extend(module.options.iter().flat_map(|row| words(row.syntax)));
            inner.extend(module.matcher_syntax.iter().flat_map(|row| words(row.syntax)));
            inner.extend(module.submodules.iter().flat_map(|row| words(row.syntax)));
        }
        Names {
            directives: owned(registry.vocabulary.directive_names()),
            options: owned(registry.vocabulary.option_names()),
            matchers: owned(registry.vocabulary.matcher_names()),
            inner,
        }
    }
}

/// The words that begin the lines of a block, by how something is written.
fn words(syntax: &str) -> BTreeSet<String> {
    let lines = syntax.lines().filter_map(|line| line.strip_prefix('\t'));
    let firsts = lines.filter_map(|line| line.split_whitespace().next());
    let is_name = |word: &&str| {
        word.starts_with(|ch: char| ch.is_ascii_alphanumeric())
            && word.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_')
    };
    firsts.flat_map(|first| first.split('|')).filter(is_name).map(str::to_owned).collect()
}

/// A rule for words that begin a line.
fn line_begins(names: &BTreeSet<String>, scope: &str) -> Value {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    json!({ "match": format!("^\\s*({})(?=\\s|$)", names.join("|")), "captures": { "1": { "name": scope } } })
}

fn rule(pattern: &str, scope: &str) -> Value {
    json!({ "match": pattern, "name": scope })
}

fn include(name: &str) -> Value {
    json!({ "include": format!("#{name}") })
}

/// A block in braces.
fn block(begin: &str, within: Value) -> Value {
    json!({
        "begin": begin, "end": "^\\s*(\\})",
        "beginCaptures": { "1": { "name": "punctuation.section.block.begin.caddyfile" } },
        "endCaptures": { "1": { "name": "punctuation.section.block.end.caddyfile" } },
        "patterns": within
    })
}

fn generate() -> Value {
    let names = Names::read();
    let all = ["comment", "options", "snippet", "import", "block", "lines", "words"].map(include);
    let options = json!([
        include("comment"),
        include("import"),
        line_begins(&names.options, "support.type.property-name.option.caddyfile"),
        include("block"),
        include("words")
    ]);
    json!({
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "Caddyfile",
        "scopeName": "source.caddyfile",
        "fileTypes": ["Caddyfile", "caddyfile", "caddy"],
        "patterns": all,
        "repository": {
            "comment": rule("(?:^|(?<=\\s))#.*$", "comment.line.number-sign.caddyfile"),
            "options": block("^\\s*(\\{)\\s*$", options),
            "block": block(
                "(?<=\\s|^)(\\{)(?=\\s*(?:#.*)?$)",
                json!(["comment", "import", "block", "lines", "words"].map(include))
            ),
            "snippet": rule("^\\s*&?\\([A-Za-z0-9_./-]+\\)(?=\\s)", "entity.name.section.snippet.caddyfile"),
            "import": {
                "match": "^\\s*(import)\\s+(\\S+)",
                "captures": {
                    "1": { "name": "keyword.control.import.caddyfile" },
                    "2": { "name": "entity.name.section.snippet.caddyfile" }
                }
            },
            "lines": { "patterns": lines(&names) },
            "words": { "patterns": words_anywhere() },
            "variable": {
                "match": "\\{\\$([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\\}",
                "name": "variable.other.environment.caddyfile",
                "captures": { "2": { "name": "string.unquoted.default.caddyfile" } }
            },
            "placeholder": rule(
                "\\{(?:args\\[[0-9:]+\\]|blocks?(?:\\.[^}\\s]+)?|[a-z][A-Za-z0-9_.%/-]*)\\}",
                "variable.language.placeholder.caddyfile"
            ),
            "heredoc": {
                "begin": "(?<=\\s)<<([A-Za-z0-9_-]+)\\s*$", "end": "^\\s*\\1(?=\\s|$)",
                "name": "string.unquoted.heredoc.caddyfile",
                "patterns": [include("variable"), include("placeholder")]
            }
        }
    })
}

/// What begins a line inside a block.
fn lines(names: &Names) -> Value {
    json!([
        {
            "match": format!("^\\s*(@\\S+)(?:\\s+({})(?=\\s|$))?", join(&names.matchers)),
            "captures": {
                "1": { "name": "entity.name.tag.matcher.caddyfile" },
                "2": { "name": "support.function.matcher.caddyfile" }
            }
        },
        line_begins(&names.directives, "keyword.control.directive.caddyfile"),
        line_begins(&names.inner, "support.type.property-name.caddyfile"),
        line_begins(&names.matchers, "support.function.matcher.caddyfile")
    ])
}

/// What may stand anywhere.
fn words_anywhere() -> Value {
    json!([
        include("variable"), include("placeholder"), include("heredoc"),
        {
            "begin": "(?<=\\s|^)\"", "end": "\"", "name": "string.quoted.double.caddyfile",
            "patterns": [
                rule("\\\\\"", "constant.character.escape.caddyfile"),
                include("variable"), include("placeholder")
            ]
        },
        {
            "begin": "(?<=\\s|^)`", "end": "`", "name": "string.quoted.other.backquote.caddyfile",
            "patterns": [include("variable"), include("placeholder")]
        },
        rule("(?<=\\s)@[^\\s{}]+", "entity.name.tag.matcher.caddyfile"),
        rule("\\\\$", "constant.character.escape.continuation.caddyfile"),
        rule(
            "(?<=\\s)[+-]?[0-9]+(?:\\.[0-9]+)?(?:ns|us|ms|s|m|h|d|[KMGTkmgt]?i?B)?(?=\\s|$)",
            "constant.numeric.caddyfile"
        )
    ])
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join("|")
}

#[test]
fn the_highlighting_knows_every_name_of_the_registry() {
    let text = serde_json::to_string_pretty(&generate()).unwrap() + "\n";
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(repository(FILE), text).unwrap();
        return;
    }
    let message = "write it anew: TOLLGATE_BLESS=1 cargo nextest run highlight";
    assert!(repository_text(FILE) == text, "{FILE} is out of date; {message}");
}

/// All patterns of the file, with the part of look-around that this library can't read taken out.
fn patterns(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("match" | "begin" | "end", Value::String(pattern)) => found.push(pattern.clone()),
                    _ => patterns(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| patterns(value, found)),
        _ => {}
    }
}

/// Without look-around and references to what `begin` found, which editors have and this library has not.
fn plain(pattern: &str) -> Regex {
    let mut plain = pattern.replace("\\1", "END");
    for around in ["(?<=\\s|^)", "(?<=\\s)", "(?:^|(?<=\\s))"] {
        plain = plain.replace(around, "");
    }
    let plain = plain.replace("(?=\\s*(?:#.*)?$)", "\\s*(?:#.*)?$").replace("(?=", "(?:");
    Regex::new(&plain).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

#[test]
fn every_pattern_is_sound_and_finds_its_words() {
    let grammar = generate();
    let mut all = Vec::new();
    patterns(&grammar, &mut all);
    assert!(all.len() > 15, "the patterns were not found");
    let all: Vec<Regex> = all.iter().map(|pattern| plain(pattern)).collect();
    let found = |line: &str, part: &str| {
        let parts = all.iter().filter_map(|pattern| pattern.captures(line));
        parts
            .flat_map(|captures| {
                captures.iter().flatten().map(|found| found.as_str().to_owned()).collect::<Vec<_>>()
            })
            .any(|found| found.trim() == part)
    };
    let names = Names::read();
    for name in names.directives.iter().chain(&names.options).chain(&names.matchers).chain(&names.inner) {
        assert!(found(&format!("\t{name} x"), name), "{name}");
    }
    for (line, part) in [
        ("# a comment", "# a comment"),
        ("(security) {", "(security)"),
        ("\timport security x", "import"),
        ("\t@api path /api/*", "@api"),
        ("\trespond \"{$KEY:none}\"", "{$KEY:none}"),
        ("\trespond {http.request.uri}", "{http.request.uri}"),
        ("\trespond {args[0]}", "{args[0]}"),
        ("\trespond <<HTML", "<<HTML"),
        ("\tgrace_period 10s", "10s"),
        ("\thandle {", "{"),
    ] {
        assert!(found(line, part), "{part} in {line}");
    }
    assert!(!found("\treverse_proxyy x", "reverse_proxy"));
}

#[test]
fn words_of_a_block_are_taken_from_how_it_is_written() {
    let expected = BTreeSet::from(["health_uri", "root", "intermediate"].map(str::to_owned));
    assert_eq!(
        words("x [<matcher>] {\n\thealth_uri <uri>\n\troot|intermediate {\n\t\t...\n\t}\n\t<any>\n}"),
        expected
    );
}
