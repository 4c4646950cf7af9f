//! The pictures of `railroad/` are drawn from `caddyfile.ebnf`, and the README shows all of them.
//!
//! After a change of the grammar run the tests with `TOLLGATE_BLESS=1` and look at the pictures.

mod draw;
mod ebnf;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("railroad")
}

#[test]
fn every_rule_has_its_picture_and_no_picture_is_old() {
    let grammar = ebnf::Grammar::of_the_caddyfile();
    let bless = std::env::var_os("TOLLGATE_BLESS").is_some();
    let mut wrong = Vec::new();
    for name in grammar.rules() {
        let file = folder().join(format!("{name}.svg"));
        let drawn = draw::railroad(name, grammar.rule(name));
        if bless {
            fs::write(&file, drawn).expect("the picture is written");
        } else if fs::read_to_string(&file).ok().as_deref() != Some(&drawn) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "pictures of these rules differ, TOLLGATE_BLESS=1 draws them: {wrong:?}");
    let files =
        fs::read_dir(folder()).expect("the folder of pictures").map(|entry| entry.expect("an entry").path());
    let drawn: BTreeSet<_> = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    assert_eq!(drawn, grammar.rules().map(str::to_owned).collect(), "a picture for each rule and no other");
}

#[test]
fn the_readme_shows_every_picture() {
    let readme = include_str!("../README.md");
    let grammar = ebnf::Grammar::of_the_caddyfile();
    let missing: Vec<_> =
        grammar.rules().filter(|name| !readme.contains(&format!("](railroad/{name}.svg)"))).collect();
    assert!(missing.is_empty(), "README.md does not show {missing:?}");
}
