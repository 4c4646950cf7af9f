//! What a matcher is, and sets of them.

use serde_json::Value;

use super::{Exchange, HandlerError, Provision, ProvisionError};

/// A provisioned matcher.
pub trait Matcher: Send + Sync {
    /// Whether the request matches. A matcher may leave values for placeholders (captures of a
    /// regular expression), and has no other side effect.
    ///
    /// # Errors
    /// A [`HandlerError`] ends the chain as if a handler had failed.
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError>;

    /// Roughly what a look costs, in nanoseconds; a set tries its cheap members first.
    fn cost_ns(&self) -> u32 {
        20
    }
}

/// Builds a matcher from the JSON that stands under its name.
pub type ProvisionMatcher = fn(&Value, &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError>;

/// The row of one matcher, by which provisioning finds it.
pub struct MatcherType {
    /// The name in a matcher set, which is Caddy's id without `http.matchers.`.
    pub id: &'static str,
    /// Builds one from its JSON.
    pub provision: ProvisionMatcher,
}

/// Matchers that must all match.
#[derive(Default)]
pub struct MatcherSet(Box<[Box<dyn Matcher>]>);

impl MatcherSet {
    /// A set of these; the cheap ones are tried first.
    pub fn new(mut matchers: Vec<Box<dyn Matcher>>) -> Self {
        matchers.sort_by_key(|matcher| matcher.cost_ns());
        Self(matchers.into())
    }

    /// Whether all members match.
    ///
    /// # Errors
    /// The first member's error.
    pub fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        for matcher in &self.0 {
            if !matcher.matches(x)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Sets of which one must match; none at all matches everything.
#[derive(Default)]
pub struct MatcherSets(Box<[MatcherSet]>);

impl MatcherSets {
    /// These sets, tried in order.
    pub fn new(sets: Vec<MatcherSet>) -> Self {
        Self(sets.into())
    }

    /// Whether there is no set, so that everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a set matches, or there is none.
    ///
    /// # Errors
    /// The error of a member that was tried.
    pub fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        if self.0.is_empty() {
            return Ok(true);
        }
        for set in &self.0 {
            if set.matches(x)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
