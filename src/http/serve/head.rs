//! What an HTTP/1 request head must be before hyper sees it.
//!
//! hyper, like most servers, forgives what two servers in a row could read differently. Here it is
//! refused: a bare LF or CR, folded lines, two lengths, a length beside chunks, a space before a
//! colon, a second Host. The texts of the answers are what Go's server says, word for word, because
//! scripts look at them.

use http::StatusCode;

/// Why a request is refused before it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Refusal {
    BadRequest = 1,
    HeaderName,
    MissingHost,
    MalformedHost,
    TransferCoding,
    Version,
    TooLarge,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::BadRequest,
        Self::HeaderName,
        Self::MissingHost,
        Self::MalformedHost,
        Self::TransferCoding,
        Self::Version,
        Self::TooLarge,
    ];

    /// The refusal of this number, for keeping it in an atomic.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The status and body of the answer.
    pub(super) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "400 Bad Request"),
            Self::HeaderName => (StatusCode::BAD_REQUEST, "400 Bad Request: invalid header name"),
            Self::MissingHost => (StatusCode::BAD_REQUEST, "400 Bad Request: missing required Host header"),
            Self::MalformedHost => (StatusCode::BAD_REQUEST, "400 Bad Request: malformed Host header"),
            Self::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "Unsupported transfer encoding"),
            Self::Version => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "505 HTTP Version Not Supported: unsupported protocol version",
            ),
            Self::TooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "431 Request Header Fields Too Large")
            }
        }
    }
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// The next head.
    Head,
    /// This many bytes of body.
    Length(u64),
    /// Chunks.
    Chunks,
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;

/// What each byte may be part of.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(
            b,
            b'!' | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'-'
                | b'.'
                | b':'
                | b';'
                | b'='
                | b'['
                | b']'
                | b'_'
                | b'~'
        ) {
            class |= HOST;
        }
        if b >= 0x20 && b != 0x7f || b == b'\t' {
            class |= VALUE;
        }
        if b > 0x20 && b != 0x7f && !is_odd(b) {
            class |= TARGET;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

/// What may not stand in a target, but does where somebody has typed it, and which Go escapes.
const fn is_odd(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`')
}

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// The number of leading bytes that belong to `class`.
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| !is(*byte, class)).unwrap_or(bytes.len())
}

/// Looks for the empty line that ends a head, beginning with the line that starts at `*line`;
/// remembers there where to go on. A line that ends in a bare LF is refused at once.
pub(super) fn find_end(bytes: &[u8], line: &mut usize) -> Result<Option<usize>, Refusal> {
    while let Some(at) = memchr::memchr(b'\n', &bytes[*line..]) {
        let lf = *line + at;
        if lf == 0 || bytes[lf - 1] != b'\r' {
            return Err(Refusal::BadRequest);
        }
        if lf == *line + 1 {
            return Ok(Some(lf + 1));
        }
        *line = lf + 1;
    }
    Ok(None)
}

/// Checks a complete head and says what follows it; nothing is said until [`escape_target`] has made the
/// target one that hyper reads.
///
/// An upgrade that a request with a body asks for is ignored, as RFC 9110 section 7.8 allows, and
/// taken out of the head. hyper would let go of such a connection without a proper end as soon as
/// the answer is written and the body isn't read, whether or not anything was upgraded.
pub(super) fn check(head: &mut [u8]) -> Result<Option<Follows>, Refusal> {
    let Some((follows, upgrades)) = look_at(head)? else { return Ok(None) };
    if upgrades && follows != Follows::Head {
        ignore_upgrade(head);
    }
    Ok(Some(follows))
}

/// Gives `Upgrade` fields the name of another one that no proxy passes on and nobody heeds here.
fn ignore_upgrade(head: &mut [u8]) {
    const ASKED: &[u8; 7] = b"upgrade";
    const UNHEEDED: &[u8; 7] = b"trailer";
    let mut line = 0;
    while let Some(length) = memchr::memchr(b'\n', &head[line..]) {
        line += length + 1;
        if let Some(name) = head.get_mut(line..line + ASKED.len() + 1)
            && name.ends_with(b":")
            && name[..ASKED.len()].eq_ignore_ascii_case(ASKED)
        {
            name[..ASKED.len()].copy_from_slice(UNHEEDED);
        }
    }
}

/// What follows a head, and whether it asks for an upgrade.
fn look_at(head: &[u8]) -> Result<Option<(Follows, bool)>, Refusal> {
    let Some((version, mut rest)) = request_line(head)? else { return Ok(None) };
    let mut seen = Seen::default();
    while rest != b"\r\n" {
        rest = field(rest, version, &mut seen)?;
    }
    if version == 1 && seen.hosts == 0 {
        return Err(Refusal::MissingHost);
    }
    let follows = match (seen.chunked, seen.length) {
        (true, Some(_)) => return Err(Refusal::BadRequest),
        (true, None) => Follows::Chunks,
        (false, None | Some(0)) => Follows::Head,
        (false, Some(length)) => Follows::Length(length),
    };
    Ok(Some((follows, seen.upgrades)))
}

/// What the fields read so far say of framing.
#[derive(Default)]
struct Seen {
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    upgrades: bool,
}

/// Checks the request line; returns HTTP/1's minor version and what is behind the line, or nothing if the
/// target must be escaped first.
fn request_line(head: &[u8]) -> Result<Option<(u8, &[u8])>, Refusal> {
    let method = run(head, TOKEN);
    if method == 0 || head.get(method) != Some(&b' ') {
        return Err(Refusal::BadRequest);
    }
    let rest = &head[method + 1..];
    let length = run(rest, TARGET);
    let (target, rest) = rest.split_at(length);
    // An authority has no escapes, so only a path and a query get them.
    if target.starts_with(b"/") && rest.first().is_some_and(|byte| is_odd(*byte)) {
        return Ok(None);
    }
    check_target(&head[..method], target)?;
    let minor = match rest {
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b'\r', b'\n', ..] => {
            minor - b'0'
        }
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', b'\n', ..]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::BadRequest),
    };
    Ok(Some((minor, &rest[11..])))
}

/// Escapes what may not stand in the target of the head that `bytes` begin with.
pub(super) fn escape_target(bytes: &mut Vec<u8>) {
    let Some(space) = memchr::memchr(b' ', bytes) else { return };
    let begin = space + 1;
    let length = bytes[begin..].iter().position(|byte| !is(*byte, TARGET) && !is_odd(*byte));
    let end = length.map_or(bytes.len(), |length| begin + length);
    let mut escaped = Vec::with_capacity(end - begin + 16);
    for byte in &bytes[begin..end] {
        match byte {
            b'"' => escaped.extend_from_slice(b"%22"),
            b'<' => escaped.extend_from_slice(b"%3C"),
            b'>' => escaped.extend_from_slice(b"%3E"),
            b'`' => escaped.extend_from_slice(b"%60"),
            byte => escaped.push(*byte),
        }
    }
    bytes.splice(begin..end, escaped);
}

