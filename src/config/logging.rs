//! `logging`: which logs there are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, ModuleJson, is_default, schema};

/// The name of the log that takes what no other log claims for itself alone.
pub const DEFAULT_LOG: &str = "default";

/// All logs (<https://caddyserver.com/docs/json/logging/>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// What is written by other means than our loggers.
    #[serde(skip_serializing_if = "is_default")]
    pub sink: Option<SinkLog>,
    /// Logs by name.
    #[serde(skip_serializing_if = "is_default")]
    pub logs: BTreeMap<String, CustomLog>,
}

/// Where unstructured output goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkLog {
    /// Where it is written; a module of `caddy.logging.writers`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogWriter>")]
    pub writer: Option<ModuleJson>,
    /// In what form; a module of `caddy.logging.encoders`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogEncoder>")]
    pub encoder: Option<ModuleJson>,
    /// What takes the entries instead of writer and encoder; a module of `caddy.logging.cores`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogCore>")]
    pub core: Option<ModuleJson>,
    /// The lowest level that is written.
    #[serde(skip_serializing_if = "is_default")]
    pub level: String,
    /// Whether to leave out entries when there are many.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling: Option<LogSampling>,
    /// Whether entries say where in the program they come from.
    #[serde(skip_serializing_if = "is_default")]
    pub with_caller: bool,
    /// How many callers to skip for that.
    #[serde(skip_serializing_if = "is_default")]
    pub with_caller_skip: i64,
    /// The lowest level that comes with a stack trace.
    #[serde(skip_serializing_if = "is_default")]
    pub with_stacktrace: String,
}

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CustomLog {
    /// Where it is written; a module of `caddy.logging.writers`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogWriter>")]
    pub writer: Option<ModuleJson>,
    /// In what form; a module of `caddy.logging.encoders`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogEncoder>")]
    pub encoder: Option<ModuleJson>,
    /// What takes the entries instead of writer and encoder; a module of `caddy.logging.cores`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<schema::LogCore>")]
    pub core: Option<ModuleJson>,
    /// The lowest level that is written; empty means INFO.
    #[serde(skip_serializing_if = "is_default")]
    pub level: String,
    /// Whether to leave out entries when there are many.
    #[serde(skip_serializing_if = "is_default")]
    pub sampling: Option<LogSampling>,
    /// Whether entries say where in the program they come from.
    #[serde(skip_serializing_if = "is_default")]
    pub with_caller: bool,
    /// How many callers to skip for that.
    #[serde(skip_serializing_if = "is_default")]
    pub with_caller_skip: i64,
    /// The lowest level that comes with a stack trace.
    #[serde(skip_serializing_if = "is_default")]
    pub with_stacktrace: String,
    /// The loggers whose entries it takes; none means all.
    #[serde(skip_serializing_if = "is_default")]
    pub include: Vec<String>,
    /// The loggers whose entries it leaves alone.
    #[serde(skip_serializing_if = "is_default")]
    pub exclude: Vec<String>,
}

/// How to leave out entries when there are many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSampling {
    /// The time in which like entries are counted; zero means a second.
    #[serde(skip_serializing_if = "is_default")]
    pub interval: Duration,
    /// How many of them are written in any case.
    #[serde(skip_serializing_if = "is_default")]
    pub first: i64,
    /// Of the rest, each how-manieth is.
    #[serde(skip_serializing_if = "is_default")]
    pub thereafter: i64,
}

/// The tag under which a writer's name stands.
pub const WRITER_TAG: &str = "output";
/// The tag under which an encoder's name stands.
pub const ENCODER_TAG: &str = "format";
/// The tag under which a field filter's name stands.
pub const FILTER_TAG: &str = "filter";
/// The tag under which a core's name stands.
pub const CORE_TAG: &str = "module";
