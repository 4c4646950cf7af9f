//! `push`: resources that HTTP/2 pushes along. It can be written so far, and not run; browsers no longer take pushes.

use serde::Serialize;

use crate::adapt::{Directive, Error, Helper, Parse, header_op};
use crate::config::ModuleJson;
use crate::config::headers::HeaderOps;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "push",
        syntax: "push [<matcher>] [<resource>] {
	[GET|HEAD] <resource>
	headers {
		[+]<field> [<value|regexp> [<replacement>]]
		-<field>
	}
}",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/push/>).
#[derive(Default, Serialize)]
struct Push {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<HeaderOps>,
}

#[derive(Default, Serialize)]
struct Resource {
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    target: String,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut push = Push::default();
    cursor.next();
    if cursor.next_arg() {
        push.resources.push(Resource { target: cursor.val().to_owned(), ..Resource::default() });
    }
    while cursor.next_block(0) {
        match cursor.val() {
            "headers" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                let nesting = cursor.nesting();
                while cursor.next_block(nesting) {
                    let field = cursor.val().to_owned();
                    let args = cursor.remaining_args();
                    let (value, replacement) = match args.as_slice() {
                        [] => ("", None),
                        [value] => (value.as_str(), None),
                        [value, replacement] => (value.as_str(), Some(replacement.as_str())),
                        _ => return Err(cursor.arg_err()),
                    };
                    let ops = push.headers.get_or_insert_default();
                    header_op(ops, &field, value, replacement)
                        .map_err(|error| cursor.err(error.to_string()))?;
                }
            }
            method @ ("GET" | "HEAD") => {
                let method = method.to_owned();
                let [target] = cursor.args()?;
                push.resources.push(Resource { method, target });
            }
            target => push.resources.push(Resource { target: target.to_owned(), ..Resource::default() }),
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, "push", &push))
}
