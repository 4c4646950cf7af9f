//! The head of an answer, and how its body is framed (RFC 9112 section 6).

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, response};

use crate::http::status_text;
use crate::http::upstream::write_field;

/// How the body of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the answer says of its length.
    None,
    /// So many bytes are still owed.
    Length(u64),
    /// In chunks.
    Chunks,
    /// Up to the end of the connection.
    Close,
}

/// What an answer must know of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    /// The connection ends behind this answer.
    pub(super) is_last: bool,
}

impl Asked {
    /// What a request was; the connection goes on behind it.
    pub(super) fn new(method: &Method, version: Version) -> Self {
        let (is_head, is_connect) = (*method == Method::HEAD, *method == Method::CONNECT);
        Self { version, is_head, is_connect, is_last: false }
    }

    /// Whether an answer of this status has a body (RFC 9110 section 6.4.1).
    fn allows_body(self, status: StatusCode) -> bool {
        let has_none = self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.is_connect && status.is_success();
        !has_none
    }
}

/// Writes the head of an answer whose body has `length` bytes, if that is known. Returns how the body is
/// framed, and whether the connection ends behind it.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    parts: &response::Parts,
    length: Option<u64>,
    asked: Asked,
) -> (Framing, bool) {
    let status = parts.status;
    write_status(out, status, asked.version);
    let said = said_length(&parts.headers);
    let framing = match said.or(length) {
        _ if !asked.allows_body(status) => Framing::None,
        Some(length) => Framing::Length(length),
        None if asked.version == Version::HTTP_10 => Framing::Close,
        None => Framing::Chunks,
    };
    let ends = asked.is_last || framing == Framing::Close;
    let mut fields = Fields::default();
    for (name, value) in &parts.headers {
        match *name {
            // How the body is framed is said below.
            CONTENT_LENGTH | TRANSFER_ENCODING => continue,
            TRAILER if framing != Framing::Chunks => continue,
            // What can't be kept is not promised.
            CONNECTION if !fields.look_at_connection(value) && ends => continue,
            DATE => fields.has_date = true,
            _ => {}
        }
        write_field(out, name, value.as_bytes());
    }
    match framing {
        Framing::Length(length) => write_length(out, length),
        Framing::Chunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // What a GET would have got; an empty body says nothing of that.
        Framing::None if asked.is_head && Asked { is_head: false, ..asked }.allows_body(status) => {
            if let Some(length) = said.or(length.filter(|length| *length > 0)) {
                write_length(out, length);
            }
        }
        Framing::None | Framing::Close => {}
    }
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    // To whoever takes a CONNECT's answer by the letter, what comes behind it is a tunnel.
    let ends_http = switches || asked.is_connect && status.is_success();
    let is_last = asked.is_last || fields.closes || framing == Framing::Close || ends_http;
    match asked.version {
        Version::HTTP_10 if !is_last && !fields.keeps_alive => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        Version::HTTP_10 => {}
        _ if is_last && !fields.closes && !switches => out.extend_from_slice(b"Connection: close\r\n"),
        _ => {}
    }
    if !fields.has_date {
        write_date(out);
    }
    out.extend_from_slice(b"\r\n");
    (framing, is_last)
}

/// What the fields of an answer say of the connection.
#[derive(Default)]
struct Fields {
    closes: bool,
    keeps_alive: bool,
    has_date: bool,
}

impl Fields {
    /// Takes in one `Connection` field; whether it says more than that the connection goes on.
    fn look_at_connection(&mut self, value: &HeaderValue) -> bool {
        let mut says_more = false;
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let keeps_alive = option.eq_ignore_ascii_case(b"keep-alive");
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= keeps_alive;
            says_more |= !keeps_alive;
        }
        says_more
    }
}

/// The status line, with Go's words.
fn write_status(out: &mut Vec<u8>, status: StatusCode, version: Version) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    match status_text(status) {
        "" => {
            out.extend_from_slice(b"status code ");
            out.extend_from_slice(status.as_str().as_bytes());
        }
        text => out.extend_from_slice(text.as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The length that the answer's own fields name. One that is none is not sent, as with Go; of several the
/// first counts.
fn said_length(headers: &HeaderMap) -> Option<u64> {
    let digits = headers.get(CONTENT_LENGTH)?.as_bytes().trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse::<i64>().ok().map(i64::unsigned_abs)
}

/// The length of `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end.
const DATE_LINE_BYTES: usize = 37;

/// Writes what time it is. The text is made once a second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LINE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LINE.with_borrow_mut(|(of, line)| {
        if *of != second || line.is_empty() {
            *of = second;
            line.clear();
            line.reserve_exact(DATE_LINE_BYTES);
            line.extend_from_slice(format!("Date: {}\r\n", httpdate::fmt_http_date(now)).as_bytes());
        }
        out.extend_from_slice(line);
    });
}

