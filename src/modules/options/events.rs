//! `events`: what happens on the events of other parts.

use serde_json::{Value, json};

use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption {
        name: "events",
        syntax: "events {
	on <event>|* <handler> ...
}",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let mut subscriptions = Vec::new();
    reader.cursor.next();
    while reader.cursor.next_block(0) {
        if reader.cursor.val() != "on" {
            return Err(reader.cursor.arg_err());
        }
        let [event] = reader.cursor.args()?;
        if !reader.cursor.next_arg() {
            return Err(reader.cursor.arg_err());
        }
        let handler = reader.submodule("events.handlers", "handler")?;
        let event = if event == "*" { "" } else { &event };
        subscriptions.push(json!({"events": [event], "handlers": [handler]}));
    }
    let app = if subscriptions.is_empty() {
        json!({})
    } else {
        json!({ "subscriptions": Value::Array(subscriptions) })
    };
    reader.options.apps.insert("events".into(), app);
    Ok(())
}
