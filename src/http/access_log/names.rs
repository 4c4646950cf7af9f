//! Which loggers a request goes to, by its host.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config;
use crate::config::http::ServerLogs;
use crate::log::{Logger, Logging};

/// Loggers by host, all below one name.
pub(super) struct HostLoggers {
    base: &'static str,
    by_host: HashMap<Box<str>, Arc<[Logger]>>,
    others: Arc<[Logger]>,
}

impl HostLoggers {
    /// The loggers below `base` that `config` names.
    pub(super) fn new(base: &'static str, config: &ServerLogs, logging: &Logging) -> Self {
        let loggers = |names: &[String]| names.iter().map(|name| logger(base, name, logging)).collect();
        let by_host =
            config.logger_names.iter().map(|(host, names)| (host.as_str().into(), loggers(&names.0)));
        Self {
            base,
            by_host: by_host.collect(),
            others: Arc::new([logger(base, &config.default_logger_name, logging)]),
        }
    }

    /// The loggers of a host; an exact name comes before a wildcard.
    pub(super) fn of(&self, host: &str) -> &Arc<[Logger]> {
        if self.by_host.is_empty() {
            return &self.others;
        }
        find(host, |name| self.by_host.get(name)).unwrap_or(&self.others)
    }

    /// A logger of this name, which a request has asked for.
    pub(super) fn named(&self, name: &str, logging: &Logging) -> Logger {
        logger(self.base, name, logging)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Logger> {
        self.by_host.values().chain([&self.others]).flat_map(|loggers| loggers.iter())
    }
}

fn logger(base: &str, name: &str, logging: &Logging) -> Logger {
    if name.is_empty() { logging.logger(base) } else { logging.logger(format!("{base}.{name}")) }
}

/// Which hosts are logged at all.
pub(super) struct LoggedHosts {
    mapped: HashSet<Box<str>>,
    skipped: HashSet<Box<str>>,
    skips_others: bool,
}

impl LoggedHosts {
    pub(super) fn new(config: &ServerLogs) -> Self {
        let lower = |host: &String| host.to_ascii_lowercase().into_boxed_str();
        Self {
            mapped: config.logger_names.keys().map(lower).collect(),
            skipped: config.skip_hosts.iter().map(lower).collect(),
            skips_others: config.skip_unmapped_hosts,
        }
    }

    /// Whether requests for this host are logged.
    pub(super) fn contains(&self, host: &str) -> bool {
        if self.mapped.is_empty() && self.skipped.is_empty() {
            return !self.skips_others;
        }
        let host: Cow<'_, str> = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => host.to_ascii_lowercase().into(),
            false => host.into(),
        };
        let is_in = |hosts: &HashSet<Box<str>>| find(&host, |name| hosts.get(name)).is_some();
        is_in(&self.mapped) || (!is_in(&self.skipped) && !self.skips_others)
    }
}

/// Looks up a host, and then the wildcards that cover it: `*.b.c`, `*.*.c`, `*.*.*`.
fn find<T>(host: &str, lookup: impl Fn(&str) -> Option<T>) -> Option<T> {
    if let Some(found) = lookup(host) {
        return Some(found);
    }
    let labels: Vec<&str> = host.split('.').collect();
    (0..labels.len()).filter(|at| !labels[*at].is_empty()).find_map(|at| {
        let mut wildcard: Vec<&str> = labels.clone();
        for label in wildcard[..=at].iter_mut().filter(|label| !label.is_empty()) {
            *label = "*";
        }
        lookup(&wildcard.join("."))
    })
}

/// A `Host` without its port.
pub(super) fn without_port(host: &str) -> &str {
    config::split_host_port(host).map_or(host, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::log::Modules;

    fn config(json: serde_json::Value) -> ServerLogs {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn hosts_that_are_logged() {
        let all = LoggedHosts::new(&config(json!({})));
        assert!(all.contains("any"));
        let some = LoggedHosts::new(&config(json!({
            "logger_names": {"a.example": [""], "*.wild.example": ["w"]},
            "skip_hosts": ["b.example", "*.c.example"],
        })));
        for (host, logged) in [
            ("a.example", true),
            ("A.Example", true),
            ("x.wild.example", true),
            ("b.example", false),
            ("x.c.example", false),
            ("c.example", true),
            ("", true),
        ] {
            assert_eq!(some.contains(host), logged, "{host}");
        }
        let only =
            LoggedHosts::new(&config(json!({"logger_names": {"a": [""]}, "skip_unmapped_hosts": true})));
        assert!(only.contains("a") && !only.contains("b"));
    }

    #[test]
    fn loggers_of_hosts() {
        let logging = Logging::provision(None, &Modules::default()).unwrap();
        let config = config(json!({
            "default_logger_name": "other",
            "logger_names": {"a.b.c": ["exact", ""], "*.b.c": ["one"], "*.*.c": ["two"]},
        }));
        let loggers = HostLoggers::new("http.log.access", &config, &logging);
        let names = |host| loggers.of(host).iter().map(Logger::name).collect::<Vec<_>>().join(" ");
        assert_eq!(names("a.b.c"), "http.log.access.exact http.log.access");
        assert_eq!(names("x.b.c"), "http.log.access.one");
        assert_eq!(names("x.y.c"), "http.log.access.two");
        assert_eq!(names("x.y.z"), "http.log.access.other");
        assert_eq!(without_port("h:80"), "h");
        assert_eq!(without_port("[::1]:80"), "::1");
        assert_eq!(without_port("h"), "h");
    }
}
