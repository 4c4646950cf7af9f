//! Compiled routes, and [`run`]: the one visible loop that takes a request through them.

mod index;

use http::StatusCode;
use smallvec::SmallVec;

use index::Index;

use super::original::Original;
use super::{
    AccessEntry, Body, Exchange, Fate, Handler, HandlerError, Intercepted, Interception, Interceptor,
    MatcherSets, Outcome, Response, ResponseFilter, Step,
};

/// The bit of a route group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupId(u32);

impl GroupId {
    /// The `n`th group of a configuration.
    pub(super) fn nth(n: usize) -> Self {
        Self(u32::try_from(n).expect("invariant: a configuration has fewer than 2^32 groups"))
    }
}

/// Matchers with the handlers for what they match.
pub struct Route {
    matchers: MatcherSets,
    group: Option<GroupId>,
    handlers: Box<[Box<dyn Handler>]>,
    terminal: bool,
}

impl Route {
    /// A route; see [`crate::config::http::Route`] for what the parts mean.
    pub fn new(
        matchers: MatcherSets,
        group: Option<GroupId>,
        handlers: Vec<Box<dyn Handler>>,
        terminal: bool,
    ) -> Self {
        Self { matchers, group, handlers: handlers.into(), terminal }
    }
}

/// An ordered list of routes.
#[derive(Default)]
pub struct Routes {
    routes: Box<[Route]>,
    index: Option<Box<Index>>,
}

impl Routes {
    /// These routes, in order.
    pub fn new(routes: Vec<Route>) -> Self {
        Self { index: Index::new(&routes), routes: routes.into() }
    }

    /// The same, with a handler before all of them.
    pub(super) fn behind(self, handler: impl Handler + 'static) -> Self {
        let first = Route::new(MatcherSets::default(), None, vec![Box::new(handler)], false);
        Self::new(std::iter::once(first).chain(self.routes).collect())
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

/// So deep may routes be nested. Only named routes that invoke each other in a circle get there.
const FRAMES_MAX: usize = 256;

/// Where a request stands in one list of routes.
#[derive(Clone, Copy)]
struct Frame<'p> {
    routes: &'p Routes,
    route: usize,
    /// The next handler of `route`; `None` while the route's matchers have not been asked.
    handler: Option<usize>,
}

/// Error routes that take over if something fails, and where a request stood when it met them.
pub struct ErrorRoutes<'p> {
    routes: &'p Routes,
    rest: SmallVec<[Frame<'p>; 4]>,
    /// So many wrappers stand around them.
    wrappers: usize,
    /// The laid aside answer that they stand behind, by its number.
    original: u32,
}

/// What is still to see the answer.
enum Wrapper<'p> {
    Filter(&'p dyn ResponseFilter),
    Intercept(&'p dyn Interceptor),
}

/// An answer that routes are run on.
struct Pending {
    original: Original,
    /// So many wrappers stand around the routes.
    wrappers: usize,
    /// [`Chain::unanswered`] outside of the routes.
    unanswered: StatusCode,
}

/// What comes next on a request's way.
enum Turn<'p> {
    Handler(&'p dyn Handler),
    /// A route's matchers have to look something up, and are asked again.
    LookUp,
    /// Nothing is left.
    End,
}

/// A request's way through nested routes.
struct Chain<'p> {
    frames: SmallVec<[Frame<'p>; 4]>,
    /// Subroutes' error routes stay here until there is an answer: in Caddy, what follows a
    /// subroute runs inside it, so an error there is still the subroute's.
    armed: Vec<ErrorRoutes<'p>>,
    wrappers: Vec<Wrapper<'p>>,
    /// The status of an answer that no handler gave.
    unanswered: StatusCode,
    /// The answer that the request is being taken through routes for, if it is.
    pending: Option<Box<Pending>>,
    /// How many answers have been laid aside.
    originals: u32,
}

/// Takes a request through `routes`, and through `errors` if that fails, to an answer; with what
/// became of it on the way.
///
/// This is the only place where a [`HandlerError`] becomes an answer.
pub async fn run<'p>(routes: &'p Routes, errors: Option<&'p Routes>, x: &mut Exchange) -> (Response, Fate) {
    let error = match Chain::new(routes, StatusCode::OK).drive(x).await {
        Ok(response) => return (response, Fate::Answered),
        Err(error) => error,
    };
    let status = error.status;
    AccessEntry::settle(x);
    if let Some(metered) = x.metered.take() {
        metered.failed(status);
    }
    x.error = Some(error);
    if let Some(errors) = errors {
        x.restore_original();
        return match Chain::new(errors, status).drive(x).await {
            Ok(response) => (response, Fate::Failed { handled: true }),
            // What the client asked for went wrong in the first way.
            Err(second) => (bare(status, x), Fate::FailedTwice(second)),
        };
    }
    (bare(status, x), Fate::Failed { handled: false })
}

/// An answer of a status and the header fields gathered so far.
fn bare(status: StatusCode, x: &mut Exchange) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    *response.headers_mut() = std::mem::take(&mut x.response_headers);
    response
}

