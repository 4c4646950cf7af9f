//! Changes to method and target that only upstreams see (`method`, `rewrite`).

use serde_json::{Map, Value};

use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::http::{Exchange, Handler, HandlerError, Outcome, Provision, ProvisionError, Step};

/// The `rewrite` handler, borrowed for the upstream's request alone.
pub struct Rewrite {
    handler: Box<dyn Handler>,
    to_bodiless: bool,
}

/// What a request looks like once rewritten.
pub struct Rewritten<T> {
    /// What was looked at.
    pub outcome: T,
    /// Whether method or target are other ones now.
    pub changed: bool,
}

impl Rewrite {
    /// The rewrite that the JSON asks for.
    ///
    /// # Errors
    /// It asks for something that can't be.
    pub fn provision(json: &Map<String, Value>, ctx: &mut Provision<'_>) -> Result<Self, ProvisionError> {
        let to_bodiless = matches!(json.get("method").and_then(Value::as_str), Some("GET" | "HEAD"));
        let json = ModuleJson::new(HANDLER_TAG, "rewrite", json);
        let handler = ctx.handler(&json).map_err(|error| error.at("provisioning rewrite"))?;
        Ok(Self { handler, to_bodiless })
    }

    /// Whether a request that was changed loses its body.
    pub fn drops_body(&self) -> bool {
        self.to_bodiless
    }

    /// Looks at the request as it would be rewritten, and leaves it as it was.
    ///
    /// # Errors
    /// The rewrite's own.
    pub fn apply<T>(
        &self,
        x: &mut Exchange,
        look: impl FnOnce(&Exchange) -> T,
    ) -> Result<Rewritten<T>, HandlerError> {
        let (method, uri, original) = (x.method.clone(), x.uri.clone(), x.original.clone());
        let step = match self.handler.handle(x) {
            Step::Now(outcome) => outcome,
            Step::Later(_) => Outcome::Fail(HandlerError::internal("rewriting must not wait")),
        };
        let looked = look(x);
        let changed = x.method != method || x.uri != uri;
        (x.method, x.uri, x.original) = (method, uri, original);
        match step {
            Outcome::Next => Ok(Rewritten { outcome: looked, changed }),
            Outcome::Fail(error) => Err(error),
            _ => Err(HandlerError::internal("rewriting must not answer")),
        }
    }
}
