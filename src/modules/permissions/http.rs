//! `http`: a service that is asked by HTTP.

use serde_json::{Value, json};

use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: "tls.permission", name: "http", syntax: "http <url>", parse }],
    written_only: &["http"],
    ..Module::EMPTY
};

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    reader.cursor.next();
    let [endpoint] = reader.cursor.all_args()?;
    Ok(json!({ "endpoint": endpoint }))
}
