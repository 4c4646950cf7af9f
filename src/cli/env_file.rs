//! Environment files: `NAME=value` lines, read before anything else.

use std::io;
use std::path::Path;

use super::Failure;
use super::flags::EnvFiles;

/// Why an environment file was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvFileError {
    /// It can't be read.
    #[error("reading environment file: {0}")]
    Read(#[from] io::Error),
    /// A line without `=`.
    #[error("line {0}: expected NAME=value")]
    NoValue(usize),
    /// A line that begins with `=`.
    #[error("line {0}: the name before `=` is missing")]
    NoName(usize),
    /// A name with a blank in it.
    #[error("line {0}: blank in the name `{1}`")]
    BlankInName(usize, String),
    /// A blank after `=`.
    #[error("line {0}: blank before the value")]
    BlankBeforeValue(usize),
    /// A name or a value that the system can't hold: it has a NUL byte.
    #[error("`{0}`: the name or the value has a NUL byte")]
    Nul(String),
}

/// Loads the files in order. What the environment holds already stays as it is, so the first file to
/// name a variable wins.
pub(super) fn load(env: &EnvFiles) -> Result<(), Failure> {
    for path in &env.files {
        load_file(path).map_err(|source| Failure::EnvFile { path: path.clone(), source })?;
    }
    Ok(())
}

fn load_file(path: &Path) -> Result<(), EnvFileError> {
    let bytes = std::fs::read(path)?;
    for (name, value) in parse(&String::from_utf8_lossy(&bytes))? {
        if name.contains('\0') || value.contains('\0') {
            return Err(EnvFileError::Nul(name));
        }
        if std::env::var_os(&name).is_none() {
            set(&name, &value);
        }
    }
    Ok(())
}

#[expect(unsafe_code, reason = "the standard library has no safe way to set a variable")]
pub(super) fn set(name: &str, value: &str) {
    // SAFETY: `set_var` is unsound only while another thread reads or writes the environment.
    // Commands run on the main thread, and load their files first of all, before a runtime or any
    // other thread exists (see `Command::run`). Neither argument has a NUL byte, and names have no `=`.
    unsafe { std::env::set_var(name, value) }
}

/// The variables of a file, in order.
///
/// Quoted values may go over several lines, with `\` before a quote that does not end them. In an
/// unquoted value `#` begins a comment. `export ` before a name is let pass.
fn parse(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(EnvFileError::NoValue(number))?;
        let name = name.strip_prefix("export ").unwrap_or(name);
        if name.is_empty() {
            return Err(EnvFileError::NoName(number));
        }
        if name.contains(' ') {
            return Err(EnvFileError::BlankInName(number, name.to_owned()));
        }
        if value.starts_with([' ', '\t']) {
            return Err(EnvFileError::BlankBeforeValue(number));
        }
        // The comment is cut off even within quotes, as in Caddy.
        let value = match value.split_once('#') {
            Some((before, _)) => before.trim_end_matches([' ', '\t']),
            None => value,
        };
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                quoted(value, line, quote, &mut lines.by_ref().map(|(_, line)| line))
            }
            _ => value.to_owned(),
        };
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// A quoted value: it goes on until a line ends in its quote, without `\` before it.
fn quoted(first: &str, line: &str, quote: char, lines: &mut dyn Iterator<Item = &str>) -> String {
    let escaped = format!("\\{quote}");
    let bare = quote.to_string();
    let ends = |line: &str| line.ends_with(quote) && !line.ends_with(&escaped);
    let mut value = first.to_owned();
    if !ends(line) {
        value = value.replace(&escaped, &bare);
        for more in lines {
            // The quotes lose their `\` before the end is looked for, as in Caddy.
            let more = more.replace(&escaped, &bare);
            value.push('\n');
            value.push_str(&more);
            if ends(&more) {
                break;
            }
        }
    }
    let inner = value.strip_prefix(quote).unwrap_or(&value);
    inner.strip_suffix(quote).unwrap_or(inner).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let got = parse(text).unwrap();
        let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[track_caller]
    fn refuse(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text:?}");
    }

    #[test]
    fn plain_lines() {
        check(
            "A=b\n\n  # note\n B=c d \nexport C=x=y\r\nD=",
            &[("A", "b"), ("B", "c d"), ("C", "x=y"), ("D", "")],
        );
    }

    #[test]
    fn comments_after_a_value() {
        check("A=b c  # note", &[("A", "b c")]);
        check("A=b#c", &[("A", "b")]);
    }

    #[test]
    fn quotes() {
        check("A=\"  b  \"\nB='c'\nC=\"\"", &[("A", "  b  "), ("B", "c"), ("C", "")]);
        check("A=\"b\n\tc\"\nB=d", &[("A", "b\n\tc"), ("B", "d")]);
        check("A=\"\\\"b\\\"\nc\"", &[("A", "\"b\"\nc")]);
        check("A=\"never ends\nB=c", &[("A", "never ends\nB=c")]);
    }

    #[test]
    fn the_last_line_of_a_name_counts() {
        check("A=b\nB=c\nA=d", &[("B", "c"), ("A", "d")]);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        refuse("A=b\nnonsense", "line 2: expected NAME=value");
        refuse("=b", "line 1: the name before `=` is missing");
        refuse("A B=c", "line 1: blank in the name `A B`");
        refuse("A= b", "line 1: blank before the value");
    }
}
