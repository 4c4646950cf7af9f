//! Whole numbers as people write them.

/// Why a text is no whole number; the wording is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntegerError {
    /// It is no number, or not a whole one.
    #[error("strconv.Atoi: parsing {0:?}: invalid syntax")]
    Syntax(String),
    /// It doesn't fit in 64 bits.
    #[error("strconv.Atoi: parsing {0:?}: value out of range")]
    Range(String),
}

/// Reads a decimal number, with a sign or without.
///
/// # Errors
/// [`IntegerError`].
pub fn parse_integer(text: &str) -> Result<i64, IntegerError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => IntegerError::Range(text.to_owned()),
        _ => IntegerError::Syntax(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_nothing_else() {
        assert_eq!(parse_integer("42"), Ok(42));
        assert_eq!(parse_integer("-1"), Ok(-1));
        assert_eq!(parse_integer("1.5"), Err(IntegerError::Syntax("1.5".into())));
        assert_eq!(parse_integer(""), Err(IntegerError::Syntax(String::new())));
        let large = "99999999999999999999";
        assert_eq!(parse_integer(large), Err(IntegerError::Range(large.into())));
    }
}
