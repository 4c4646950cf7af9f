//! `log_append`: a field of one's own in access log entries.
//!
//! ```caddyfile
//! :8080 {
//! 	log
//! 	log_append tenant {http.request.header.X-Tenant}
//! 	respond "Hello"
//! }
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::{ModuleJson, is_default};
use crate::http::{
    Exchange, Handler, HandlerType, LateField, LogField, Outcome, Part, Placeholder, Provision,
    ProvisionError, Step, Template, Unknown, Value,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "log_append [<matcher>] [<]<key> <value>",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

const NAME: &str = "log_append";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/log_append/>).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogAppend {
    /// The field's key.
    #[serde(skip_serializing_if = "is_default")]
    key: String,
    /// Its value: a placeholder, the name of a variable, or else the text itself.
    #[serde(skip_serializing_if = "is_default")]
    value: String,
    /// Whether the value is taken now, and not when there is an answer.
    #[serde(skip_serializing_if = "is_default")]
    early: bool,
}

fn parse(helper: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    helper.cursor.next();
    let [key, value] = helper.cursor.args()?;
    let (key, early) = match key.strip_prefix('<') {
        Some(rest) if !rest.is_empty() => (rest.to_owned(), true),
        _ => (key, false),
    };
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &LogAppend { key, value, early }))
}

struct Field {
    key: Arc<str>,
    source: Source,
}

/// Where a field's value comes from.
enum Source {
    Placeholder(Placeholder),
    Known(Value),
    /// A variable of this name, or else the name itself.
    Variable(Arc<str>),
}

struct Append {
    field: Arc<Field>,
    early: bool,
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: LogAppend = json.decode(HANDLER_TAG)?;
    let field = Field { key: config.key.into(), source: source(&config.value) };
    Ok(Box::new(Append { field: Arc::new(field), early: config.early }))
}

fn source(value: &str) -> Source {
    let inside = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
    if inside.is_none_or(|inside| inside.contains('{')) {
        return Source::Variable(value.into());
    }
    let template = Template::compile(value, Unknown::Empty);
    match template.parts() {
        [Part::Dynamic(placeholder, _)] => Source::Placeholder(placeholder.clone()),
        _ => Source::Known(Value::Text(Cow::Owned(template.constant().unwrap_or_default().into_owned()))),
    }
}

impl Handler for Append {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if let Some(mut log) = x.log.take() {
            match self.early {
                true => log.add(self.field.field(x)),
                false => log.add_late(self.field.clone()),
            }
            x.log = Some(log);
        }
        Step::Now(Outcome::Next)
    }
}

impl LateField for Field {
    fn field(&self, x: &Exchange) -> LogField {
        let value = match &self.source {
            Source::Placeholder(placeholder) => placeholder.typed(x),
            Source::Known(value) => Some(value.clone()),
            Source::Variable(name) => Some(x.vars.get(name).cloned().unwrap_or_else(|| Value::from(&**name))),
        };
        LogField { key: self.key.clone(), value }
    }
}
