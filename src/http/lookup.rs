//! Questions of matchers that would make a worker wait, such as whether a file exists.
//!
//! Matchers answer at once. One that can't puts its question here and says no; the worker sends the
//! question to the blocking pool, keeps the answer, and asks the route's matchers again from the
//! start. They have no side effects, so they come to the same question, which now has its answer.
//! Thus matchers inside others, and in expressions, may ask as well, and those that never do pay nothing.

use std::any::Any;

use smallvec::SmallVec;

use super::{Exchange, HandlerError, MatcherSets};

/// So many questions may the matchers of one route ask.
const QUESTIONS_MAX: usize = 64;

type Answer = Box<dyn Any + Send>;

/// What one route's matchers have asked so far.
#[derive(Default)]
pub(super) struct Lookups {
    /// The answers, in the order of their questions.
    answers: SmallVec<[Answer; 2]>,
    /// So many of them have been taken in this round.
    taken: usize,
    question: Option<Box<dyn FnOnce() -> Answer + Send>>,
}

impl Exchange {
    /// The answer to a question that `work` finds on the blocking pool. `None` as long as it isn't
    /// there: a matcher then says no, and is asked again.
    pub fn look_up<T: Clone + Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let lookups = self.lookups.get_or_insert_default();
        if lookups.question.is_some() {
            return None;
        }
        let answer =
            lookups.answers.get(lookups.taken).and_then(|answer| answer.downcast_ref::<T>()).cloned();
        if answer.is_some() {
            lookups.taken += 1;
        } else {
            lookups.answers.truncate(lookups.taken);
            lookups.question = Some(Box::new(|| Box::new(work())));
        }
        answer
    }

    /// Whether a question is open, so that what matchers say does not count yet.
    pub(super) fn has_open_lookup(&self) -> bool {
        self.lookups.as_ref().is_some_and(|lookups| lookups.question.is_some())
    }

    /// Finds the answer to the open question.
    pub(super) async fn answer_lookup(&mut self) -> Result<(), HandlerError> {
        let Some(lookups) = &mut self.lookups else { return Ok(()) };
        let Some(question) = lookups.question.take() else { return Ok(()) };
        lookups.taken = 0;
        if lookups.answers.len() >= QUESTIONS_MAX {
            return Err(HandlerError::internal("the matchers of a route look up too much"));
        }
        lookups.answers.push(unblock(question).await?);
        Ok(())
    }
}

impl MatcherSets {
    /// As [`MatcherSets::matches`], with what the matchers must look up.
    ///
    /// # Errors
    /// The error of a member that was tried.
    pub async fn matches_after_lookups(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        loop {
            let captures = x.captures.len();
            let matched = self.matches(x);
            if !x.has_open_lookup() {
                x.lookups = None;
                return matched;
            }
            x.captures.truncate(captures);
            x.answer_lookup().await?;
        }
    }
}

/// Does what would block on the worker's bounded pool for that. What has not begun when nobody waits
/// for it any more never begins.
///
/// # Errors
/// The pool is shutting down, or the work panicked.
pub async fn unblock<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HandlerError> {
    Unblocked(tokio::task::spawn_blocking(work)).wait().await.map_err(HandlerError::internal)
}

struct Unblocked<T>(tokio::task::JoinHandle<T>);

impl<T> Unblocked<T> {
    async fn wait(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Unblocked<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
