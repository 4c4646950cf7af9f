//! The protocol of Redis, as far as a storage needs it: RESP2
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). All lengths have bounds.

use std::io::{self, BufRead, Read, Write};

/// A line of an answer, such as an error, is not longer.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// A value is not longer.
const BULK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A list does not have more entries.
const ENTRIES_MAX: usize = 1_000_000;
/// Lists stand in lists, but not deeper than this.
const DEPTH_MAX: usize = 6;
/// Of an error so much is told.
const ERROR_CHARS_MAX: usize = 200;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is done, and how.
    Status(String),
    Number(i64),
    /// A value; `None` if there is none.
    Value(Option<Vec<u8>>),
    List(Vec<Reply>),
    /// It is not done, and why.
    Error(String),
}

impl Reply {
    /// The text that it is.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Status(text) => Some(text),
            Self::Value(Some(value)) => str::from_utf8(value).ok(),
            _ => None,
        }
    }
}

/// Sends a command.
///
/// # Errors
/// The connection's.
pub(super) fn send(out: &mut impl Write, command: &[&[u8]]) -> io::Result<()> {
    let mut message = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        message.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        message.extend_from_slice(word);
        message.extend_from_slice(b"\r\n");
    }
    out.write_all(&message)?;
    out.flush()
}

/// Receives an answer.
///
/// # Errors
/// The connection's, or that it is no answer, or too long.
pub(super) fn receive(from: &mut impl BufRead) -> io::Result<Reply> {
    receive_within(from, DEPTH_MAX, &mut 0)
}

/// Receives an answer of no more levels than this, whose lists have no more entries in all.
fn receive_within(from: &mut impl BufRead, depth: usize, entries: &mut usize) -> io::Result<Reply> {
    let line = line(from)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| nonsense("an empty line"))?;
    match kind {
        "+" => Ok(Reply::Status(rest.to_owned())),
        "-" => Ok(Reply::Error(
            rest.chars().take(ERROR_CHARS_MAX).collect::<String>().escape_debug().to_string(),
        )),
        ":" => rest.parse().map(Reply::Number).map_err(|_| nonsense("no number")),
        "$" => Ok(Reply::Value(bulk(from, rest)?)),
        "*" => {
            let depth = depth.checked_sub(1).ok_or_else(|| nonsense("too many lists within lists"))?;
            let count = length(rest, ENTRIES_MAX)?.unwrap_or(0);
            *entries += count;
            if *entries > ENTRIES_MAX {
                return Err(nonsense("too many entries"));
            }
            (0..count)
                .map(|_| receive_within(from, depth, entries))
                .collect::<io::Result<_>>()
                .map(Reply::List)
        }
        _ => Err(nonsense("an unknown kind of answer")),
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| nonsense("a line without an end"))?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// A length; `None` for that of nothing.
fn length(text: &str, most: usize) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(nonsense("a length out of bounds")),
        },
        Err(_) => Err(nonsense("no length")),
    }
}

fn bulk(from: &mut impl BufRead, header: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = length(header, BULK_BYTES_MAX)? else { return Ok(None) };
    let mut value = Vec::new();
    from.take(length as u64).read_to_end(&mut value)?;
    let mut end = [0; 2];
    from.read_exact(&mut end)?;
    if value.len() < length || end != *b"\r\n" {
        return Err(nonsense("a value without an end"));
    }
    Ok(Some(value))
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not Redis: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reply, String> {
        receive(&mut text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_is_a_list_of_words() {
        let mut out = Vec::new();
        send(&mut out, &[b"SET", b"a\r\n", b""]).unwrap();
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
    }

    #[test]
    fn answers_have_five_kinds() {
        assert_eq!(read("+OK\r\n"), Ok(Reply::Status("OK".into())));
        assert_eq!(read(":-7\r\n"), Ok(Reply::Number(-7)));
        assert_eq!(read("$3\r\na\r\n\r\n"), Ok(Reply::Value(Some(b"a\r\n".to_vec()))));
        assert_eq!(read("$-1\r\n"), Ok(Reply::Value(None)));
        let value = |value: &str| Reply::Value(Some(value.into()));
        assert_eq!(read("*2\r\n$1\r\na\r\n$0\r\n\r\n"), Ok(Reply::List(vec![value("a"), value("")])));
        let nested = Reply::List(vec![Reply::List(vec![Reply::Number(1), Reply::Value(None)]), value("a")]);
        assert_eq!(read("*2\r\n*2\r\n:1\r\n$-1\r\n$1\r\na\r\n"), Ok(nested));
        assert_eq!(read("*-1\r\n"), Ok(Reply::List(Vec::new())));
        assert_eq!(read("-ERR \u{1b}x\r\n"), Ok(Reply::Error("ERR \\u{1b}x".into())));
    }

    #[test]
    fn what_is_no_answer_or_too_long_is_refused() {
        for text in [
            "",
            "\r\n",
            "+OK",
            "+OK\n",
            "?x\r\n",
            ":x\r\n",
            "$x\r\n",
            "$-2\r\n",
            "$3\r\nab\r\n",
            "$1\r\nabc",
            "*2\r\n:1\r\n",
            "*2\r\n*999999\r\n",
            "$99999999999\r\n",
            "*1000001\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&format!("+{}\r\n", "x".repeat(9000))).is_err());
        assert!(read(&"*1\r\n".repeat(100_000)).is_err());
    }
}
