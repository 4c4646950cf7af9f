//! The parser obeys `caddyfile.ebnf`.
//!
//! Each file of `accept/` and `reject/` begins with a comment that names the rules it is about. Beside `x.caddyfile`
//! stands what it means, `x.tree`, or the error it meets, `x.error`. After a change that is meant, run the tests with
//! `UPDATE_CASES=1` and read the difference.

mod ebnf;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate_grammar::{decode, parse};
use world::{Shelf, env};

/// The cases of a folder, in order.
fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder of cases");
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "caddyfile"));
    cases.sort();
    cases
}

/// Compares with the file beside the case, or writes it.
fn compare(case: &Path, extension: &str, got: &str, wrong: &mut Vec<String>) {
    let file = case.with_extension(extension);
    if std::env::var_os("UPDATE_CASES").is_some() {
        fs::write(&file, got).expect("the expectation is written");
    } else if fs::read_to_string(&file).ok().as_deref() != Some(got) {
        wrong.push(format!("{} should hold:\n{got}", file.display()));
    }
}

fn text_of(case: &Path) -> String {
    decode(&fs::read(case).expect("the case"))
}

#[test]
fn what_the_rules_allow_is_accepted_and_means_what_its_tree_says() {
    let mut wrong = Vec::new();
    for case in cases("accept") {
        match parse("Caddyfile", &text_of(&case), &env, &Shelf) {
            Ok(parsed) => compare(&case, "tree", &parsed.to_string(), &mut wrong),
            Err(error) => wrong.push(format!("{}:\n{}", case.display(), error.render(false))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_rules_forbid_is_refused_with_a_mark_under_the_spot() {
    let mut wrong = Vec::new();
    for case in cases("reject") {
        match parse("Caddyfile", &text_of(&case), &env, &Shelf) {
            Ok(parsed) => wrong.push(format!("{} is accepted:\n{parsed}", case.display())),
            Err(error) => {
                let shown = format!("{}\n\n{error}\n", error.render(false));
                compare(&case, "error", &shown, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case_that_keeps_it_and_one_that_breaks_it() {
    let grammar = ebnf::Grammar::of_the_caddyfile();
    let rules: BTreeSet<&str> = grammar.rules().collect();
    for folder in ["accept", "reject"] {
        let mut named = BTreeSet::new();
        for case in cases(folder) {
            let text = text_of(&case);
            let comment =
                text.lines().next().and_then(|line| line.trim_start_matches('\u{feff}').strip_prefix("# "));
            let list = comment
                .and_then(|line| line.split_once(':'))
                .expect("a case begins with '# RULE, RULE: why'")
                .0;
            for rule in list.split(", ") {
                assert!(rules.contains(rule), "{}: there is no rule {rule}", case.display());
                named.insert(rule.to_owned());
            }
        }
        let missing: Vec<_> = rules.iter().filter(|rule| !named.contains(**rule)).collect();
        assert!(missing.is_empty(), "{folder}/ has no case for {missing:?}");
    }
}

#[test]
fn sentences_made_from_the_rules_are_accepted() {
    let grammar = ebnf::Grammar::of_the_caddyfile();
    // An address may not vanish because its variable is not set.
    let env = |_: &str| Some("set".to_owned());
    for seed in 0..3000 {
        let sentence = grammar.sentence(seed);
        if let Err(error) = parse("Caddyfile", &sentence, &env, &Shelf)
            && !sentence.is_empty()
        {
            panic!("seed {seed}:\n{}\n{sentence:?}", error.render(false));
        }
    }
}

#[test]
fn the_examples_of_the_readme_are_caddyfiles() {
    let readme = include_str!("../README.md");
    let examples: Vec<&str> = readme
        .split("```caddyfile\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end"))
        .collect();
    assert!(examples.len() > 5);
    for example in examples {
        if let Err(error) = parse("Caddyfile", example, &env, &Shelf) {
            panic!("{}\n{example}", error.render(false));
        }
    }
}
