//! `http_port`, `https_port` and `default_bind`: where sites listen that don't say it.

use crate::adapt::{Cursor, Error, GlobalOption};
use crate::module::Module;
use crate::modules::handlers::bind;

pub(super) static MODULE: Module = Module {
    options: &[
        GlobalOption {
            name: "http_port",
            syntax: "http_port <port>",
            parse: |reader| {
                reader.options.http_port = Some(port(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "https_port",
            syntax: "https_port <port>",
            parse: |reader| {
                reader.options.https_port = Some(port(&mut reader.cursor)?);
                Ok(())
            },
        },
        GlobalOption {
            name: "default_bind",
            syntax: "default_bind <hosts...> {
	protocols <h1|h2|h2c|h3...>
}",
            parse: |reader| {
                reader.cursor.next();
                let mut bind = bind::read(&mut reader.cursor)?;
                if bind.addresses.is_empty() {
                    bind.addresses.push(String::new());
                }
                reader.options.default_bind.push(bind);
                Ok(())
            },
        },
    ],
    ..Module::EMPTY
};

fn port(cursor: &mut Cursor) -> Result<u16, Error> {
    cursor.next();
    let [text] = cursor.all_args()?;
    text.parse().map_err(|_| {
        let problem = if text.parse::<i128>().is_ok() { "value out of range" } else { "invalid syntax" };
        cursor.err(format!(
            "converting port '{text}' to integer value: strconv.Atoi: parsing {text:?}: {problem}"
        ))
    })
}
