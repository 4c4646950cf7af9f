//! `grace_period` and `shutdown_delay`: what happens to requests when servers stop.

use super::duration;
use crate::adapt::GlobalOption;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "grace_period",
            syntax: "grace_period <duration>",
            parse: |reader| {
                reader.options.grace_period = duration(&mut reader.cursor)?;
                Ok(())
            },
        },
        GlobalOption {
            name: "shutdown_delay",
            syntax: "shutdown_delay <duration>",
            parse: |reader| {
                reader.options.shutdown_delay = duration(&mut reader.cursor)?;
                Ok(())
            },
        },
    ],
    ..Module::EMPTY
};
