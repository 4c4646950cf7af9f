//! Compiled routes, and [`run`]: the one visible loop that takes a request through them.

use http::StatusCode;
use smallvec::SmallVec;

use super::{
    AccessEntry, Body, Exchange, Fate, Handler, HandlerError, MatcherSets, Outcome, Response, ResponseFilter,
    Step,
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
pub struct Routes(Box<[Route]>);

impl Routes {
    /// These routes, in order.
    pub fn new(routes: Vec<Route>) -> Self {
        Self(routes.into())
    }

    /// The same, with a handler before all of them.
    pub(super) fn behind(self, handler: impl Handler + 'static) -> Self {
        let first = Route::new(MatcherSets::default(), None, vec![Box::new(handler)], false);
        Self(std::iter::once(first).chain(self.0).collect())
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// So deep may routes be nested. Only named routes that invoke each other in a circle get there.
const FRAMES_MAX: usize = 256;

/// Where a request stands in one list of routes.
#[derive(Clone, Copy)]
struct Frame<'p> {
    routes: &'p [Route],
    route: usize,
    /// The next handler of `route`; `None` while the route's matchers have not been asked.
    handler: Option<usize>,
}

/// Error routes that take over if something fails, and where a request stood when it met them.
pub struct ErrorRoutes<'p> {
    routes: &'p Routes,
    rest: SmallVec<[Frame<'p>; 4]>,
    filters: usize,
}

/// A request's way through nested routes.
struct Chain<'p> {
    frames: SmallVec<[Frame<'p>; 4]>,
    /// Subroutes' error routes stay here until there is an answer: in Caddy, what follows a
    /// subroute runs inside it, so an error there is still the subroute's.
    armed: Vec<ErrorRoutes<'p>>,
    filters: Vec<&'p dyn ResponseFilter>,
    /// The status of an answer that no handler gave.
    unanswered: StatusCode,
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
    x.error = Some(error);
    if let Some(errors) = errors {
        x.restore_original();
        return match Chain::new(errors, status).drive(x).await {
            Ok(response) => (response, Fate::Failed { handled: true }),
            Err(second) => (bare(second.status, x), Fate::FailedTwice(second)),
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
        frames.push(Frame { routes: &routes.0, route: 0, handler: None });
        Self { frames, armed: Vec::new(), filters: Vec::new(), unanswered }
    }

    /// Runs to an answer, or to an error that no subroute's error routes took.
    async fn drive(&mut self, x: &mut Exchange) -> Result<Response, HandlerError> {
        loop {
            let outcome = match self.next_handler(x) {
                Ok(Some(handler)) => match handler.handle(x) {
                    Step::Now(outcome) => outcome,
                    Step::Later(future) => future.await,
                },
                Ok(None) => {
                    x.unhandled = self.unanswered == StatusCode::OK;
                    Outcome::Respond(bare(self.unanswered, x))
                }
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
                    self.filters.push(filter);
                    continue;
                }
                Outcome::Respond(mut response) => match self.filter(x, &mut response) {
                    Ok(()) => return Ok(response),
                    Err(error) => error,
                },
                Outcome::Fail(error) => error,
            };
            let Some(armed) = self.armed.pop() else { return Err(failure) };
            x.error = Some(failure);
            self.filters.truncate(armed.filters);
            self.frames = armed.rest;
            self.frames.push(Frame { routes: &armed.routes.0, route: 0, handler: None });
        }
    }

    /// The next handler whose turn it is; `None` at the end of the chain.
    fn next_handler(&mut self, x: &mut Exchange) -> Result<Option<&'p dyn Handler>, HandlerError> {
        while let Some(frame) = self.frames.last_mut() {
            let routes = frame.routes;
            let Some(route) = routes.get(frame.route) else {
                self.frames.pop();
                continue;
            };
            let index = match frame.handler {
                Some(index) => index,
                None if enters(route, x)? => 0,
                None => {
                    frame.route += 1;
                    continue;
                }
            };
            if let Some(handler) = route.handlers.get(index) {
                frame.handler = Some(index + 1);
                return Ok(Some(handler.as_ref()));
            }
            if route.terminal {
                // `terminal` ends the whole chain, the routes around this one too.
                if let Some(error) = &x.error {
                    self.unanswered = error.status;
                }
                self.frames.clear();
                return Ok(None);
            }
            frame.route += 1;
            frame.handler = None;
        }
        Ok(None)
    }

    fn enter(&mut self, routes: &'p Routes, errors: Option<&'p Routes>) {
        if let Some(routes) = errors {
            self.armed.push(ErrorRoutes { routes, rest: self.frames.clone(), filters: self.filters.len() });
        }
        self.frames.push(Frame { routes: &routes.0, route: 0, handler: None });
    }

    fn filter(&mut self, x: &mut Exchange, response: &mut Response) -> Result<(), HandlerError> {
        while let Some(filter) = self.filters.pop() {
            filter.filter(x, response)?;
        }
        Ok(())
    }
}

/// Whether a request goes into `route`: its matchers match, and no route of its group has run.
fn enters(route: &Route, x: &mut Exchange) -> Result<bool, HandlerError> {
    if !route.matchers.matches(x)? {
        return Ok(false);
    }
    let Some(GroupId(id)) = route.group else { return Ok(true) };
    let (word, bit) = (id as usize / 64, 1_u64 << (id % 64));
    if x.groups.len() <= word {
        x.groups.resize(word + 1, 0);
    }
    if x.groups[word] & bit != 0 {
        return Ok(false);
    }
    x.groups[word] |= bit;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{ConnInfo, Matcher, MatcherSet};

    /// Appends its letter to the `trail` header of the answer, then does what it is told.
    struct Probe(&'static str, Act);

    enum Act {
        Next,
        Respond,
        Fail(u16),
        Enter(Routes, Option<Routes>),
        Filter,
    }

    impl Handler for Probe {
        fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
            x.response_headers.append("trail", self.0.parse().unwrap());
            Step::Now(match &self.1 {
                Act::Next => Outcome::Next,
                Act::Respond => Outcome::Respond(bare(StatusCode::OK, x)),
                Act::Fail(status) => {
                    Outcome::Fail(HandlerError::new(StatusCode::from_u16(*status).unwrap(), "failed"))
                }
                Act::Enter(routes, errors) => Outcome::Enter(routes, errors.as_ref()),
                Act::Filter => Outcome::Filter(self),
            })
        }
    }

    impl ResponseFilter for Probe {
        fn filter(&self, _: &mut Exchange, response: &mut Response) -> Result<(), HandlerError> {
            response.headers_mut().append("trail", self.0.to_uppercase().parse().unwrap());
            Ok(())
        }
    }

    struct Never;

    impl Matcher for Never {
        fn matches(&self, _: &mut Exchange) -> Result<bool, HandlerError> {
            Ok(false)
        }
    }

    fn route(probes: Vec<Probe>) -> Route {
        let handlers = probes.into_iter().map(|probe| Box::new(probe) as Box<dyn Handler>).collect();
        Route::new(MatcherSets::default(), None, handlers, false)
    }

    fn one(name: &'static str, act: Act) -> Route {
        route(vec![Probe(name, act)])
    }

    /// The status of the answer and the order in which the probes ran.
    fn play(routes: Vec<Route>, errors: Option<Vec<Route>>) -> (u16, String) {
        let conn = ConnInfo::new(None, None, None);
        let mut x = Exchange::new(http::Request::new(Body::Empty), Arc::new(conn));
        let (routes, errors) = (Routes::new(routes), errors.map(Routes::new));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (response, _) = runtime.block_on(run(&routes, errors.as_ref(), &mut x));
        let trail = response.headers().get_all("trail").iter().map(|value| value.to_str().unwrap());
        (response.status().as_u16(), trail.collect())
    }

    #[test]
    fn handlers_run_in_order_and_an_empty_chain_is_200() {
        assert_eq!(play(vec![], None), (200, String::new()));
        let routes = vec![one("a", Act::Next), route(vec![Probe("b", Act::Next), Probe("c", Act::Respond)])];
        assert_eq!(play(routes, None), (200, "abc".into()));
    }

    #[test]
    fn filters_run_last_one_first() {
        let routes = vec![one("a", Act::Filter), one("b", Act::Filter), one("c", Act::Respond)];
        assert_eq!(play(routes, None), (200, "abcBA".into()));
    }

    #[test]
    fn terminal_ends_the_routes_around_it_too() {
        let mut inner = one("b", Act::Next);
        inner.terminal = true;
        let subroute = Act::Enter(Routes::new(vec![inner, one("x", Act::Next)]), None);
        let routes = vec![one("a", subroute), one("y", Act::Respond)];
        assert_eq!(play(routes, None), (200, "ab".into()));
    }

    #[test]
    fn only_the_first_match_of_a_group_runs() {
        let grouped = |name, matchers| {
            let probe: Box<dyn Handler> = Box::new(Probe(name, Act::Next));
            Route::new(matchers, Some(GroupId::nth(70)), vec![probe], false)
        };
        let never = MatcherSets::new(vec![MatcherSet::new(vec![Box::new(Never)])]);
        let routes = vec![
            grouped("a", never),
            grouped("b", MatcherSets::default()),
            grouped("c", MatcherSets::default()),
        ];
        assert_eq!(play(routes, None), (200, "b".into()));
    }

    #[test]
    fn an_error_without_error_routes_is_its_status() {
        assert_eq!(play(vec![one("a", Act::Fail(404))], None), (404, "a".into()));
    }

    #[test]
    fn error_routes_answer_or_leave_the_status() {
        let fail = || vec![one("a", Act::Fail(404))];
        assert_eq!(play(fail(), Some(vec![one("e", Act::Respond)])), (200, "ae".into()));
        assert_eq!(play(fail(), Some(vec![one("e", Act::Next)])), (404, "ae".into()));
        assert_eq!(play(fail(), Some(vec![one("e", Act::Fail(500))])), (500, "ae".into()));
    }

    #[test]
    fn a_subroutes_error_routes_stay_armed_for_what_follows_it() {
        let subroute = || {
            let errors = Routes::new(vec![one("e", Act::Next)]);
            Act::Enter(Routes::new(vec![one("b", Act::Next)]), Some(errors))
        };
        // The failing handler stands behind the subroute, and what is behind that still runs.
        let routes = vec![one("a", subroute()), one("c", Act::Fail(404))];
        assert_eq!(play(routes, None), (404, "abcec".into()));
    }

    #[test]
    fn filters_pushed_before_a_subroute_see_its_error_answer() {
        let errors = Routes::new(vec![one("e", Act::Respond)]);
        let inner = Routes::new(vec![one("g", Act::Filter), one("b", Act::Fail(404))]);
        let routes = vec![one("f", Act::Filter), one("a", Act::Enter(inner, Some(errors)))];
        assert_eq!(play(routes, None), (200, "fagbeF".into()));
    }
}
