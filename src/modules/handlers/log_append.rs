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

use http_body::Frame;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::http::{
    BodyForm, Exchange, Handler, HandlerType, LOGGED_BODY_BYTES_MAX, LateField, LogField, Outcome, Part,
    Placeholder, Provision, ProvisionError, Step, Template, Unknown, Value, gather,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "log_append [<matcher>] [<]<key> <value>",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<LogAppend>("http.handlers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "log_append";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/log_append/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
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
    RequestBody(BodyForm),
    ResponseBody(BodyForm),
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
    match value {
        "{http.request.body}" => return Source::RequestBody(BodyForm::Text),
        "{http.request.body_base64}" => return Source::RequestBody(BodyForm::Base64),
        "{http.response.body}" => return Source::ResponseBody(BodyForm::Text),
        "{http.response.body_base64}" => return Source::ResponseBody(BodyForm::Base64),
        _ => {}
    }
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
        let Some(mut log) = x.log.take() else { return Step::Now(Outcome::Next) };
        match &self.field.source {
            Source::ResponseBody(form) => log.add_body(self.field.key.clone(), *form),
            Source::RequestBody(form) => {
                x.log = Some(log);
                return Step::Later(Box::pin(self.add_request_body(*form, x)));
            }
            _ if self.early => log.add(self.field.field(x)),
            _ => log.add_late(self.field.clone()),
        }
        x.log = Some(log);
        Step::Now(Outcome::Next)
    }
}

impl Append {
    /// Reads the request's body, as far as it is logged, for whoever comes next to read it anew.
    async fn add_request_body(&self, form: BodyForm, x: &mut Exchange) -> Outcome<'_> {
        let gathered = gather(std::mem::take(&mut x.body), LOGGED_BODY_BYTES_MAX).await;
        let seen: Vec<&[u8]> =
            gathered.frames.iter().filter_map(Frame::data_ref).map(|data| &data[..]).collect();
        let value = Some(Value::Text(Cow::Owned(form.show(&seen.concat()))));
        x.body = gathered.into_body();
        if let Some(log) = &mut x.log {
            log.add(LogField { key: self.field.key.clone(), value });
        }
        Outcome::Next
    }
}

impl LateField for Field {
    fn field(&self, x: &Exchange) -> LogField {
        let value = match &self.source {
            // Without TLS there is nothing to be said of it, not even that it is empty.
            Source::Placeholder(Placeholder::Tls(_)) if x.conn.tls.is_none() => None,
            Source::Placeholder(placeholder) => placeholder.typed(x),
            Source::Known(value) => Some(value.clone()),
            Source::Variable(name) => Some(x.vars.get(name).cloned().unwrap_or_else(|| Value::from(&**name))),
            // These go another way.
            Source::RequestBody(_) | Source::ResponseBody(_) => None,
        };
        LogField { key: self.key.clone(), value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_values_come_from() {
        assert!(matches!(source("{http.request.method}"), Source::Placeholder(_)));
        assert!(matches!(source("{nope.nope}"), Source::Placeholder(Placeholder::Named(_))));
        assert!(matches!(source("{http.response.body_base64}"), Source::ResponseBody(BodyForm::Base64)));
        for text in ["plain", "x {http.request.method}", "{http.request.method} {http.request.uri}", ""] {
            assert!(matches!(source(text), Source::Variable(name) if &*name == text), "{text}");
        }
        let home = std::env::var("PATH").unwrap();
        assert!(matches!(source("{env.PATH}"), Source::Known(value) if value == Value::from(&*home)));
    }

    #[test]
    fn variables_and_missing_things() {
        let mut x = Exchange::get("/", &[]);
        x.vars.set("n", Value::Int(5));
        let field = |value: &str| Field { key: "k".into(), source: source(value) }.field(&x).value;
        assert_eq!(field("n"), Some(Value::Int(5)));
        assert_eq!(field("m"), Some(Value::from("m")));
        assert_eq!(field("{nope.nope}"), None);
        assert_eq!(field("{http.request.tls.version}"), None);
        assert_eq!(field("{http.request.header.None}"), Some(Value::from("")));
    }
}
