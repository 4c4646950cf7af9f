//! `fmt`: a Caddyfile in its one layout.

use std::path::{Path, PathBuf};

use similar::{ChangeTag, TextDiff};
use tollgate_grammar::{decode, first_unformatted_line, format, keeps_tokens};

use super::failure::warn;
use super::{Command, Failure, write_out};
use crate::app::source;

/// The flags of `fmt`.
#[derive(clap::Args)]
pub(super) struct Fmt {
    /// Configuration file
    #[arg(long, short, value_name = "path")]
    config: Option<PathBuf>,
    /// Overwrite the file with the result
    #[arg(long, short = 'w')]
    overwrite: bool,
    /// Print the differences between the file and the result
    #[arg(long, short)]
    diff: bool,
    /// The file; - is stdin
    #[arg(value_name = "file")]
    files: Vec<PathBuf>,
}

impl Command for Fmt {
    const NAME: &'static str = "fmt";
    const ABOUT: &'static str = "Formats a Caddyfile";
    const DETAILS: &'static str = "\
Prints a Caddyfile (./Caddyfile, if no other is named) with proper indentation and spaces; what it means stays \
the same. The exit code is 1 if the file was not formatted yet.

With --overwrite the result goes to the file. With --diff each line is marked: `-` is removed, `+` is added; \
this is for reading and is no patch. Of - (stdin) the result always goes to stdout.";

    fn run(self) -> Result<(), Failure> {
        let file = self.file()?;
        let text =
            source::read(file).map_err(|error| Failure::io(format!("reading {}", file.display()), error))?;
        let text = decode(&text);
        let laid_out = format(&text);
        if file == Path::new("-") {
            return write_out(laid_out.as_bytes());
        }
        if self.overwrite {
            if laid_out != text {
                if !keeps_tokens(&text, &laid_out) {
                    warn("the layout changes what the file means: compare it with the file before");
                }
                std::fs::write(file, laid_out)
                    .map_err(|error| Failure::io(format!("overwriting {}", file.display()), error))?;
            }
            return Ok(());
        }
        write_out(if self.diff { differences(&text, &laid_out) } else { laid_out }.as_bytes())?;
        match first_unformatted_line(&text) {
            None => Ok(()),
            Some(line) => Err(Failure::other(format!(
                "{}:{line}: Caddyfile input is not formatted; --overwrite updates it in place",
                file.display()
            ))),
        }
    }
}

impl Fmt {
    fn file(&self) -> Result<&Path, Failure> {
        let named = |path: &&PathBuf| !path.as_os_str().is_empty();
        let mut files = self.files.iter().chain(&self.config).filter(named);
        match (files.next(), files.next()) {
            (None, _) => Ok(Path::new(source::DEFAULT_FILE)),
            (Some(file), None) => Ok(file),
            (Some(_), Some(_)) => Err(Failure::other("fmt takes one file at a time")),
        }
    }
}

/// All lines of both texts, those of one alone with a mark.
fn differences(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.split('\n').collect();
    let new: Vec<&str> = new.split('\n').collect();
    let mut out = String::new();
    for change in TextDiff::from_slices(&old, &new).iter_all_changes() {
        out.push_str(match change.tag() {
            ChangeTag::Equal => "  ",
            ChangeTag::Delete => "- ",
            ChangeTag::Insert => "+ ",
        });
        out.push_str(change.value());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_marked() {
        let marked = differences(":80 {\nrespond hi\n}\n", ":80 {\n\trespond hi\n}\n");
        assert_eq!(marked, "  :80 {\n- respond hi\n+ \trespond hi\n  }\n  \n");
    }

    #[test]
    fn one_file_at_a_time() {
        let fmt = |files: &[&str], config: Option<&str>| Fmt {
            config: config.map(PathBuf::from),
            overwrite: false,
            diff: false,
            files: files.iter().map(PathBuf::from).collect(),
        };
        assert_eq!(fmt(&[], None).file().unwrap(), Path::new("Caddyfile"));
        assert_eq!(fmt(&["a"], None).file().unwrap(), Path::new("a"));
        assert_eq!(fmt(&[], Some("b")).file().unwrap(), Path::new("b"));
        assert!(fmt(&["a", "b"], None).file().is_err());
        assert!(fmt(&["a"], Some("b")).file().is_err());
    }
}
