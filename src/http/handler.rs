//! What a handler is: something that answers, passes on, or goes into other routes.

use std::future::Future;
use std::pin::Pin;

use super::{Body, Exchange, HandlerError, Provision, ProvisionError, Routes};
use crate::config::ModuleJson;

/// An answer on its way to the client.
pub type Response = http::Response<Body>;

/// In an answer's extensions: its type is not known, and is not to be guessed from what it looks like.
#[derive(Clone, Copy, Debug)]
pub struct Untyped;

/// A provisioned handler. It is built once per load and shared by all requests.
pub trait Handler: Send + Sync {
    /// Deals with one request, now or later.
    ///
    /// Whatever needs no waiting answers [`Step::Now`]: one virtual call, no allocation.
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x>;
}

/// How a handler deals with a request.
pub enum Step<'p, 'x> {
    /// It knew at once.
    Now(Outcome<'p>),
    /// It has to wait for something.
    Later(Pin<Box<dyn Future<Output = Outcome<'p>> + Send + 'x>>),
}

/// What became of a request at a handler.
pub enum Outcome<'p> {
    /// Go on with what follows.
    Next,
    /// This is the answer; filters pushed so far run on it, last one first.
    Respond(Response),
    /// Go through these routes, then on with what follows. Their error routes, if any, stay armed
    /// until there is an answer, because in Caddy what follows runs inside them.
    Enter(&'p Routes, Option<&'p Routes>),
    /// Go on with what follows, and let this filter see the answer.
    Filter(&'p dyn ResponseFilter),
    /// Go on with what follows, and let this look at the answer, which may wait for something or take
    /// the request through further routes.
    Intercept(&'p dyn Interceptor),
    /// Give up; the nearest error routes take over.
    Fail(HandlerError),
}

impl From<HandlerError> for Outcome<'_> {
    fn from(error: HandlerError) -> Self {
        Self::Fail(error)
    }
}

/// Something that changes an answer before the client gets it.
pub trait ResponseFilter: Send + Sync {
    /// Changes `response`. What it must know of the request, it finds in `x`.
    ///
    /// # Errors
    /// A [`HandlerError`] takes the place of the answer.
    fn filter(&self, x: &mut Exchange, response: &mut Response) -> Result<(), HandlerError>;
}

/// Something that looks at an answer that another handler has given, before the client gets it. Unlike a
/// [`ResponseFilter`] it may wait, or take the request through other routes.
pub trait Interceptor: Send + Sync {
    /// Looks at `answer`, now or later.
    fn intercept<'p: 'x, 'x>(&'p self, x: &'x mut Exchange, answer: Response) -> Interception<'p, 'x>;
}

/// How an answer is looked at.
pub enum Interception<'p, 'x> {
    /// What becomes of it was clear at once.
    Now(Intercepted<'p>),
    /// It has to wait for something.
    Later(Pin<Box<dyn Future<Output = Intercepted<'p>> + Send + 'x>>),
}

/// What becomes of an answer that was looked at.
pub enum Intercepted<'p> {
    /// This one goes on to the client.
    Pass(Response),
    /// The request goes through these routes. Their answer has the fields of this one besides its own,
    /// and its body if they give none; if they don't answer, this one goes on.
    Enter(&'p Routes, Response),
    /// An error takes the answer's place; the error routes around the interceptor take over.
    Fail(HandlerError),
}

/// Builds a handler from its JSON: decodes strictly, validates everything, compiles templates.
pub type ProvisionHandler = fn(&ModuleJson, &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError>;

/// The row of one handler, by which provisioning finds it.
pub struct HandlerType {
    /// The name under `"handler"`, which is Caddy's id without `http.handlers.`.
    pub id: &'static str,
    /// Builds one from its JSON.
    pub provision: ProvisionHandler,
}