impl<'p> Chain<'p> {
    fn new(routes: &'p Routes, unanswered: StatusCode) -> Self {
        let mut frames = SmallVec::new();
        frames.push(Frame { routes, route: 0, handler: None });
        let (armed, wrappers) = (Vec::new(), Vec::new());
        Self { frames, armed, wrappers, unanswered, pending: None, originals: 0 }
    }

    /// Runs to an answer, or to an error that no subroute's error routes took.
    async fn drive(&mut self, x: &mut Exchange) -> Result<Response, HandlerError> {
        loop {
            let outcome = match self.next_handler(x) {
                Ok(Turn::LookUp) => match x.answer_lookup().await {
                    Ok(()) => continue,
                    Err(error) => Outcome::Fail(error),
                },
                Ok(Turn::Handler(handler)) => match handler.handle(x) {
                    Step::Now(outcome) => outcome,
                    Step::Later(future) => future.await,
                },
                Ok(Turn::End) => Outcome::Respond(self.unanswered(x)),
                Err(error) => Outcome::Fail(error),
            };
            let failure = match outcome {
                Outcome::Next => continue,
                Outcome::Enter(_, _) if self.frames.len() >= FRAMES_MAX => {
                    HandlerError::internal("routes enter each other without end")
                }
                Outcome::Enter(routes, errors) => {
                    self.enter(routes, errors);
                    continue;
                }
                Outcome::Filter(filter) => {
                    self.wrappers.push(Wrapper::Filter(filter));
                    continue;
                }
                Outcome::Intercept(interceptor) => {
                    self.wrappers.push(Wrapper::Intercept(interceptor));
                    continue;
                }
                Outcome::Respond(response) => match self.pass(x, response).await {
                    Ok(Some(response)) => return Ok(response),
                    Ok(None) => continue,
                    Err(error) => error,
                },
                Outcome::Fail(error) => error,
            };
            let Some(armed) = self.armed.pop() else { return Err(failure) };
            x.error = Some(failure);
            self.wrappers.truncate(armed.wrappers);
            if armed.original != self.originals {
                self.pending = None;
            }
            self.frames = armed.rest;
            self.frames.push(Frame { routes: armed.routes, route: 0, handler: None });
        }
    }

    /// The answer at the end of the routes, where no handler has given one.
    fn unanswered(&mut self, x: &mut Exchange) -> Response {
        if self.unanswered != StatusCode::OK {
            return bare(self.unanswered, x);
        }
        // As in Caddy, what waits for an answer to change waits in vain.
        if let Some(pending) = self.pending.take() {
            self.wrappers.truncate(pending.wrappers);
            self.unanswered = pending.unanswered;
            return pending.original.restore(x);
        }
        self.wrappers.clear();
        x.unhandled = true;
        bare(StatusCode::OK, x)
    }

