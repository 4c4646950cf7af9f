//! `push`: resources that HTTP/2 would push along. No browser takes pushes any more, so it does nothing but
//! say so when it is loaded.
//!
//! ```caddyfile
//! :8080 {
//! 	push * /style.css
//! 	respond "Hello"
//! }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse, header_op};
use crate::config::ModuleJson;
use crate::config::headers::HeaderOps;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Step};
use crate::module::Module;

const NAME: &str = "push";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "push [<matcher>] [<resource>] {
	[GET|HEAD] <resource>
	headers {
		[+]<field> [<value|regexp> [<replacement>]]
		-<field>
	}
}",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<Push>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/push/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Push {
    /// What would be pushed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource>,
    /// Changes to the header of what would be pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<HeaderOps>,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Resource {
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
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
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &push))
}

struct Nothing;

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let push: Push = json.decode(HANDLER_TAG)?;
    if let Some(headers) = &push.headers {
        crate::http::HeaderOps::compile(headers)
            .map_err(|error| error.at("provisioning header operations"))?;
    }
    tracing::warn!(
        "push does nothing: browsers no longer take what HTTP/2 pushes; use Link headers with preload"
    );
    Ok(Box::new(Nothing))
}

impl Handler for Nothing {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::modules::testing::{routes, site, try_site};

    #[test]
    fn the_answer_is_as_without_it() {
        let push = "push * /a.css {\nGET /b.js\nheaders {\nX-A 1\n}\n}";
        assert_eq!(routes(push)[0]["handle"][0]["resources"][1], json!({"method": "GET", "target": "/b.js"}));
        assert_eq!(site(&format!("{push}\nrespond x")).get("/", &[]), (200, "x".into()));
        assert!(try_site("push {\nheaders x\n}").is_err());
    }
}
