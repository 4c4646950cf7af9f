//! `templates`: answers of later handlers are templates in Go's language, which are filled in on their
//! way to the client.
//!
//! ```caddyfile
//! :8080 {
//! 	templates
//! 	respond "{{.Req.Method}} for {{.Host}}"
//! }
//! ```

mod context;
mod files;
mod front_matter;
mod functions;
mod markdown;
mod render;
mod request;
mod sprig;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::gotemplate::{self, Delimiters};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, Intercepted, Interception, Interceptor, Outcome, Provision,
    ProvisionError, Response, ServerHandle, Step, Template, Unknown, UpstreamField,
};
use crate::module::Module;

const NAME: &str = "templates";

/// Answers of these types are templates unless others are named.
const TYPES: [&str; 3] = ["text/html", "text/plain", "text/markdown"];

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive {
        name: NAME,
        syntax: "templates [<matcher>] {
	mime <types...>
	between <open> <close>
	root <path>
	extensions {
		<module> ...
	}
}",
        parse: Parse::Handler(parse),
    }],
    schemas: &[ModuleSchema::of::<Templates>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/templates/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Templates {
    /// The folder whose files templates may read.
    #[serde(skip_serializing_if = "is_default")]
    file_root: String,
    /// Answers of these types are templates.
    #[serde(skip_serializing_if = "is_default")]
    mime_types: Vec<String>,
    /// What actions stand between.
    #[serde(skip_serializing_if = "is_default")]
    delimiters: Vec<String>,
    /// Further functions.
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    extensions: Option<BTreeMap<String, Value>>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let vocabulary = h.vocabulary();
    let cursor = &mut h.cursor;
    let mut templates = Templates::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "mime" => {
                templates.mime_types = cursor.remaining_args();
                if templates.mime_types.is_empty() {
                    return Err(cursor.arg_err());
                }
            }
            "between" => {
                templates.delimiters = cursor.remaining_args();
                if templates.delimiters.len() != 2 {
                    return Err(cursor.arg_err());
                }
            }
            "root" => [templates.file_root] = cursor.args()?,
            "extensions" => {
                if cursor.next_arg() {
                    return Err(cursor.arg_err());
                }
                if templates.extensions.is_some() {
                    return Err(cursor.err("extensions already specified"));
                }
                let mut extensions = BTreeMap::new();
                let nesting = cursor.nesting();
                while cursor.next_block(nesting) {
                    let name = cursor.val().to_owned();
                    let namespace = "http.handlers.templates.functions";
                    extensions.insert(name, vocabulary.submodule_value(cursor, namespace)?);
                }
                templates.extensions = Some(extensions).filter(|extensions| !extensions.is_empty());
            }
            // Caddy passes over a word that it doesn't know; here it is a mistake like any other.
            word => {
                return Err(cursor
                    .err(format!("unrecognized subdirective '{word}'"))
                    .did_you_mean(word, ["mime", "between", "root", "extensions"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &templates))
}

/// What one kind of page has in its `.` besides the request (`browse`).
pub(super) trait Data: std::fmt::Debug + Send + Sync {
    /// The value of a field, or of a method with these arguments; `None` if there is none of that name.
    fn member(
        &self,
        name: &str,
        arguments: &[gotemplate::Value],
    ) -> Option<Result<gotemplate::Value, gotemplate::Error>>;
}

/// A time as templates have it.
pub(super) fn time_value(time: jiff::Timestamp) -> gotemplate::Value {
    sprig::Time(time.to_zoned(jiff::tz::TimeZone::UTC)).into_value()
}

/// Templates that are no answers of other handlers.
pub(super) struct Pages(Provisioned);

impl Pages {
    /// Templates that may read the files below `root`.
    pub(super) fn new(root: Template, ctx: &Provision<'_>) -> Self {
        let delimiters = Arc::new(Delimiters::default());
        Self(Provisioned { types: Box::default(), root, delimiters, server: ctx.server() })
    }

    /// Renders a text with what it is about. The header fields that it sets are the answer's.
    ///
    /// # Errors
    /// The template is broken, or uses too much.
    pub(super) async fn render(
        &self,
        x: &mut Exchange,
        text: Bytes,
        data: Arc<dyn Data>,
    ) -> Result<Vec<u8>, HandlerError> {
        let (page, headers) = self.0.rendered(x, text, Some(data)).await?;
        x.response_headers = headers;
        Ok(page)
    }
}

/// A provisioned `templates`.
struct Provisioned {
    types: Box<[String]>,
    root: Template,
    delimiters: Arc<Delimiters>,
    server: ServerHandle,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let json: Templates = json.decode(HANDLER_TAG)?;
    // Templates read their placeholders when they are rendered.
    UpstreamField::want_all();
    if let Some(name) = json.extensions.iter().flat_map(BTreeMap::keys).next() {
        let message = format!("module not registered: http.handlers.templates.functions.{name}");
        return Err(ProvisionError::invalid(message));
    }
    let delimiters = match json.delimiters.as_slice() {
        [] => Delimiters::default(),
        [open, close] if open.is_empty() && close.is_empty() => Delimiters::default(),
        [open, close] if !open.is_empty() && !close.is_empty() => {
            Delimiters { open: open.clone(), close: close.clone() }
        }
        _ => {
            let message = "delimiters must consist of exactly two elements: opening and closing";
            return Err(ProvisionError::invalid(message));
        }
    };
    let root = if json.file_root.is_empty() { "{http.vars.root}" } else { &json.file_root };
    let types = match json.mime_types.is_empty() {
        true => TYPES.map(str::to_owned).into(),
        false => json.mime_types.into(),
    };
    Ok(Box::new(Provisioned {
        types,
        root: Template::compile(root, Unknown::Empty),
        delimiters: Arc::new(delimiters),
        server: ctx.server(),
    }))
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, _: &'x mut Exchange) -> Step<'p, 'x> {
        Step::Now(Outcome::Intercept(self))
    }
}

impl Interceptor for Provisioned {
    fn intercept<'p: 'x, 'x>(&'p self, x: &'x mut Exchange, answer: Response) -> Interception<'p, 'x> {
        let is_upgrade = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let said = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let is_meant = |name: &String| memchr::memmem::find(said, name.as_bytes()).is_some();
        if is_upgrade || !self.types.iter().any(is_meant) {
            return Interception::Now(Intercepted::Pass(answer));
        }
        Interception::Later(Box::pin(self.render(x, answer)))
    }
}

#[cfg(test)]
mod tests {
    use crate::http::Exchange;
    use crate::modules::testing::{site, text, try_site};

    fn answer(options: &str, body: &str) -> (u16, String) {
        let directives = format!("templates {{\n{options}\n}}\nrespond `{body}`");
        let headers = [("host", "site.example:81"), ("cookie", "c=v"), ("x-in", "h")];
        text(site(&directives).serve(&mut Exchange::get("/a%20b?q=1&q=2", &headers)))
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn templates_know_the_request() {
        for (body, expected) in [
            (
                "{{.Req.Method}} {{.Req.URL.Path}} {{.Req.Proto}} {{.Req.Host}} {{.Host}}",
                "GET /a b HTTP/1.1 site.example:81 site.example",
            ),
            (
                "{{.Req.URL.Query.Get \"q\"}} {{.Req.URL.RawQuery}} {{index .Req.URL.Query \"q\"}}",
                "1 q=1&q=2 [1 2]",
            ),
            (
                "{{.Req.Header.Get \"x-in\"}} {{.Cookie \"c\"}} {{.Cookie \"none\"}}|{{.RemoteIP}} {{.ClientIP}}",
                "h v |192.0.2.1 192.0.2.1",
            ),
            (
                "{{placeholder \"http.request.uri.query.q\"}} {{ph \"nope\"}}|{{ph \"file./etc/passwd\"}}",
                "1,2 |",
            ),
            ("{{.OriginalReq.URL.String}} {{.Args | len}} {{pathEscape \"a b\"}}", "/a%20b?q=1&q=2 0 a%20b"),
            ("{{.RespHeader.Set \"X\" \"1\"}}{{.RespHeader.Get \"X\"}}{{maybe \"no\"}}", "1"),
        ] {
            assert_eq!(answer("", body), (200, expected.into()), "{body}");
        }
        assert_eq!(answer("between [[ ]]", "{{x}} [[.Req.Method]]").1, "{{x}} GET");
        assert_eq!(answer("mime text/html", "{{.Nope}}").1, "{{.Nope}}");
    }

    #[test]
    fn files_are_those_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("part.html"), "<{{index .Args 0}} {{.Req.Method}}>").unwrap();
        std::fs::write(folder.path().join("self.html"), "{{include \"self.html\"}}").unwrap();
        std::fs::write(folder.path().join("def.html"), "{{define \"x\"}}[{{.}}]{{end}}").unwrap();
        let root = format!("root {}", folder.path().display());
        assert_eq!(answer(&root, "{{include \"/part.html\" 5}}"), (200, "<5 GET>".into()));
        assert_eq!(answer(&root, "{{import \"def.html\"}}{{template \"x\" 1}}"), (200, "[1]".into()));
        assert_eq!(answer(&root, "{{readFile \"../../part.html\" | len}}"), (200, "35".into()));
        assert_eq!(answer(&root, "{{include \"none.html\"}}").0, 500);
        assert_eq!(answer(&root, "{{include \"self.html\"}}").0, 500);
    }

    #[test]
    fn failures_are_errors() {
        assert_eq!(answer("", "{{.Nope}}"), (500, String::new()));
        assert_eq!(answer("", "{{httpError 404}}"), (404, String::new()));
        assert_eq!(answer("", "{{httpInclude \"/\"}}").0, 500);
        let handled =
            site("templates\nrespond `{{httpError 404}}`\nhandle_errors {\nrespond \"{err.status_code}\"\n}");
        assert_eq!(handled.get("/", &[]), (404, "404".into()));
        assert!(try_site("templates {\nbetween a\n}").is_err());
    }
}
