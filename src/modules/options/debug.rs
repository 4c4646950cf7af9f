//! `debug`: every log that says nothing of its level tells everything.

use crate::adapt::GlobalOption;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption {
        name: "debug",
        syntax: "debug",
        parse: |reader| {
            reader.options.debug = true;
            Ok(())
        },
    }],
    ..Module::EMPTY
};