/// Checks a request target (RFC 9112 section 3.2): its form, and the escapes in its path.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let form = match target {
        [b'/', ..] | b"*" => true,
        [] => false,
        _ if method == b"CONNECT" => is_authority(target),
        _ => match memchr::memmem::find(target, b"://") {
            None | Some(0) => false,
            Some(at) => {
                let behind = &target[at + 3..];
                let end = behind.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
                is_authority(&behind[..end.unwrap_or(behind.len())])
            }
        },
    };
    if !form {
        return Err(Refusal::BadRequest);
    }
    let path = memchr::memchr(b'?', target).map_or(target, |query| &target[..query]);
    for at in memchr::memchr_iter(b'%', path) {
        let hex = path.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            return Err(Refusal::BadRequest);
        }
    }
    Ok(())
}

/// Whether a target's authority can take the place of the Host field, which the target beats.
pub(in crate::http) fn is_authority(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is(*byte, HOST))
}

/// Checks one field; returns what is behind it.
fn field<'a>(rest: &'a [u8], version: u8, seen: &mut Seen) -> Result<&'a [u8], Refusal> {
    let length = run(rest, TOKEN);
    let (name, rest) = rest.split_at(length);
    match rest.first() {
        Some(b':') if !name.is_empty() => {}
        // A folded line begins with a space, and a nameless one with a colon.
        _ if name.is_empty() => return Err(Refusal::BadRequest),
        _ if has_colon(rest) => return Err(Refusal::HeaderName),
        _ => return Err(Refusal::BadRequest),
    }
    let rest = &rest[1..];
    let length = run(rest, VALUE);
    let (value, rest) = rest.split_at(length);
    let Some(rest) = rest.strip_prefix(b"\r\n") else { return Err(Refusal::BadRequest) };
    match name.len() {
        7 if name.eq_ignore_ascii_case(b"upgrade") => seen.upgrades = true,
        4 if name.eq_ignore_ascii_case(b"host") => host(value.trim_ascii(), seen)?,
        14 if name.eq_ignore_ascii_case(b"content-length") => length_field(value.trim_ascii(), seen)?,
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => coding(value.trim_ascii(), version, seen)?,
        _ => {}
    }
    Ok(rest)
}

/// Whether a colon comes before the end of the line.
fn has_colon(rest: &[u8]) -> bool {
    rest.iter().take_while(|byte| **byte != b'\r').any(|byte| *byte == b':')
}

