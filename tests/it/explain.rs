//! The routing tables of `adapt --explain`: `tests/explain/*.caddyfile`, with the table beside each.
//!
//! `TOLLGATE_BLESS=1 cargo nextest run explain` writes them anew; then read the diff.

use std::path::Path;
use std::process::Command;

use crate::support::{gateway_binary, repository, repository_text};

/// What `adapt --explain` prints of a file.
fn explained(folder: &Path, file: &str) -> String {
    let output = Command::new(gateway_binary())
        .args(["adapt", "--explain", "--config", file])
        .current_dir(folder)
        .env("OLLAMA_API_KEY", "sk-secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tables_are_what_their_files_say() {
    let folder = repository("tests/explain");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "caddyfile") {
            continue;
        }
        cases += 1;
        let table = explained(&folder, path.file_name().unwrap().to_str().unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::write(&expected, &table).unwrap();
        } else if std::fs::read_to_string(&expected).ok().as_ref() != Some(&table) {
            wrong.push(format!("{} should hold:\n{table}", expected.display()));
        }
    }
    assert!(cases > 3, "the cases were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_picture_of_the_documentation_is_what_comes_out() {
    let page = repository_text("docs/explain.md");
    let part = |language: &str| {
        let after = page.split_once(&format!("```{language}\n")).unwrap().1;
        after.split_once("```").unwrap().0.to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Caddyfile"), part("caddyfile")).unwrap();
    assert_eq!(explained(folder.path(), "Caddyfile"), part("text"));
}
