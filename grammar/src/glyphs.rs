//! Pasted text as an input for nom.

use std::iter::{Copied, Enumerate};
use std::slice::Iter;

use nom::{Input, Needed};

use crate::env::Glyph;

/// The rest of a pasted text, from some glyph on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glyphs<'a>(pub(crate) &'a [Glyph]);

impl<'a> Glyphs<'a> {
    pub(crate) fn first(self) -> Option<Glyph> {
        self.0.first().copied()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// What lies between here and `rest`, which must be a later part of the same text.
    pub(crate) fn until(self, rest: Glyphs<'_>) -> &'a [Glyph] {
        &self.0[..self.0.len() - rest.0.len()]
    }
}

impl<'a> Input for Glyphs<'a> {
    type Item = Glyph;
    type Iter = Copied<Iter<'a, Glyph>>;
    type IterIndices = Enumerate<Self::Iter>;

    fn input_len(&self) -> usize {
        self.0.len()
    }

    fn take(&self, index: usize) -> Self {
        Glyphs(&self.0[..index])
    }

    fn take_from(&self, index: usize) -> Self {
        Glyphs(&self.0[index..])
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        let (head, rest) = self.0.split_at(index);
        (Glyphs(rest), Glyphs(head))
    }

    fn position<P: Fn(Glyph) -> bool>(&self, predicate: P) -> Option<usize> {
        self.0.iter().position(|glyph| predicate(*glyph))
    }

    fn iter_elements(&self) -> Self::Iter {
        self.0.iter().copied()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, Needed> {
        self.0.len().checked_sub(count).map(|_| count).ok_or_else(|| Needed::new(count - self.0.len()))
    }
}
