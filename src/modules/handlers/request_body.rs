//! `request_body`: how long a request's body may be.
//!
//! A longer one is 413 to whoever reads it.
//!
//! ```caddyfile
//! :8080 {
//! 	request_body {
//! 		max_size 10MB
//! 	}
//! 	respond "hello"
//! }
//! ```

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::{Frame, SizeHint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default, parse_bytes};
use crate::http::{
    Body, BodyError, BodyTooLarge, Exchange, Handler, HandlerType, Outcome, Provision, ProvisionError, Step,
    Template, Unknown,
};
use crate::module::Module;

const SYNTAX: &str = "request_body [<matcher>] {
	max_size <size>
	set <text>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<RequestBody>("http.handlers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "request_body";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/request_body/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RequestBody {
    /// The most bytes that a body may have; 0 is no limit.
    #[serde(skip_serializing_if = "is_default")]
    max_size: i64,
    /// A text that takes the body's place.
    #[serde(skip_serializing_if = "is_default")]
    set: String,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut said = RequestBody::default();
    cursor.next();
    while cursor.next_block(0) {
        match cursor.val() {
            "max_size" => {
                let [size] = cursor.all_args()?;
                let bytes =
                    parse_bytes(&size).map_err(|error| cursor.err(format!("parsing max_size: {error}")))?;
                said.max_size = i64::try_from(bytes).unwrap_or(i64::MAX);
            }
            "set" => [said.set] = cursor.all_args()?,
            other => {
                let message = format!("unrecognized request_body subdirective '{other}'");
                return Err(cursor.err(message).did_you_mean(cursor.val(), ["max_size", "set"]));
            }
        }
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &said))
}

struct Limit {
    bytes_max: Option<u64>,
    set: Option<Template>,
}

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: RequestBody = json.decode(HANDLER_TAG)?;
    Ok(Box::new(Limit {
        bytes_max: u64::try_from(config.max_size).ok().filter(|max| *max > 0),
        set: (!config.set.is_empty()).then(|| Template::compile(&config.set, Unknown::Empty)),
    }))
}

impl Handler for Limit {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if let Some(set) = &self.set {
            let text: Bytes = set.render(x).into_owned().into();
            x.headers.remove(TRANSFER_ENCODING);
            x.headers.insert(CONTENT_LENGTH, text.len().into());
            x.body = Body::from(text);
        }
        if let Some(bytes_max) = self.bytes_max
            && !x.body.is_empty()
        {
            x.body = Body::stream(Limited { inner: std::mem::take(&mut x.body), left: bytes_max, bytes_max });
        }
        Step::Now(Outcome::Next)
    }
}

/// A body that fails once it is longer than allowed.
struct Limited {
    inner: Body,
    left: u64,
    bytes_max: u64,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(BodyTooLarge { bytes_max: this.bytes_max }.into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        assert_eq!(
            json("request_body {\nmax_size 10MB\n}"),
            json!({"handler": NAME, "max_size": 10_000_000})
        );
        assert_eq!(json("request_body {\nset x\n}"), json!({"handler": NAME, "set": "x"}));
        assert!(adapt("request_body {\nmax_size lots\n}").unwrap_err().contains("parsing max_size: "));
        assert!(adapt("request_body {\nsize 1\n}").unwrap_err().contains("unrecognized request_body"));
    }

    fn read(directives: &str, body: &'static str) -> Result<Bytes, BodyError> {
        let mut x = Exchange::for_test(http::Request::new(Body::from(body)));
        site(directives).serve(&mut x);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(x.body.collect()).map(http_body_util::Collected::to_bytes)
    }

    #[test]
    fn a_body_that_is_too_long_fails_while_it_is_read() {
        let limit = "request_body {\nmax_size 4\n}";
        assert_eq!(read(limit, "1234").unwrap(), "1234");
        let error = read(limit, "12345").unwrap_err();
        assert_eq!(error.downcast_ref::<BodyTooLarge>().map(|error| error.bytes_max), Some(4));
    }

    #[test]
    fn a_body_can_be_replaced() {
        assert_eq!(read("request_body {\nset \"{method}!\"\n}", "old").unwrap(), "GET!");
    }
}