    /// Takes an answer past all that is to see it; `None` if the request goes through further routes.
    async fn pass(
        &mut self,
        x: &mut Exchange,
        mut response: Response,
    ) -> Result<Option<Response>, HandlerError> {
        if let Some(pending) = self.pending.take() {
            self.unanswered = pending.unanswered;
            pending.original.give_way(&x.method, &mut response);
        }
        while let Some(wrapper) = self.wrappers.pop() {
            // An error here is none of those who stand inside.
            while self.armed.last().is_some_and(|armed| armed.wrappers > self.wrappers.len()) {
                self.armed.pop();
            }
            let interceptor = match wrapper {
                Wrapper::Filter(filter) => {
                    filter.filter(x, &mut response)?;
                    continue;
                }
                Wrapper::Intercept(interceptor) => interceptor,
            };
            let intercepted = match interceptor.intercept(x, response) {
                Interception::Now(intercepted) => intercepted,
                Interception::Later(future) => future.await,
            };
            match intercepted {
                Intercepted::Pass(passed) => response = passed,
                Intercepted::Enter(routes, original) => {
                    self.enter_with(x, routes, original);
                    return Ok(None);
                }
                Intercepted::Fail(error) => return Err(error),
            }
        }
        Ok(Some(response))
    }

    /// Goes through `routes` and nothing else, with an answer laid aside.
    fn enter_with(&mut self, x: &mut Exchange, routes: &'p Routes, answer: Response) {
        let original = Original::lay_aside(x, answer);
        let (wrappers, unanswered) = (self.wrappers.len(), self.unanswered);
        self.pending = Some(Box::new(Pending { original, wrappers, unanswered }));
        self.originals += 1;
        self.unanswered = StatusCode::OK;
        self.frames.clear();
        self.frames.push(Frame { routes, route: 0, handler: None });
    }

    /// Whose turn it is.
    fn next_handler(&mut self, x: &mut Exchange) -> Result<Turn<'p>, HandlerError> {
        while let Some(frame) = self.frames.last_mut() {
            let routes = frame.routes;
            if let (None, Some(index)) = (frame.handler, &routes.index) {
                frame.route = index.next(frame.route, x);
            }
            let Some(route) = routes.routes.get(frame.route) else {
                self.frames.pop();
                continue;
            };
            let index = match frame.handler {
                Some(index) => index,
                None => match enters(route, x)? {
                    Some(true) => 0,
                    Some(false) => {
                        frame.route += 1;
                        continue;
                    }
                    None => return Ok(Turn::LookUp),
                },
            };
            if let Some(handler) = route.handlers.get(index) {
                frame.handler = Some(index + 1);
                return Ok(Turn::Handler(handler.as_ref()));
            }
            if route.terminal {
                // `terminal` ends the whole chain, the routes around this one too.
                if let Some(error) = &x.error {
                    self.unanswered = error.status;
                }
                self.frames.clear();
                return Ok(Turn::End);
            }
            frame.route += 1;
            frame.handler = None;
        }
        Ok(Turn::End)
    }

    fn enter(&mut self, routes: &'p Routes, errors: Option<&'p Routes>) {
        if let Some(routes) = errors {
            let (rest, wrappers) = (self.frames.clone(), self.wrappers.len());
            self.armed.push(ErrorRoutes { routes, rest, wrappers, original: self.originals });
        }
        self.frames.push(Frame { routes, route: 0, handler: None });
    }
}

/// Whether a request goes into `route`: its matchers match, and no route of its group has run.
/// `None` if a matcher must look something up first.
fn enters(route: &Route, x: &mut Exchange) -> Result<Option<bool>, HandlerError> {
    let captures = x.captures.len();
    let matched = route.matchers.matches(x);
    if x.lookups.is_some() {
        if x.has_open_lookup() {
            x.captures.truncate(captures);
            return Ok(None);
        }
        x.lookups = None;
    }
    if !matched? {
        return Ok(Some(false));
    }
    let Some(GroupId(id)) = route.group else { return Ok(Some(true)) };
    let (word, bit) = (id as usize / 64, 1_u64 << (id % 64));
    if x.groups.len() <= word {
        x.groups.resize(word + 1, 0);
    }
    if x.groups[word] & bit != 0 {
        return Ok(Some(false));
    }
    x.groups[word] |= bit;
    Ok(Some(true))
}

#[cfg(test)]
mod tests;
