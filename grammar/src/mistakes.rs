//! All that is wrong with a file, not only the first of it.

use std::collections::HashSet;

use crate::report::{Error, Place};

/// Mistakes of one run that are shown; further ones are counted.
pub const MISTAKES_MAX: usize = 20;
/// Mistakes that are looked for; a file with so many is not read any further.
const COUNTED_MAX: usize = 200;

/// The mistakes found so far.
///
/// The first one stays the first, as it is the one that Caddy names. Each place is named once for one reason, however
/// often it was imported.
#[derive(Debug, Default)]
pub struct Mistakes {
    errors: Vec<Error>,
    more: usize,
    seen: HashSet<Key>,
    /// Whether names may be defined by what could not be imported.
    names_unknown: bool,
    /// The same of snippets.
    pub(crate) snippets_unknown: bool,
}

/// What makes two mistakes one: the place as the reader sees it, and what is said of it.
type Key = (Option<(String, u32, u32)>, String);

fn key(error: &Error) -> Key {
    let place = |place: &Place| (place.file().name.to_string(), place.span.start, place.span.end);
    (error.spot().map(place), error.own_message().to_owned())
}

impl Mistakes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.errors.len() + self.more
    }

    /// Whether there are so many that looking for further ones would only cost time.
    pub fn is_full(&self) -> bool {
        self.count() >= COUNTED_MAX
    }

    /// Notes a mistake, with all that were found together with it.
    pub fn add(&mut self, mut error: Error) {
        let (further, more) = error.take_further();
        self.more += more;
        self.add_one(error);
        for error in further {
            self.add_one(error);
        }
    }

    fn add_one(&mut self, error: Error) {
        if self.names_unknown && error.is_about_a_name() || !self.seen.insert(key(&error)) {
            return;
        }
        if self.errors.len() < MISTAKES_MAX { self.errors.push(error) } else { self.more += 1 }
    }

    /// Notes a mistake behind which reading can go on.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn note(&mut self, error: Error) -> Result<(), Error> {
        if self.is_full() {
            return Err(error);
        }
        self.add(error);
        Ok(())
    }

    /// Notes that something could not be imported, as [`Mistakes::note`] does it. That names are unknown, which it may have defined, is then no
    /// mistake of its own.
    pub(crate) fn import_failed(&mut self, error: Error) -> Result<(), Error> {
        self.names_unknown = false;
        self.note(error)?;
        self.names_unknown = true;
        Ok(())
    }

    /// All mistakes as one error: the first, and those behind it in the order of the text.
    ///
    /// # Errors
    /// There is a mistake.
    pub fn none(self) -> Result<(), Error> {
        let mut errors = self.errors.into_iter();
        let Some(mut first) = errors.next() else { return Ok(()) };
        let mut further: Vec<Error> = errors.collect();
        further.sort_by_key(|error| error.spot().map(|place| (place.file().name.clone(), place.span.start)));
        first.set_further(further, self.more);
        Err(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_named_once_and_many_are_counted() {
        let mut mistakes = Mistakes::default();
        for number in 0..50 {
            mistakes.add(Error::new(format!("m{}", number / 2)));
        }
        let error = mistakes.none().expect_err("there are mistakes");
        assert_eq!(error.to_string(), "m0");
        assert_eq!(error.further().len(), MISTAKES_MAX - 1);
        assert_eq!(error.more(), 5);
        assert!(Mistakes::default().none().is_ok());
    }

    #[test]
    fn mistakes_within_mistakes_come_out_and_get_their_context() {
        let mut inner = Mistakes::default();
        inner.add(Error::new("a"));
        inner.add(Error::new("b"));
        let mut outer = Mistakes::default();
        outer.add(inner.none().expect_err("two").context("in x"));
        outer.add(Error::new("a"));
        let error = outer.none().expect_err("two");
        assert_eq!(error.to_string(), "in x: a");
        let further: Vec<String> = error.further().iter().map(Error::to_string).collect();
        assert_eq!(further, ["in x: b"]);
    }

    #[test]
    fn names_that_a_failed_import_may_have_defined_are_not_missed() {
        let mut mistakes = Mistakes::default();
        mistakes.import_failed(Error::new("no such file")).expect("it is the first");
        mistakes.add(Error::new("unknown").about_a_name());
        mistakes.add(Error::new("other"));
        let error = mistakes.none().expect_err("two");
        assert_eq!((error.further().len(), error.more()), (1, 0));
    }
}
