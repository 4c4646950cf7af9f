//! How grave an entry is.

use std::fmt;
use std::str::FromStr;

/// How grave an entry is; the order is by gravity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What an operator may like to know.
    #[default]
    Info,
    /// Something odd that was dealt with.
    Warn,
    /// Something failed.
    Error,
    /// Something failed that should not be able to.
    Panic,
    /// The process can't go on.
    Fatal,
}

/// The name of a level that there isn't.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized log level: {0}")]
pub struct UnknownLevel(String);

impl Level {
    /// The name in small letters.
    pub const fn lower(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }

    /// The name in capitals.
    pub const fn upper(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Panic => "PANIC",
            Self::Fatal => "FATAL",
        }
    }

    /// The name in capitals and in colour, as ANSI terminals take it (ECMA-48 SGR).
    pub const fn coloured(self) -> &'static str {
        match self {
            Self::Debug => "\u{1b}[35mDEBUG\u{1b}[0m",
            Self::Info => "\u{1b}[34mINFO\u{1b}[0m",
            Self::Warn => "\u{1b}[33mWARN\u{1b}[0m",
            Self::Error => "\u{1b}[31mERROR\u{1b}[0m",
            Self::Panic => "\u{1b}[31mPANIC\u{1b}[0m",
            Self::Fatal => "\u{1b}[31mFATAL\u{1b}[0m",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lower())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads a name in any case; no name at all means [`Level::Info`].
    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let name = name.to_lowercase();
        Ok(match name.as_str() {
            "debug" => Self::Debug,
            "" | "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            _ => return Err(UnknownLevel(name)),
        })
    }
}

impl From<&tracing::Level> for Level {
    fn from(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            // There is nothing below DEBUG in Caddy's logs.
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!("WARN".parse(), Ok(Level::Warn));
        assert_eq!("Error".parse(), Ok(Level::Error));
        assert_eq!("".parse(), Ok(Level::Info));
        assert_eq!("warning".parse::<Level>(), Err(UnknownLevel("warning".into())));
    }
}
