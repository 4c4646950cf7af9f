//! What people see when something is wrong: `tests/errors/*.txt`.
//!
//! Each file holds a Caddyfile, a line of ten dashes, and what `validate` says of it on stderr. Further files of the
//! folder stand behind lines `++++++++++ NAME`; `++++++++++ config.json` is checked in the Caddyfile's place. The
//! folder reads `DIR`. `TOLLGATE_BLESS=1 cargo nextest run errors::` writes the files anew; then read the diff.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{gateway_binary, repository};

const SEPARATOR: &str = "\n----------\n";
const FILE: &str = "++++++++++ ";

/// The case's files by name, and what is expected.
fn parts(text: &str) -> (Vec<(String, String)>, &str) {
    let (given, expected) = text.split_once(SEPARATOR).unwrap_or((text.trim_end(), ""));
    let mut files = vec![("Caddyfile".to_owned(), String::new())];
    for line in given.lines() {
        match line.strip_prefix(FILE) {
            Some(name) => files.push((name.to_owned(), String::new())),
            None => {
                let (_, text) = files.last_mut().expect("there is the Caddyfile");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    (files, expected)
}

/// What `validate` says of these files, and whether it takes them.
fn said(files: &[(String, String)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut main = "Caddyfile";
    for (name, text) in files {
        if name == "config.json" {
            main = "config.json";
        }
        std::fs::write(folder.path().join(name), text).expect("write");
    }
    let mut command = Command::new(gateway_binary());
    command.args(["validate", "--config", main]).current_dir(folder.path()).env_clear();
    command.env("HOME", folder.path()).env("EMPTY", "").env("KEY", "sk-12345678").env("LIST", "one two");
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder = folder.path().canonicalize().expect("the folder");
    (output.status.success(), text.replace(&*folder.to_string_lossy(), "DIR"))
}

fn cases() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(repository("tests/errors"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// What is wrong with a case, if anything is.
fn problem(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).expect("the case");
    let (files, expected) = parts(&text);
    let (accepted, got) = said(&files);
    // A name says whether the file is refused or only warned about.
    let is_warning = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("warn_"));
    if accepted != is_warning {
        return Some(format!("{}: accepted is {accepted}\n{got}", path.display()));
    }
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        let given = text.split_once(SEPARATOR).map_or(text.trim_end(), |(given, _)| given);
        std::fs::write(path, format!("{given}{SEPARATOR}{got}")).expect("write");
    } else if got != expected {
        return Some(format!("{}:\n{got}", path.display()));
    }
    None
}

#[test]
fn every_mistake_is_shown_as_its_file_says() {
    let cases = cases();
    assert!(cases.len() >= 60, "the files were not found");
    let wrong: Vec<String> = cases.iter().filter_map(|path| problem(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
