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

    /// What a request must have, at least, for this to match, if that is always the same. Requests that
    /// have it not may pass by unasked.
    fn need(&self) -> Option<Need> {
        None
    }
}

/// What a request must have for a matcher to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// One of these hosts, in lower case.
    Host(Vec<Box<str>>),
    /// A path that is or begins with this one, decoded, clean and in lower case.
    Path {
        /// The path.
        text: Box<[u8]>,
        /// Whether it is the whole one.
        is_all: bool,
    },
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

    /// What a request must have for them to match. Of sets that are alternatives nothing is known.
    pub(super) fn needs(&self) -> impl Iterator<Item = Need> {
        let only = if let [only] = &*self.0 { &*only.0 } else { &[] };
        only.iter().filter_map(|matcher| matcher.need())
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
