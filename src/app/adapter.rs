//! Config adapters by name: forms other than JSON that a configuration may be written in.

use serde::Serialize;
use serde_json::Value;
use tollgate_grammar::{DiskFiles, Mistakes, ProcessEnv, decode, first_unformatted_line};

use crate::adapt;
use crate::module::Registry;

/// The one adapter there is.
pub const CADDYFILE: &str = "caddyfile";

/// An adapted configuration.
#[derive(Debug)]
pub struct Adapted {
    /// The configuration in Caddy's JSON.
    pub json: Value,
    /// What is allowed but odd.
    pub warnings: Vec<Warning>,
    /// What is in it that can be written but not run so far, with the places.
    pub not_runnable: Option<adapt::Error>,
}

/// Something that is allowed but probably not meant, in Caddy's JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file; empty if it is about no place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line, from 1; 0 if it is about no line.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// What is odd.
    pub message: String,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(line: &u32) -> bool {
    *line == 0
}

/// Why a configuration could not be adapted.
#[derive(Debug, thiserror::Error)]
pub enum AdaptError {
    /// There is no such adapter.
    #[error("unrecognized config adapter: {0}")]
    UnknownAdapter(String),
    /// The Caddyfile is wrong; the error knows where.
    #[error("adapting config using {CADDYFILE}: {0}")]
    Caddyfile(adapt::Error),
    /// The result can't be written as JSON.
    #[error("encoding the adapted config: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Checks that there is an adapter of that name.
///
/// # Errors
/// [`AdaptError::UnknownAdapter`].
pub fn check_name(adapter: &str) -> Result<(), AdaptError> {
    if adapter == CADDYFILE { Ok(()) } else { Err(AdaptError::UnknownAdapter(adapter.to_owned())) }
}

/// Adapts `text` with the adapter of that name. `file` is its path as errors show it, and where
/// relative imports start.
///
/// # Errors
/// [`AdaptError`].
pub fn adapt(registry: &Registry, adapter: &str, file: &str, text: &[u8]) -> Result<Adapted, AdaptError> {
    explain(registry, adapter, file, text, false).map(|(adapted, _)| adapted)
}

/// Adapts `text` like [`adapt()`], with an outline of what it serves if one is wanted.
///
/// # Errors
/// [`AdaptError`].
pub fn explain(
    registry: &Registry,
    adapter: &str,
    file: &str,
    text: &[u8],
    wants_outline: bool,
) -> Result<(Adapted, Option<adapt::Outline>), AdaptError> {
    check_name(adapter)?;
    let text = decode(text);
    let vocabulary = &registry.vocabulary;
    let adapted = match wants_outline {
        true => adapt::explain(file, &text, vocabulary, &ProcessEnv, &DiskFiles)
            .map(|(adapted, outline)| (adapted, Some(outline))),
        false => {
            adapt::adapt(file, &text, vocabulary, &ProcessEnv, &DiskFiles).map(|adapted| (adapted, None))
        }
    };
    let (adapted, outline) = adapted.map_err(AdaptError::Caddyfile)?;
    let mut warnings: Vec<Warning> = adapted.warnings.iter().map(Warning::from).collect();
    if let Some(line) = first_unformatted_line(&text) {
        let message = "Caddyfile input is not formatted; `fmt --overwrite` does it".to_owned();
        warnings.push(Warning { file: file.to_owned(), line, message });
    }
    let mut missing = Mistakes::default();
    adapted.not_runnable.into_iter().for_each(|error| missing.add(error));
    let not_runnable = missing.none().err();
    Ok((Adapted { json: serde_json::to_value(&adapted.config)?, warnings, not_runnable }, outline))
}

impl From<&adapt::Warning> for Warning {
    fn from(warning: &adapt::Warning) -> Self {
        let (file, line) = match &warning.place {
            Some(place) => (place.file().name.to_string(), place.line),
            None => (String::new(), 0),
        };
        Self { file, line, message: warning.message.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    #[test]
    fn an_unformatted_caddyfile_is_warned_about() {
        let registry = modules::registry();
        let adapted = adapt(&registry, CADDYFILE, "x.conf", b":80 {\n  respond hi\n}\n").unwrap();
        assert_eq!(adapted.json["apps"]["http"]["servers"]["srv0"]["listen"], serde_json::json!([":80"]));
        let json = serde_json::to_value(&adapted.warnings).unwrap();
        assert_eq!(json[0]["file"], "x.conf");
        assert_eq!(json[0]["line"], 2);
        let adapted = adapt(&registry, CADDYFILE, "x.conf", b":80 {\r\n\trespond hi\r\n}\r\n").unwrap();
        assert_eq!(adapted.warnings, []);
    }

    #[test]
    fn what_nothing_can_run_is_known_with_its_place() {
        let adapted = adapt(&modules::registry(), CADDYFILE, "x.conf", b":80 {\n\ttimeouts\n}\n").unwrap();
        let error = adapted.not_runnable.unwrap().to_string();
        assert_eq!(
            error,
            "directive 'timeouts' is not supported yet: it needs the handler 'timeouts', at x.conf:2"
        );
    }

    #[test]
    fn another_adapter_is_an_error() {
        let error = adapt(&modules::registry(), "yaml", "x", b"").unwrap_err().to_string();
        assert_eq!(error, "unrecognized config adapter: yaml");
    }
}
