//! Rules of this repository that no compiler checks: layers, sizes, rows, leftovers.
//!
//! Each rule is a function from a file to its complaints, and has an example that it complains about.

use std::path::{Path, PathBuf};

/// The layers, bottom up. A layer imports only from those before it.
const LAYERS: &[&str] = &[
    "memory",
    "config",
    "adapt",
    "log",
    "metrics",
    "fetch",
    "dns",
    "tls",
    "acme",
    "gotemplate",
    "http",
    "module",
    "modules",
    "app",
    "demo",
    "cli",
];

/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;

/// The most lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer, as `file:name`, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

struct File {
    /// Its path from the root of the repository, with `/`.
    path: String,
    text: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Its text up to the unit tests, which may use what lies above.
    fn product(&self) -> &str {
        self.text.split_once("\n#[cfg(test)]\nmod ").map_or(&self.text, |(product, _)| product)
    }

    /// The layer it belongs to, if it is part of the gateway.
    fn layer(&self) -> Option<usize> {
        let name = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        LAYERS.iter().position(|layer| *layer == name)
    }
}

fn imports_upwards(file: &File) -> Vec<String> {
    let Some(own) = file.layer() else { return Vec::new() };
    let mut complaints = Vec::new();
    for (line, text) in code_lines(file.product()) {
        for (higher, layer) in LAYERS.iter().enumerate().skip(own + 1) {
            let path = format!("crate::{layer}");
            let follows = text.find(&path).map(|at| text[at + path.len()..].chars().next());
            if follows.is_some_and(|next| !next.is_some_and(|ch| ch.is_alphanumeric() || ch == '_')) {
                complaints.push(format!(
                    "{}:{line}: `{}` is below `{}` and must not import it",
                    file.path, LAYERS[own], LAYERS[higher]
                ));
            }
        }
    }
    complaints
}

fn is_too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let allowed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
    if lines <= FILE_LINES_MAX || allowed {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, more than {FILE_LINES_MAX}", file.path)]
}

fn has_long_functions(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if line.ends_with(';') {
            // A trait's, without a body.
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indent}}}");
        let Some(length) = lines[at..].iter().position(|line| *line == close) else { continue };
        let allowed = LONG_FUNCTIONS.iter().any(|(path, _)| *path == format!("{}:{name}", file.path));
        if length + 1 > FUNCTION_LINES_MAX && !allowed {
            complaints.push(format!(
                "{}:{}: `{name}` has {} lines, more than {FUNCTION_LINES_MAX}",
                file.path,
                at + 1,
                length + 1
            ));
        }
    }
    complaints
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe ", "extern \"C\" "];
    loop {
        let scoped = rest.strip_prefix("pub(in ").and_then(|scoped| scoped.split_once(") "));
        let shorter = words.iter().find_map(|word| rest.strip_prefix(word));
        match scoped.map(|(_, rest)| rest).or(shorter) {
            Some(shorter) => rest = shorter,
            None => break,
        }
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn has_leftovers(file: &File) -> Vec<String> {
    let leftovers =
        [concat!("dbg", "!("), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut complaints = Vec::new();
    for (line, text) in file.text.lines().enumerate() {
        for leftover in leftovers.iter().filter(|leftover| text.contains(**leftover)) {
            complaints.push(format!("{}:{}: `{leftover}` is left over", file.path, line + 1));
        }
    }
    complaints
}

/// Files of a folder of modules that its table doesn't list. `table` is the folder's `mod.rs`.
fn has_no_row(table: &File, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .filter(|name| {
            let row = format!("&{name}::");
            let is_row =
                |at: usize| table.text[at + row.len()..].starts_with(|ch: char| ch.is_ascii_uppercase());
            !table.text.match_indices(&row).any(|(at, _)| is_row(at))
        })
        .map(|name| format!("{}: no row for `{name}`", table.path))
        .collect()
}

/// Lines with their numbers, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.split_once("//").map_or(line, |(code, _)| code)))
        .filter(|(_, code)| !code.trim().is_empty())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below some folders.
fn files(folders: &[&str]) -> Vec<File> {
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            files.push(File { path: name, text: std::fs::read_to_string(&path).unwrap() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 10, "the files were not found");
    files
}

fn check(rule: fn(&File) -> Vec<String>, folders: &[&str]) {
    let complaints: Vec<String> = files(folders).iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

const ALL: &[&str] = &["src", "grammar/src", "grammar/tests", "tests"];
const PRODUCT: &[&str] = &["src", "grammar/src"];

#[test]
fn layers_import_downwards_only() {
    let upwards = File::new("src/config/x.rs", "use crate::http::Body;\n");
    assert_eq!(imports_upwards(&upwards).len(), 1);
    let one_line = File::new("src/http/x.rs", "fn f() -> crate::modules::X {}\n");
    assert_eq!(imports_upwards(&one_line).len(), 1);
    let downwards =
        File::new("src/http/x.rs", "use crate::config::http;\nuse crate::httpish;\n// crate::app\n");
    assert_eq!(imports_upwards(&downwards).len(), 0);
    let in_tests =
        File::new("src/adapt/x.rs", "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::app::X;\n}\n");
    assert_eq!(imports_upwards(&in_tests).len(), 0);
    check(imports_upwards, PRODUCT);
}

#[test]
fn files_stay_short() {
    assert_eq!(is_too_long(&File::new("src/x.rs", &"//\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
    assert_eq!(is_too_long(&File::new("src/x.rs", &"//\n".repeat(FILE_LINES_MAX))).len(), 0);
    check(is_too_long, ALL);
}

#[test]
fn functions_stay_short() {
    let function = |lines: usize| {
        format!(
            "impl X {{\n    pub(in crate::x) async fn f() {{\n{}    }}\n}}\n",
            "        g();\n".repeat(lines)
        )
    };
    assert_eq!(has_long_functions(&File::new("src/x.rs", &function(FUNCTION_LINES_MAX - 1))).len(), 1);
    assert_eq!(has_long_functions(&File::new("src/x.rs", &function(FUNCTION_LINES_MAX - 2))).len(), 0);
    check(has_long_functions, ALL);
}

#[test]
fn nothing_is_left_over() {
    let file = File::new("src/x.rs", concat!("dbg", "!(x);\n// FIX", "ME later\n"));
    assert_eq!(has_leftovers(&file).len(), 2);
    check(has_leftovers, ALL);
}

/// Whether a file is no module, but something that modules of its folder share.
fn is_shared(path: &Path, table: &File) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    path.is_file()
        && table.text.contains(&format!("mod {name};"))
        && !std::fs::read_to_string(path).unwrap().contains("MODULE: Module")
}

#[test]
fn every_module_has_a_row() {
    let table =
        File::new("mod.rs", "mod a;\nmod b;\nstatic TABLE: &[&Module] = &[&a::MODULE, &b::helper];\n");
    assert_eq!(has_no_row(&table, &["a"]).len(), 0);
    assert_eq!(has_no_row(&table, &["a", "b"]).len(), 1);
    let mut folders = 0;
    let mut complaints = Vec::new();
    for entry in std::fs::read_dir(root().join("src/modules")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        folders += 1;
        let path = folder.join("mod.rs");
        let table = File::new(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        let names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !is_shared(path, &table))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "mod")
            .collect();
        complaints.extend(has_no_row(&table, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    assert!(folders > 1, "the folders were not found");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
