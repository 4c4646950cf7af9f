//! The environment and files that the cases see.

use std::io;
use std::path::{Path, PathBuf};

use tollgate_grammar::{DiskFiles, Files};

/// The variables that are set; each shows another danger.
pub fn env(name: &str) -> Option<String> {
    let value = match name {
        "HOST" => "example.com",
        "LIST" => "one two",
        "LINES" => "first 1\nsecond 2",
        "EMPTY" => "",
        "KEY" => "sk-\" {\n}#\\",
        "OPEN" => "\"never closed",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The files of `accept/imported`, as if they lay in `/srv/imported`, and the Caddyfile in `/srv`.
pub struct Shelf;

fn on_disk(path: &str) -> PathBuf {
    let name = path.strip_prefix("/srv/").unwrap_or("nowhere");
    Path::new(env!("CARGO_MANIFEST_DIR")).join("accept").join(name)
}

impl Files for Shelf {
    fn absolute(&self, path: &str) -> io::Result<String> {
        Ok(if path.starts_with('/') { path.to_owned() } else { format!("/srv/{path}") })
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        DiskFiles.read(&on_disk(path).to_string_lossy())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        DiskFiles.list(&on_disk(directory).to_string_lossy())
    }

    fn exists(&self, path: &str) -> bool {
        on_disk(path).exists()
    }
}
