//! `logging`: the logs that options and sites ask for.

use super::listeners::Pairing;
use super::{NamedLog, Options};
use crate::config::logging::{CustomLog, DEFAULT_LOG, Logging};

const DEBUG: &str = "DEBUG";

/// Builds `logging`, if there is anything to say.
pub(super) fn build(pairings: &[Pairing], options: &Options) -> Option<Logging> {
    let mut logs: Vec<NamedLog> = options.logs.iter().filter_map(|log| named(log, options)).collect();
    if options.debug && !logs.iter().any(|log| log.name == DEFAULT_LOG) {
        let log = CustomLog { level: DEBUG.into(), ..CustomLog::default() };
        logs.push(NamedLog { name: DEFAULT_LOG.into(), log: Some(log), ..NamedLog::default() });
    }
    let of_sites = pairings.iter().flat_map(|pairing| &pairing.sites).flat_map(|site| &site.pile.logs);
    logs.extend(of_sites.filter_map(|log| named(log, options)));

    let mut logging = Logging::default();
    let default = logs.iter().find(|log| log.name == DEFAULT_LOG && log.log.is_some());
    if let Some(log) = default.and_then(|log| log.log.clone()) {
        logging.logs.insert(DEFAULT_LOG.into(), log);
    }
    for NamedLog { name, log, .. } in logs {
        let Some(log) = log else { continue };
        if name == DEFAULT_LOG {
            continue;
        }
        // What has a log of its own is not in the default log as well.
        if !log.include.is_empty() {
            let default = logging.logs.entry(DEFAULT_LOG.into()).or_default();
            default.exclude.extend(log.include.iter().cloned());
            default.exclude.sort();
            default.exclude.dedup();
        }
        logging.logs.insert(name, log);
    }
    (!logging.logs.is_empty()).then_some(logging)
}

/// The log if it has a name, with the level that `debug` gives it.
fn named(log: &NamedLog, options: &Options) -> Option<NamedLog> {
    if log.name.is_empty() {
        return None;
    }
    let mut log = log.clone();
    if let Some(said) = &mut log.log
        && options.debug
        && said.level.is_empty()
    {
        said.level = DEBUG.into();
    }
    Some(log)
}
