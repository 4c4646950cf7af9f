//! Where a configuration comes from: a file or stdin, as JSON or through an adapter.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::adapter::{self, AdaptError, Warning};
use crate::config;
use crate::module::Registry;

/// The file that is taken from the working directory when none is named.
pub const DEFAULT_FILE: &str = "Caddyfile";

/// A configuration that was read, and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; null if there is none.
    pub json: Value,
    /// Where it came from; nothing if no file was named and there is no Caddyfile here.
    pub origin: Option<Origin>,
    /// What the adapter found odd.
    pub warnings: Vec<Warning>,
}

/// The file that a configuration was read from, so that it can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its path; `-` for stdin.
    pub file: PathBuf,
    /// The adapter that it went through; empty for JSON.
    pub adapter: String,
}

/// Why a configuration can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An adapter was named, but no file.
    #[error("cannot adapt config without config file (use --config)")]
    AdapterWithoutFile,
    /// The file can't be read.
    #[error("reading config from {}: {source}", if file.as_os_str() == "-" { "stdin".into() } else { file.display().to_string() })]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It does not adapt.
    #[error(transparent)]
    Adapt(#[from] AdaptError),
    /// It is neither JSON nor known as anything else.
    #[error("{} is not valid JSON: {source}; did you mean to use a config adapter (the --adapter flag)?", file.display())]
    NotJson {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads the configuration in `file`, or in the Caddyfile of the working directory if there is one.
///
/// # Errors
/// [`SourceError`]. That there is no file at all is none.
pub fn load(registry: &Registry, file: Option<&Path>, adapter: Option<&str>) -> Result<Loaded, SourceError> {
    let adapter = adapter.filter(|name| !name.is_empty());
    let file = match (file.filter(|file| !file.as_os_str().is_empty()), adapter) {
        (Some(file), _) => file,
        (None, Some(_)) => return Err(SourceError::AdapterWithoutFile),
        (None, None) => Path::new(DEFAULT_FILE),
    };
    let text = match read(file) {
        Ok(text) => text,
        Err(source) => {
            if source.kind() == io::ErrorKind::NotFound
                && file == Path::new(DEFAULT_FILE)
                && adapter.is_none()
            {
                return Ok(Loaded { json: Value::Null, origin: None, warnings: Vec::new() });
            }
            return Err(SourceError::Read { file: file.to_owned(), source });
        }
    };
    let adapter = adapter.unwrap_or(if is_caddyfile(file) { adapter::CADDYFILE } else { "" });
    let origin = Some(Origin { file: file.to_owned(), adapter: adapter.to_owned() });
    if adapter.is_empty() {
        let json =
            parse_json(&text).map_err(|source| SourceError::NotJson { file: file.to_owned(), source })?;
        return Ok(Loaded { json, origin, warnings: Vec::new() });
    }
    let adapted = adapter::adapt(registry, adapter, &file.to_string_lossy(), &text)?;
    if let Some(error) = adapted.not_runnable {
        return Err(AdaptError::Caddyfile(error).into());
    }
    Ok(Loaded { json: adapted.json, origin, warnings: adapted.warnings })
}

/// Reads a file; `-` is stdin.
///
/// # Errors
/// Those of the system.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        return Ok(text);
    }
    std::fs::read(file)
}

/// Reads a configuration's JSON. An empty text is no configuration.
///
/// # Errors
/// It is no JSON.
pub fn parse_json(text: &[u8]) -> Result<Value, serde_json::Error> {
    if text.is_empty() { Ok(Value::Null) } else { config::parse_json(text) }
}

/// Whether a file's name says that it is a Caddyfile.
fn is_caddyfile(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    !name.ends_with(".json") && (name.starts_with("caddyfile") || name.ends_with(".caddyfile"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    #[test]
    fn a_name_says_what_a_file_is() {
        for name in
            ["Caddyfile", "caddyfile.prod", "/etc/caddy/Caddyfile", "gate.caddyfile", "Caddyfile.yaml"]
        {
            assert!(is_caddyfile(Path::new(name)), "{name}");
        }
        for name in ["gate.conf", "Caddyfile.json", "my.Caddyfile.json", "notcaddyfile", "-"] {
            assert!(!is_caddyfile(Path::new(name)), "{name}");
        }
    }

    fn load_text(name: &str, text: &str, adapter: Option<&str>) -> Result<Loaded, SourceError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        load(&modules::registry(), Some(&file), adapter)
    }

    #[test]
    fn caddyfiles_are_adapted_and_json_is_taken_as_it_is() {
        let loaded = load_text("Caddyfile", ":80 {\n\trespond hi\n}\n", None).unwrap();
        assert_eq!(loaded.origin.unwrap().adapter, "caddyfile");
        assert!(loaded.json["apps"]["http"].is_object());
        let loaded = load_text("x", r#"{"admin":{"disabled":true}}"#, None).unwrap();
        assert_eq!(loaded.origin.unwrap().adapter, "");
        assert_eq!(loaded.json["admin"]["disabled"], true);
        let loaded = load_text("x", ":80 {\n\trespond hi\n}\n", Some("caddyfile")).unwrap();
        assert!(loaded.json["apps"]["http"].is_object());
        assert_eq!(load_text("x.json", "", None).unwrap().json, Value::Null);
    }

    #[test]
    fn what_is_neither_says_how_to_go_on() {
        let error = load_text("site.conf", ":80 {\n}\n", None).unwrap_err().to_string();
        assert!(error.contains("site.conf is not valid JSON") && error.contains("--adapter"), "{error}");
        let error = load(&modules::registry(), None, Some("caddyfile")).unwrap_err().to_string();
        assert!(error.contains("--config"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            load(&modules::registry(), Some(Path::new("nowhere.conf")), None).unwrap_err().to_string();
        assert!(error.contains("nowhere.conf"), "{error}");
    }
}
