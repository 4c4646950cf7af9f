//! `metrics`: which metrics are gathered.

use super::unrecognized;
use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::config::http::Metrics;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption {
        name: "metrics",
        syntax: "metrics {
	per_host
	observe_catchall_hosts
	otlp
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let cursor = &mut reader.cursor;
    let mut metrics = Metrics::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "per_host" => metrics.per_host = true,
            "observe_catchall_hosts" => metrics.observe_catchall_hosts = true,
            "otlp" => metrics.otlp = true,
            _ => {
                let known = ["per_host", "observe_catchall_hosts", "otlp"];
                return Err(unrecognized(cursor, "servers option", &known));
            }
        }
    }
    reader.options.metrics = Some(metrics);
    Ok(())
}