/// The last chunk of an answer, with trailers. What would change how the message is read, or is too
/// much, is left out (RFC 9110 section 6.5.1).
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HOST, TE, UPGRADE};
    const BYTES_MAX: usize = 16 * 1024;
    const FRAMING: [http::HeaderName; 10] = [
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        TRAILER,
        CONNECTION,
        HOST,
        UPGRADE,
        TE,
        CONTENT_ENCODING,
        CONTENT_TYPE,
        CONTENT_RANGE,
    ];
    let begin = out.len();
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter().filter(|(name, _)| !FRAMING.contains(name)) {
        if out.len() - begin + name.as_str().len() + value.len() < BYTES_MAX {
            write_field(out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(
        status: u16,
        fields: &[(&'static str, &'static str)],
        length: Option<u64>,
        asked: Asked,
    ) -> String {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields.iter().chain(&[("date", "now")]) {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        let (framing, is_last) = write_head(&mut out, &parts, length, asked);
        let out = String::from_utf8(out).unwrap().replace("Date: now\r\n", "").replace("\r\n", "|");
        format!("{out} {framing:?}{}", if is_last { " last" } else { "" })
    }

    const GET: Asked = Asked { version: Version::HTTP_11, is_head: false, is_connect: false, is_last: false };

    #[test]
    fn bodies_are_framed_by_what_is_known_of_them() {
        let old = Asked { version: Version::HTTP_10, ..GET };
        let (head_of, connect) = (Asked { is_head: true, ..GET }, Asked { is_connect: true, ..GET });
        let said = [("content-length", "7")];
        for (status, fields, length, asked, expected) in [
            (200, &[][..], Some(0), GET, "HTTP/1.1 200 OK|Content-Length: 0|| Length(0)"),
            (200, &[], Some(3), GET, "HTTP/1.1 200 OK|Content-Length: 3|| Length(3)"),
            (200, &said, Some(3), GET, "HTTP/1.1 200 OK|Content-Length: 7|| Length(7)"),
            (200, &[("content-length", "x")], Some(3), GET, "HTTP/1.1 200 OK|Content-Length: 3|| Length(3)"),
            (200, &[], None, GET, "HTTP/1.1 200 OK|Transfer-Encoding: chunked|| Chunks"),
            (
                200,
                &[("transfer-encoding", "x")],
                Some(1),
                GET,
                "HTTP/1.1 200 OK|Content-Length: 1|| Length(1)",
            ),
            (200, &[], None, old, "HTTP/1.0 200 OK|| Close last"),
            (200, &[], Some(1), old, "HTTP/1.0 200 OK|Content-Length: 1|Connection: keep-alive|| Length(1)"),
            (204, &[], Some(0), GET, "HTTP/1.1 204 No Content|| None"),
            (304, &said, Some(0), GET, "HTTP/1.1 304 Not Modified|| None"),
            (304, &said, Some(0), head_of, "HTTP/1.1 304 Not Modified|| None"),
            (200, &said, Some(0), head_of, "HTTP/1.1 200 OK|Content-Length: 7|| None"),
            (200, &[], Some(5), head_of, "HTTP/1.1 200 OK|Content-Length: 5|| None"),
            (200, &[], Some(0), head_of, "HTTP/1.1 200 OK|| None"),
            (200, &[], None, head_of, "HTTP/1.1 200 OK|| None"),
            (200, &said, Some(0), connect, "HTTP/1.1 200 OK|Connection: close|| None last"),
            (200, &[("trailer", "a")], Some(1), GET, "HTTP/1.1 200 OK|Content-Length: 1|| Length(1)"),
        ] {
            assert_eq!(head(status, fields, length, asked), expected);
        }
    }

    #[test]
    fn statuses_have_gos_names() {
        for (status, line) in [
            (299, "HTTP/1.1 299 status code 299"),
            (413, "HTTP/1.1 413 Request Entity Too Large"),
            (404, "HTTP/1.1 404 Not Found"),
        ] {
            assert!(head(status, &[], Some(0), GET).starts_with(line));
        }
    }

    #[test]
    fn the_end_of_a_connection_is_said() {
        let last = Asked { is_last: true, ..GET };
        let close = [("connection", "x, close")];
        for (fields, asked, expected) in [
            (&[][..], last, "HTTP/1.1 200 OK|Content-Length: 0|Connection: close|| Length(0) last"),
            (&close, GET, "HTTP/1.1 200 OK|Connection: x, close|Content-Length: 0|| Length(0) last"),
            (
                &[("connection", "keep-alive")],
                Asked { version: Version::HTTP_10, ..GET },
                "HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 0|| Length(0)",
            ),
            (
                &[("connection", "Keep-Alive")],
                last,
                "HTTP/1.1 200 OK|Content-Length: 0|Connection: close|| Length(0) last",
            ),
            (
                &[("connection", "keep-alive")],
                Asked { version: Version::HTTP_10, ..last },
                "HTTP/1.0 200 OK|Content-Length: 0|| Length(0) last",
            ),
        ] {
            assert_eq!(head(200, fields, Some(0), asked), expected);
        }
        let switch = [("connection", "Upgrade"), ("upgrade", "x")];
        let expected = "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: x|| None last";
        assert_eq!(head(101, &switch, Some(0), GET), expected);
    }

    #[test]
    fn the_date_is_there_unless_it_is_said() {
        let mut out = Vec::new();
        write_date(&mut out);
        assert_eq!(out.len(), DATE_LINE_BYTES);
        assert!(out.starts_with(b"Date: ") && out.ends_with(b" GMT\r\n"));
    }

    #[test]
    fn trailers_do_not_frame() {
        let mut trailers = HeaderMap::new();
        for (name, value) in [("x-sum", "7"), ("content-length", "9"), ("host", "h")] {
            trailers.append(name, value.parse().unwrap());
        }
        let mut out = Vec::new();
        write_trailers(&mut out, &trailers);
        assert_eq!(out, b"0\r\nX-Sum: 7\r\n\r\n");
    }
}
