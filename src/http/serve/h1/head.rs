//! What the head of an HTTP/1 request must be, and what it says of the message.
//!
//! Most servers forgive what two servers in a row could read differently. Here it is refused: a bare
//! LF or CR, folded lines, two lengths, a length beside chunks, a space before a colon, a second Host.

use super::refusal::Refusal;

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

/// A complete head that is sound, taken apart.
#[derive(Debug)]
pub(super) struct Sound<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    /// Of HTTP/1.
    pub(super) minor: u8,
    pub(super) follows: Follows,
    /// The client asks for another protocol.
    pub(super) upgrades: bool,
    /// The client wants to be told to go on before it sends its body (`Expect`).
    pub(super) expects: bool,
    /// The client means to keep the connection (RFC 9112 section 9.3).
    pub(super) keeps_alive: bool,
}

/// Checks a complete head and takes it apart; `each` gets the fields in their order, values without the
/// white space around them. Nothing comes of a head whose target [`escape_target`] has to escape first.
pub(super) fn read<'a>(
    head: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<Option<Sound<'a>>, Refusal> {
    let Some((method, target, minor, mut rest)) = request_line(head)? else { return Ok(None) };
    let mut seen = Seen::default();
    while rest != b"\r\n" {
        let (name, value, behind) = field(rest)?;
        seen.look_at(name, value, minor)?;
        each(name, value);
        rest = behind;
    }
    if minor == 1 && seen.hosts == 0 {
        return Err(Refusal::MissingHost);
    }
    let follows = match (seen.chunked, seen.length) {
        (true, Some(_)) => return Err(Refusal::BadRequest),
        (true, None) => Follows::Chunks,
        (false, None | Some(0)) => Follows::Head,
        (false, Some(length)) => Follows::Length(length),
    };
    Ok(Some(Sound {
        method,
        target,
        minor,
        follows,
        upgrades: seen.upgrades && minor == 1,
        expects: seen.expects == Some(true) && minor == 1,
        keeps_alive: if minor == 1 { !seen.closes } else { seen.keeps_alive && !seen.closes },
    }))
}

/// What the fields read so far say of the message and the connection.
#[derive(Default)]
struct Seen {
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    upgrades: bool,
    expects: Option<bool>,
    closes: bool,
    keeps_alive: bool,
}

/// Method, target, HTTP/1's minor version, and what is behind the request line.
type RequestLine<'a> = (&'a [u8], &'a [u8], u8, &'a [u8]);

/// Checks the request line; returns nothing if the target must be escaped first.
fn request_line(head: &[u8]) -> Result<Option<RequestLine<'_>>, Refusal> {
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
    Ok(Some((&head[..method], target, minor, &rest[11..])))
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
    if has_sound_escapes(target) { Ok(()) } else { Err(Refusal::BadRequest) }
}

/// Whether each `%` in a target's path is followed by two digits. One that isn't can be read in several ways.
pub(in crate::http) fn has_sound_escapes(target: &[u8]) -> bool {
    let path = memchr::memchr(b'?', target).map_or(target, |query| &target[..query]);
    memchr::memchr_iter(b'%', path)
        .all(|at| path.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)))
}

/// Whether a target's authority can take the place of the Host field, which the target beats.
pub(in crate::http) fn is_authority(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is(*byte, HOST))
}

/// Checks the form of one field; returns its name, its value, and what is behind it.
fn field(rest: &[u8]) -> Result<(&[u8], &[u8], &[u8]), Refusal> {
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
    Ok((name, value.trim_ascii(), rest))
}

/// Whether a colon comes before the end of the line.
fn has_colon(rest: &[u8]) -> bool {
    rest.iter().take_while(|byte| **byte != b'\r').any(|byte| *byte == b':')
}

impl Seen {
    /// Takes in one field.
    fn look_at(&mut self, name: &[u8], value: &[u8], minor: u8) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => return self.host(value),
            // Of several the first counts, as with Go.
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects.get_or_insert(value.eq_ignore_ascii_case(b"100-continue"));
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrades = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => return self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return self.coding(value, minor),
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.hosts > 0 {
            return Err(Refusal::BadRequest);
        }
        self.hosts = 1;
        if value.iter().all(|byte| is(*byte, HOST)) { Ok(()) } else { Err(Refusal::MalformedHost) }
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // A second field is refused even if it agrees: whoever sends two has something in mind.
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::BadRequest);
        }
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<i64>().ok());
        // More than a signed number holds is read as something else by too many.
        self.length = Some(number.ok_or(Refusal::BadRequest)?.unsigned_abs());
        Ok(())
    }

    fn coding(&mut self, value: &[u8], minor: u8) -> Result<(), Refusal> {
        if minor == 0 {
            return Err(Refusal::BadRequest);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferCoding);
        }
        self.chunked = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &[u8]) -> Result<Option<Follows>, Refusal> {
        let mut line = 0;
        match find_end(head, &mut line)? {
            Some(end) => Ok(read(&head[..end], |_, _| {})?.map(|sound| sound.follows)),
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
    fn a_head_says_what_becomes_of_the_connection() {
        let said = |version: &str, fields: &str| {
            let head = format!("GET / HTTP/1.{version}\r\nHost: h\r\n{fields}\r\n");
            let sound = read(head.as_bytes(), |_, _| {}).unwrap().unwrap();
            (sound.keeps_alive, sound.upgrades, sound.expects)
        };
        assert_eq!(said("1", ""), (true, false, false));
        assert_eq!(said("1", "Connection: x, Close\r\nConnection: keep-alive\r\n"), (false, false, false));
        assert_eq!(said("1", "Connection: upgrade\r\nUPGRADE: a\r\n"), (true, true, false));
        assert_eq!(said("1", "Expect:100-Continue\r\n"), (true, false, true));
        assert_eq!(said("0", "Expect: 100-continue\r\nUpgrade: a\r\n"), (false, false, false));
        assert_eq!(said("0", "Connection: Keep-Alive\r\n"), (true, false, false));
    }

    #[test]
    fn fields_are_taken_apart() {
        let mut fields = Vec::new();
        let head = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y:\t a b \r\nZ:\r\n\r\n";
        let sound = read(head, |name, value| fields.push((name, value))).unwrap().unwrap();
        assert_eq!((sound.method, sound.target, sound.minor), (&b"GET"[..], &b"/a?b"[..], 1));
        assert_eq!(fields, [(&b"Host"[..], &b"h"[..]), (b"X-Y", b"a b"), (b"Z", b"")]);
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
}
