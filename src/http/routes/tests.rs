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
    /// Takes answers with this status through routes.
    Intercept(u16, Routes),
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
            Act::Intercept(_, _) => Outcome::Intercept(self),
        })
    }
}

impl ResponseFilter for Probe {
    fn filter(&self, _: &mut Exchange, response: &mut Response) -> Result<(), HandlerError> {
        response.headers_mut().append("trail", self.0.to_uppercase().parse().unwrap());
        Ok(())
    }
}

impl Interceptor for Probe {
    fn intercept<'p: 'x, 'x>(&'p self, _: &'x mut Exchange, mut answer: Response) -> Interception<'p, 'x> {
        let Act::Intercept(status, routes) = &self.1 else { panic!("not pushed as an interceptor") };
        answer.headers_mut().append("trail", self.0.to_uppercase().parse().unwrap());
        Interception::Now(match answer.status().as_u16() {
            code if code == *status => Intercepted::Enter(routes, answer),
            _ => Intercepted::Pass(answer),
        })
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
    let routes =
        vec![grouped("a", never), grouped("b", MatcherSets::default()), grouped("c", MatcherSets::default())];
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
    assert_eq!(play(fail(), Some(vec![one("e", Act::Fail(500))])), (404, "ae".into()));
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

fn intercepting(name: &'static str, routes: Vec<Route>) -> Route {
    one(name, Act::Intercept(200, Routes::new(routes)))
}

#[test]
fn an_answer_is_taken_through_routes_and_then_past_what_stands_around_them() {
    let inner = vec![one("x", Act::Filter), one("y", Act::Respond)];
    let routes = vec![
        one("a", Act::Filter),
        intercepting("i", inner),
        one("b", Act::Filter),
        one("c", Act::Respond),
        one("n", Act::Respond),
    ];
    assert_eq!(play(routes, None), (200, "aibcBIxyXA".into()));
    let routes = vec![one("a", Act::Intercept(404, Routes::default())), one("c", Act::Respond)];
    assert_eq!(play(routes, None), (200, "acA".into()));
}

#[test]
fn an_answer_goes_on_if_its_routes_give_none() {
    // What waits for their answer waits in vain.
    let inner = vec![one("x", Act::Filter), one("y", Act::Next)];
    let routes = vec![one("a", Act::Filter), intercepting("i", inner), one("c", Act::Respond)];
    assert_eq!(play(routes, None), (200, "aicIxyA".into()));
    assert_eq!(play(vec![one("f", Act::Filter), intercepting("i", vec![])], None), (200, "fi".into()));
}

#[test]
fn interceptors_see_what_those_within_have_made() {
    let inner = vec![intercepting("k", vec![one("z", Act::Respond)]), one("x", Act::Respond)];
    let routes = vec![intercepting("h", vec![one("y", Act::Next)]), intercepting("i", inner)];
    let routes = routes.into_iter().chain([one("c", Act::Respond)]).collect();
    assert_eq!(play(routes, None), (200, "hicIkxKzHy".into()));
}

#[test]
fn an_error_while_an_answer_is_looked_at_belongs_to_those_around() {
    let errors = |name| Some(Routes::new(vec![one(name, Act::Respond)]));
    let inside = Routes::new(vec![one("c", Act::Respond)]);
    let around = Routes::new(vec![
        intercepting("i", vec![one("x", Act::Fail(404))]),
        one("s", Act::Enter(inside, errors("no"))),
    ]);
    let routes = vec![one("o", Act::Enter(around, errors("e")))];
    assert_eq!(play(routes, None), (200, "oiscIxe".into()));
    let routes = vec![intercepting("i", vec![one("x", Act::Fail(404))]), one("c", Act::Respond)];
    assert_eq!(play(routes, None), (404, "icIx".into()));
}

#[test]
fn error_routes_within_leave_the_answer_or_give_another() {
    let play_with = |act| {
        let errors = Routes::new(vec![one("e", act)]);
        let failing = Act::Enter(Routes::new(vec![one("x", Act::Fail(404))]), Some(errors));
        play(vec![intercepting("i", vec![one("s", failing)]), one("c", Act::Respond)], None)
    };
    assert_eq!(play_with(Act::Next), (200, "icIsxe".into()));
    assert_eq!(play_with(Act::Respond), (200, "icIsxe".into()));
}
