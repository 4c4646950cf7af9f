//! What a module that belongs to logs offers: a kind of output, of format, of field filter. The rows
//! stand in [`crate::modules`]; these are their types.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Arc;

use super::{Console, Destination, Encoder, EncoderOptions, Json, LogError, Value, Visitor};
use crate::config::ModuleJson;
use crate::config::logging::{CORE_TAG, ENCODER_TAG, FILTER_TAG, WRITER_TAG};

/// Caddy's namespaces of these modules.
const WRITERS: &str = "caddy.logging.writers";
const ENCODERS: &str = "caddy.logging.encoders";
const FILTERS: &str = "caddy.logging.encoders.filter";
const CORES: &str = "caddy.logging.cores";
/// The only core that Caddy comes with; it does nothing.
const MOCK_CORE: &str = "mock";

/// The row of one kind of output.
pub struct WriterType {
    /// The name under `"output"`.
    pub id: &'static str,
    /// What it makes of its JSON; `None` is an output that swallows everything.
    pub provision: fn(&ModuleJson) -> Result<Option<Destination>, LogError>,
}

/// The row of one format.
pub struct EncoderType {
    /// The name under `"format"`.
    pub id: &'static str,
    /// Builds an encoder from its JSON.
    pub provision: ProvisionEncoder,
}

/// Builds an encoder from its JSON.
pub type ProvisionEncoder = fn(&ModuleJson, &EncoderContext<'_>) -> Result<Arc<dyn Encoder>, LogError>;

/// The row of one kind of field filter.
pub struct FilterType {
    /// The name under `"filter"`.
    pub id: &'static str,
    /// Builds a filter from its JSON.
    pub provision: fn(&ModuleJson) -> Result<Box<dyn FieldFilter>, LogError>,
}

/// Changes one field of an entry before it is encoded.
pub trait FieldFilter: Send + Sync {
    /// Shows `next` what is to become of the field: nothing, or a field with another key or value.
    fn filter(&self, key: &str, value: Value<'_>, next: &mut dyn Visitor);
}

/// The rows of all modules that belong to logs.
#[derive(Default)]
pub struct Modules {
    /// Kinds of output by their name in JSON.
    pub writers: HashMap<&'static str, &'static WriterType>,
    /// Formats by their name in JSON.
    pub encoders: HashMap<&'static str, &'static EncoderType>,
    /// Kinds of field filter by their name in JSON.
    pub filters: HashMap<&'static str, &'static FilterType>,
}

/// What an encoder is built with.
#[derive(Clone, Copy)]
pub struct EncoderContext<'a> {
    /// Other modules, for those that wrap one.
    pub modules: &'a Modules,
    /// Whether entries go to a terminal, where the console format is the default.
    pub terminal: bool,
}

impl Modules {
    /// The full names of all of them.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        named(WRITERS, self.writers.keys().copied().collect())
            .chain(named(ENCODERS, self.encoders.keys().copied().collect()))
            .chain(named(FILTERS, self.filters.keys().copied().collect()))
            .chain(named(CORES, vec![MOCK_CORE]))
    }

    /// The output that `json` describes; `None` is one that swallows everything.
    pub(super) fn destination(&self, json: &ModuleJson) -> Result<Option<Destination>, LogError> {
        let name = json.name(WRITER_TAG)?;
        let row = self.writers.get(name).ok_or_else(|| unknown(WRITERS, name))?;
        (row.provision)(json)
    }
}

impl EncoderContext<'_> {
    /// What a log's own encoder is built with.
    pub(super) fn new<'a>(modules: &'a Modules, destination: Option<&Destination>) -> EncoderContext<'a> {
        // Like Caddy, one look at standard error decides for both standard streams.
        let stream = destination.is_some_and(|destination| destination.standard_stream);
        EncoderContext { modules, terminal: stream && std::io::stderr().is_terminal() }
    }

    /// The encoder that `json` describes.
    ///
    /// # Errors
    /// It does not exist, or refuses its configuration.
    pub fn encoder(&self, json: &ModuleJson) -> Result<Arc<dyn Encoder>, LogError> {
        let name = json.name(ENCODER_TAG)?;
        let row = self.modules.encoders.get(name).ok_or_else(|| unknown(ENCODERS, name))?;
        (row.provision)(json, self)
    }

    /// The encoder within another one: what `json` describes, or else plain JSON, or the console
    /// format on a terminal.
    ///
    /// # Errors
    /// It does not exist, or refuses its configuration.
    pub fn wrapped(&self, json: Option<&ModuleJson>) -> Result<Arc<dyn Encoder>, LogError> {
        match json {
            Some(json) => self.encoder(json).map_err(|error| error.at("wrapped encoder")),
            None if self.terminal => Ok(Arc::new(Console::new(&EncoderOptions::default()))),
            None => Ok(Arc::new(Json::new(&EncoderOptions::default()))),
        }
    }

    /// The filter that `json` describes.
    ///
    /// # Errors
    /// It does not exist, or refuses its configuration.
    pub fn filter(&self, json: &ModuleJson) -> Result<Box<dyn FieldFilter>, LogError> {
        let name = json.name(FILTER_TAG)?;
        let row = self.modules.filters.get(name);
        let row = row.ok_or_else(|| unknown(FILTERS, name))?;
        (row.provision)(json)
    }
}

/// The encoder of a log that names none.
pub(super) fn default_encoder(terminal: bool) -> Arc<dyn Encoder> {
    if !terminal {
        return Arc::new(Json::new(&EncoderOptions::default()));
    }
    let set = |name: &str| std::env::var_os(name).unwrap_or_default();
    let coloured = set("NO_COLOR").is_empty() && set("TERM") != "xterm-mono";
    let level_format = if coloured { "color" } else { "lower" };
    Arc::new(Console::new(&EncoderOptions { level_format: level_format.into(), ..EncoderOptions::default() }))
}

/// Refuses a core that there isn't.
pub(super) fn check_core(json: &ModuleJson) -> Result<(), LogError> {
    match json.name(CORE_TAG)? {
        MOCK_CORE => Ok(()),
        name => Err(unknown(CORES, name)),
    }
}

fn named(namespace: &'static str, names: Vec<&'static str>) -> impl Iterator<Item = String> {
    names.into_iter().map(move |name| format!("{namespace}.{name}"))
}

fn unknown(namespace: &'static str, name: &str) -> LogError {
    LogError::Unknown { namespace, name: name.to_owned() }
}