fn host(value: &[u8], seen: &mut Seen) -> Result<(), Refusal> {
    if seen.hosts > 0 {
        return Err(Refusal::BadRequest);
    }
    seen.hosts = 1;
    if value.iter().all(|byte| is(*byte, HOST)) { Ok(()) } else { Err(Refusal::MalformedHost) }
}

fn length_field(value: &[u8], seen: &mut Seen) -> Result<(), Refusal> {
    // A second field is refused even if it agrees: whoever sends two has something in mind.
    if seen.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::BadRequest);
    }
    let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<i64>().ok());
    // More than a signed number holds is read as something else by too many.
    seen.length = Some(number.ok_or(Refusal::BadRequest)?.unsigned_abs());
    Ok(())
}

fn coding(value: &[u8], version: u8, seen: &mut Seen) -> Result<(), Refusal> {
    if version == 0 {
        return Err(Refusal::BadRequest);
    }
    if seen.chunked || !value.eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::TransferCoding);
    }
    seen.chunked = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &[u8]) -> Result<Option<Follows>, Refusal> {
        let mut line = 0;
        match find_end(head, &mut line)? {
            Some(end) => check(&mut head[..end].to_vec()),
            None => panic!("no end in {:?}", String::from_utf8_lossy(head)),
        }
    }

    #[test]
    fn sound_heads_say_what_follows() {
        for (head, follows) in [
            (&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], Follows::Head),
            (b"GET / HTTP/1.0\r\n\r\n", Follows::Head),
            (b"get /a%20b?%zz HTTP/1.1\r\nhost:h\r\nX-A:\t\xff \r\n\r\n", Follows::Head),
            (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Follows::Head),
            (b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Follows::Head),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", Follows::Head),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n", Follows::Length(12)),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n", Follows::Chunks),
        ] {
            assert_eq!(judge(head), Ok(Some(follows)), "{:?}", String::from_utf8_lossy(head));
        }
        for target in ["/a?b=\"c\"", "/`a<b>"] {
            assert_eq!(judge(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()), Ok(None));
        }
    }

    #[test]
    fn targets_are_escaped_up_to_their_end() {
        let escaped = |head: &str| {
            let mut bytes = head.as_bytes().to_vec();
            escape_target(&mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        let head = "GET /`a?b=\"<c>\"%22 HTTP/1.1\r\nX: \"<>`\r\n\r\n\"";
        assert_eq!(escaped(head), "GET /%60a?b=%22%3Cc%3E%22%22 HTTP/1.1\r\nX: \"<>`\r\n\r\n\"");
        assert_eq!(judge(escaped("GET /<a HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()), Ok(Some(Follows::Head)));
        assert_eq!(escaped("GET /<"), "GET /%3C");
        assert_eq!(escaped("<"), "<");
    }

    #[test]
    fn doubtful_heads_are_refused() {
        use Refusal::*;
        for (head, refusal) in [
            (&b"GET / HTTP/1.1\nHost: h\n\n"[..], BadRequest),
            (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", HeaderName),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX(A): a\r\n\r\n", HeaderName),
            (b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", MalformedHost),
            (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", MalformedHost),
            (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", Version),
            (b"GET / http/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", BadRequest),
            (b"P / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n", BadRequest),
            (b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET http://h/\"b HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"GET http://a\"b/ HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (b"CONNECT u@h:1 HTTP/1.1\r\nHost: h\r\n\r\n", BadRequest),
            (
                b"P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
                BadRequest,
            ),
            (b"P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", TransferCoding),
            (b"P / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", TransferCoding),
            (b"P / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest),
        ] {
            assert_eq!(judge(head), Err(refusal), "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn an_upgrade_beside_a_body_is_not_asked_for() {
        let seen = |fields: &str| {
            let mut head = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes();
            check(&mut head).unwrap();
            String::from_utf8(head).unwrap()
        };
        let asked = "UPGRADE: h2c\r\nX: Upgrade: y\r\nUpgrade:a\r\nUpgraded: b\r\n";
        assert!(seen(asked).contains(asked));
        let masked = "trailer: h2c\r\nX: Upgrade: y\r\ntrailer:a\r\nUpgraded: b\r\n";
        for body in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert!(seen(&format!("{asked}{body}")).contains(masked));
        }
    }

    #[test]
    fn the_end_is_found_however_the_head_is_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET";
        let mut line = 0;
        for cut in 0..head.len() - 3 {
            assert_eq!(find_end(&head[..cut], &mut line), Ok(None), "{cut}");
        }
        assert_eq!(find_end(head, &mut line), Ok(Some(head.len() - 3)));
    }

    #[test]
    fn numbers_lead_back_to_refusals() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_number(refusal as u8), Some(refusal));
        }
        assert_eq!(Refusal::from_number(0), None);
    }
}
