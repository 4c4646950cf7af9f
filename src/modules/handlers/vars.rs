//! `vars`: gives values to variables, for `{vars.NAME}` and the `vars` matcher.
//!
//! ```caddyfile
//! :8080 {
//! 	vars greeting hello
//! 	vars /de/* greeting hallo
//! 	respond "{vars.greeting}"
//! }
//! ```

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::adapt::{Directive, Error, Helper, Parse, Scalar};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::http::files::render_below;
use crate::http::{
    Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Step, Template, Unknown, Value,
    target,
};
use crate::module::Module;

const SYNTAX: &str = "vars [<matcher>] [<name> <value>] {
	<name> <value>
	...
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<Vars>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The name in JSON; `root` is made of it too.
pub(super) const NAME: &str = "vars";

/// The variable with the folder of a site's files.
const ROOT: &str = "root";

/// The variable that names the user in logs.
const USER_ID: &str = "http.auth.user.id";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/vars/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Vars(Map<String, Json>);

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let mut vars = std::collections::BTreeMap::new();
    h.cursor.next();
    if h.cursor.next_arg() {
        read_one(h, &mut vars)?;
    }
    while h.cursor.next_block(0) {
        read_one(h, &mut vars)?;
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &vars))
}

fn read_one(h: &mut Helper<'_>, vars: &mut std::collections::BTreeMap<String, Json>) -> Result<(), Error> {
    let name = h.cursor.val().to_owned();
    if !h.cursor.next_arg() {
        return Err(h.cursor.arg_err());
    }
    let value = h.cursor.scalar_val().map_or(Json::Null, scalar_json);
    vars.insert(name, value);
    if h.cursor.next_arg() { Err(h.cursor.arg_err()) } else { Ok(()) }
}

/// A scalar of the Caddyfile in JSON.
pub(super) fn scalar_json(scalar: Scalar) -> Json {
    match scalar {
        Scalar::Int(number) => number.into(),
        Scalar::Float(number) => number.into(),
        Scalar::Bool(truth) => truth.into(),
        Scalar::String(text) => text.into(),
    }
}

/// A variable's value: text may have placeholders.
enum Setting {
    Text(Template),
    Other(Value),
}

struct Set(Box<[(Template, Setting)]>);

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let Vars(vars) = json.decode(HANDLER_TAG)?;
    let compile = |(name, value): (&String, &Json)| {
        let value = match value {
            Json::String(text) => Setting::Text(Template::compile(text, Unknown::Empty)),
            other => Setting::Other(constant(other)),
        };
        (Template::compile(name, Unknown::Empty), value)
    };
    Ok(Box::new(Set(vars.iter().map(compile).collect())))
}

/// A value that is the same for every request.
fn constant(json: &Json) -> Value {
    match json {
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(constant).collect()),
        // Objects have no use here; they show as their JSON.
        Json::Null | Json::Object(_) => Value::from(json.to_string().as_str()),
    }
}

impl Handler for Set {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        for (name, value) in &self.0 {
            let name = target::lossy(&name.render(x)).into_owned();
            let value = match value {
                Setting::Text(text) if name == ROOT => {
                    Value::Text(Cow::Owned(render_below(text, x, b"").into_owned()))
                }
                Setting::Text(text) => Value::Text(Cow::Owned(text.render(x).into_owned())),
                Setting::Other(value) => value.clone(),
            };
            if name == USER_ID {
                x.named.set(USER_ID, value.clone());
            }
            x.vars.set(name, value);
        }
        Step::Now(Outcome::Next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        assert_eq!(json("vars a 1"), json!({"handler": NAME, "a": 1}));
        assert_eq!(
            json("vars {\nt true\nf 1.5\ns \"1\"\nb x\n}"),
            json!({"handler": NAME, "b": "x", "f": 1.5, "s": "1", "t": true})
        );
        for line in ["vars a", "vars a b c", "vars {\na\n}"] {
            assert!(adapt(line).unwrap_err().contains("wrong argument count"), "{line}");
        }
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn values_keep_their_type_and_are_expanded_once() {
        let site = site(
            "vars {\nn 5\nf 1.50\nb true\ns \"a{header.X-V}b{nope}c\"\n}\n\
             respond \"{vars.n} {vars.f} {vars.b} {vars.s} [{vars.none}]\"",
        );
        assert_eq!(site.get("/", &[("x-v", "{method}")]).1, "5 1.5 true a{method}bc []");
    }

    #[test]
    fn no_client_leads_a_root_up() {
        let site = site(
            "root * /srv/{host}/www\nvars {\nother /srv/{host}/www\n}\nrespond \"{vars.root} {vars.other}\"",
        );
        let get = |host| site.get("/", &[("host", host)]).1;
        assert_eq!(get("a.example"), "/srv/a.example/www /srv/a.example/www");
        assert_eq!(get(".."), "/srv//www /srv/../www");
    }

    #[test]
    fn the_user_can_be_named() {
        assert_eq!(site("vars http.auth.user.id bob\nrespond {http.auth.user.id}").get("/", &[]).1, "bob");
    }
}
