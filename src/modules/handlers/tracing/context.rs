//! A span's place in a trace, as it travels in `traceparent` (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

/// The flag that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// Which trace, and which span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) flags: u8,
}

impl Context {
    /// Reads the value of a `traceparent`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex(version)?;
        // A later version may have more parts, this one has not.
        if version == 0xff || version == 0 && parts.next().is_some() {
            return None;
        }
        let [flags] = hex(flags)?;
        let context = Self { trace: hex(trace)?, span: hex(span)?, flags: flags & SAMPLED };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// A new span, below this one or at the root of a trace of its own.
    pub(super) fn below(parent: Option<&Self>) -> Result<Self, getrandom::Error> {
        let mut span = [0; 8];
        getrandom::fill(&mut span)?;
        let (trace, flags) = match parent {
            Some(parent) => (parent.trace, parent.flags),
            None => {
                let mut trace = [0; 16];
                getrandom::fill(&mut trace)?;
                (trace, SAMPLED)
            }
        };
        Ok(Self { trace, span, flags })
    }

    /// Whether the trace is recorded: whoever began it decides.
    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace))
    }

    pub(super) fn span_id(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.span))
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id(), self.span_id(), self.flags)
    }
}

/// Bytes written in lower case, exactly so many.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn what_is_read_is_written_again() {
        let text = format!("00-{TRACE}-b7ad6b7169203331-01");
        let context = Context::parse(&text).unwrap();
        assert_eq!(context.to_string(), text);
        assert!(context.is_sampled());
        let below = Context::below(Some(&context)).unwrap();
        assert_eq!(below.trace_id(), TRACE);
        assert_ne!(below.span, context.span);
        let unsampled = Context::parse(&format!("00-{TRACE}-b7ad6b7169203331-00")).unwrap();
        assert!(!Context::below(Some(&unsampled)).unwrap().is_sampled());
        assert!(Context::below(None).unwrap().is_sampled());
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for text in [
            String::new(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-01-x"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-b7ad6b716920333-01"),
            format!("00-{TRACE}-b7ad6b7169203331-é"),
        ] {
            assert_eq!(Context::parse(&text), None, "{text}");
        }
        assert!(Context::parse(&format!("01-{TRACE}-b7ad6b7169203331-01-more")).is_some());
    }
}
