//! Sizes in bytes as people write them.

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number.
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    Number(String),
    /// A unit that there isn't.
    #[error("unhandled size name: {0}")]
    Unit(String),
    /// More than 64 bits of bytes.
    #[error("too large: {0}")]
    TooLarge(String),
}

/// Reads `10MB` (decimal), `10MiB` (binary), `1,024`, `1.5 kB`; letter case does not count.
///
/// # Errors
/// [`SizeError`], worded as in Caddy.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let number_end =
        text.find(|ch: char| !ch.is_ascii_digit() && ch != '.' && ch != ',').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let number = number.replace(',', "");
    let value: f64 = number.parse().map_err(|_| SizeError::Number(number.clone()))?;
    let unit = unit.trim().to_lowercase();
    let factor = factor(&unit).ok_or_else(|| SizeError::Unit(unit.clone()))?;
    let bytes = value * factor as f64;
    if bytes >= u64::MAX as f64 {
        return Err(SizeError::TooLarge(text.to_owned()));
    }
    Ok(bytes as u64)
}

fn factor(unit: &str) -> Option<u64> {
    let prefix = unit.strip_suffix('b').unwrap_or(unit);
    let (letter, base) = match prefix.strip_suffix('i') {
        Some(letter) => (letter, 1_024_u64),
        None => (prefix, 1_000),
    };
    let power = match letter {
        "" if base == 1_000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    Some(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_bytes("42"), Ok(42));
        assert_eq!(parse_bytes("42B"), Ok(42));
        assert_eq!(parse_bytes("10MB"), Ok(10_000_000));
        assert_eq!(parse_bytes("10 mib"), Ok(10 << 20));
        assert_eq!(parse_bytes("1.5k"), Ok(1_500));
        assert_eq!(parse_bytes("1,024 Ki"), Ok(1 << 20));
        assert_eq!(parse_bytes("1eb"), Ok(10_u64.pow(18)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        assert_eq!(parse_bytes("x"), Err(SizeError::Number(String::new())));
        assert_eq!(parse_bytes("1xb"), Err(SizeError::Unit("xb".into())));
        assert_eq!(parse_bytes("1i"), Err(SizeError::Unit("i".into())));
        assert_eq!(parse_bytes("100eb"), Err(SizeError::TooLarge("100eb".into())));
    }
}
