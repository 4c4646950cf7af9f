//! What a responder is told of a request: CGI's variables (RFC 3875), as PHP and others know them.

use std::borrow::Cow;
use std::collections::HashSet;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode, Version};

use super::Script;
use crate::http::conn_info::TlsInfo;
use crate::http::files::{join, render_root};
use crate::http::upstream::Outgoing;
use crate::http::{Exchange, HandlerError, Template, Unknown, target};

/// Applications look for Caddy's name here.
const SERVER_SOFTWARE: &str = "Caddy/v2.11.7";
/// What a form sends; said for requests that have a body and no type.
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Names and values.
#[derive(Default)]
pub(super) struct Variables(pub(super) Vec<(Vec<u8>, Vec<u8>)>);

impl Variables {
    fn add(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.as_bytes().to_vec(), value.into()));
    }

    /// Gives a variable this value, whatever it had.
    pub(super) fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_vec(), value));
    }
}

impl Variables {
    /// Takes these over, too; of several of one name the last one counts.
    pub(super) fn take_over(&mut self, more: Self) {
        // A client may send thousands of fields, so that each is not compared with all others.
        let mut seen = HashSet::new();
        let all = std::mem::take(&mut self.0).into_iter().chain(more.0);
        self.0 = all.rev().filter(|(name, _)| seen.insert(name.clone())).collect();
        self.0.reverse();
    }
}

/// What variables take from placeholders.
pub(super) struct Sources {
    root: Template,
    remainder: Template,
    user: Template,
    original_uri: Template,
    local_host: Template,
}

impl Sources {
    pub(super) fn new(root: &str) -> Self {
        let compile = |text: &str| Template::compile(text, Unknown::Empty);
        Self {
            root: compile(if root.is_empty() { "{http.vars.root}" } else { root }),
            remainder: compile("{http.matchers.file.remainder}"),
            user: compile("{http.auth.user.id}"),
            original_uri: compile("{http.request.orig_uri}"),
            local_host: compile("{http.request.local.host}"),
        }
    }

    /// What of a request's path names the script.
    ///
    /// # Errors
    /// 400 for a path that must not reach a script, 404 for one without a script's name in it.
    pub(super) fn script(
        &self,
        x: &Exchange,
        outgoing: &Outgoing<'_>,
        split_path: &[Box<[u8]>],
    ) -> Result<Script, HandlerError> {
        let (raw, _) = split_query(outgoing.target);
        let path =
            target::unescape(raw).map_err(|error| HandlerError::new(StatusCode::BAD_REQUEST, error))?;
        // Some responders take the name to end there, and so run what is no script.
        if path.contains(&0) {
            return Err(HandlerError::new(StatusCode::BAD_REQUEST, "invalid request path"));
        }
        let at = split_at(&path, split_path)
            .ok_or_else(|| HandlerError::new(StatusCode::NOT_FOUND, "the path names no script"))?;
        let (name, info) = path.split_at(at);
        let mut info = info.to_vec();
        if info.is_empty() {
            info = self.remainder.render(x).into_owned();
        }
        let root = render_root(&self.root, x).into_owned();
        Ok(Script { root, name: name.to_vec(), info, is_named: !split_path.is_empty() })
    }

    /// All variables but those that depend on where the root really is.
    pub(super) fn variables(&self, x: &Exchange, outgoing: &Outgoing<'_>, body_bytes: u64) -> Variables {
        let mut variables = Variables::default();
        let host = value_of(outgoing, &HOST);
        let (name, port) = split_port(&host);
        let peer = x.conn.peer.map(|peer| (peer.ip().to_canonical().to_string(), peer.port().to_string()));
        // A Unix socket's peer has no address, and Go says so.
        let (ip, peer_port) = peer.unwrap_or_else(|| ("@".into(), String::new()));
        let tls = x.conn.tls.as_deref();
        let (scheme, usual_port) = if tls.is_some() { ("https", "443") } else { ("http", "80") };
        let mut length = itoa::Buffer::new();
        let length = length.format(body_bytes);
        let mut content_type = value_of(outgoing, &CONTENT_TYPE);
        let expects_body = !matches!(*outgoing.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if content_type.is_empty() && expects_body {
            content_type = Cow::Borrowed(FORM);
        }
        variables.add("AUTH_TYPE", "");
        variables.add("CONTENT_LENGTH", length);
        variables.add("CONTENT_TYPE", content_type);
        variables.add("GATEWAY_INTERFACE", "CGI/1.1");
        variables.add("QUERY_STRING", split_query(outgoing.target).1);
        variables.add("REMOTE_ADDR", ip.as_str());
        variables.add("REMOTE_HOST", ip);
        variables.add("REMOTE_PORT", peer_port);
        variables.add("REMOTE_IDENT", "");
        variables.add("REMOTE_USER", self.user.render(x));
        variables.add("REQUEST_METHOD", outgoing.method.as_str());
        variables.add("REQUEST_SCHEME", scheme);
        variables.add("REQUEST_URI", self.original_uri.render(x));
        variables.add("SERVER_NAME", name);
        variables.add("SERVER_PORT", if port.is_empty() { usual_port.as_bytes() } else { port });
        variables.add("SERVER_PROTOCOL", protocol(x.version));
        variables.add("SERVER_SOFTWARE", SERVER_SOFTWARE);
        let local = self.local_host.render(x);
        if !local.is_empty() {
            variables.add("SERVER_ADDR", local);
        }
        if let Some(tls) = tls {
            add_tls(&mut variables, tls);
        }
        variables.add("HTTP_HOST", host.as_ref());
        add_fields(&mut variables, outgoing);
        variables.add("HTTP_CONTENT_LENGTH", length);
        variables
    }
}

impl Script {
    /// Where the script is.
    pub(super) fn file(&self) -> Vec<u8> {
        join(&self.root, &self.name)
    }

    /// The variables that name it.
    pub(super) fn add_to(self, variables: &mut Variables) {
        variables.add("SCRIPT_FILENAME", self.file());
        if !self.info.is_empty() {
            variables.add("PATH_TRANSLATED", join(&self.root, &self.info));
        }
        variables.add("DOCUMENT_ROOT", self.root);
        variables.add("DOCUMENT_URI", self.name.as_slice());
        variables.add("PATH_INFO", self.info);
        let mut name = self.name;
        if !name.is_empty() && !name.starts_with(b"/") {
            name.insert(0, b'/');
        }
        variables.add("SCRIPT_NAME", name);
    }
}

/// Where a path is split into a script and what follows it. Letters of ASCII compare without case,
/// and no other byte is ever like one of them. Without delimiters all of it follows.
fn split_at(path: &[u8], split_path: &[Box<[u8]>]) -> Option<usize> {
    if split_path.is_empty() {
        return Some(0);
    }
    split_path.iter().filter(|delimiter| !delimiter.is_empty()).find_map(|delimiter| {
        let at = path.windows(delimiter.len()).position(|part| part.eq_ignore_ascii_case(delimiter))?;
        Some(at + delimiter.len())
    })
}

fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

/// A host's name and its port, which may be empty.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let digits = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    match host.iter().rposition(|byte| *byte == b':') {
        Some(at) if digits(&host[at + 1..]) => match &host[..at] {
            [b'[', inner @ .., b']'] => (inner, &host[at + 1..]),
            name if !name.contains(&b':') => (name, &host[at + 1..]),
            _ => (host, b""),
        },
        _ => (host, b""),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn add_tls(variables: &mut Variables, tls: &TlsInfo) {
    variables.add("HTTPS", "on");
    match tls.version {
        Some(rustls::ProtocolVersion::TLSv1_3) => variables.add("SSL_PROTOCOL", "TLSv1.3"),
        Some(rustls::ProtocolVersion::TLSv1_2) => variables.add("SSL_PROTOCOL", "TLSv1.2"),
        _ => {}
    }
    if let Some(suite) = tls.cipher_suite {
        // rustls puts the version into the names of TLS 1.3's suites, the RFC does not.
        variables.add("SSL_CIPHER", format!("{suite:?}").replacen("TLS13_", "TLS_", 1));
    }
}

/// The values of a field, as one.
fn value_of<'a>(outgoing: &Outgoing<'a>, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut values = outgoing.values(name);
    let first = values.next().unwrap_or_default();
    let mut all = Cow::Borrowed(first);
    for value in values {
        all.to_mut().extend_from_slice(b", ");
        all.to_mut().extend_from_slice(value);
    }
    all
}

/// Each field as `HTTP_NAME`. A client's `Proxy` stays away: programs take `HTTP_PROXY` for a setting
/// (<https://httpoxy.org>).
fn add_fields(variables: &mut Variables, outgoing: &Outgoing<'_>) {
    let mut done: HashSet<&HeaderName> = HashSet::new();
    let extra = outgoing.extra.iter().map(|(name, _)| name);
    for name in outgoing.headers.keys().filter(|name| !outgoing.omits(name)).chain(extra) {
        let is_known = matches!(*name, HOST | CONTENT_LENGTH | TRANSFER_ENCODING);
        if is_known || name.as_str() == "proxy" || !done.insert(name) {
            continue;
        }
        let name_up = name.as_str().to_ascii_uppercase().replace('-', "_");
        variables.add(&format!("HTTP_{name_up}"), value_of(outgoing, name));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn split<'a>(path: &'a str, delimiters: &[&str]) -> Option<(&'a str, &'a str)> {
        let delimiters: Vec<Box<[u8]>> = delimiters.iter().map(|text| text.as_bytes().into()).collect();
        split_at(path.as_bytes(), &delimiters).map(|at| path.split_at(at))
    }

    #[test]
    fn a_path_is_split_behind_the_first_delimiter() {
        assert_eq!(split("/a/b.php/info", &[".php"]), Some(("/a/b.php", "/info")));
        assert_eq!(split("/a.PhP", &[".php"]), Some(("/a.PhP", "")));
        assert_eq!(split("/a.php.bak", &[".php"]), Some(("/a.php", ".bak")));
        assert_eq!(split("/a.html/x.php", &[".php", ".html"]), Some(("/a.html/x.php", "")));
        assert_eq!(split("/a.jpg", &[".php"]), None);
        assert_eq!(split("/anything", &[]), Some(("", "/anything")));
    }

    #[test]
    fn no_letter_beyond_ascii_is_like_one_of_ascii() {
        // A wide full stop, a wide P, and letters whose lower case has another length.
        for path in ["/shell\u{ff0e}php", "/shell.\u{ff50}hp", "/shell.\u{1d5c9}hp", "/shell.\u{212a}"] {
            assert_eq!(split(path, &[".php", ".k"]), None, "{path}");
        }
        let path = "/\u{23a}\u{23a}\u{23a}\u{23a}shell.php.txt.php";
        assert_eq!(split(path, &[".php"]).unwrap().1, ".txt.php");
    }

    #[test]
    fn hosts_are_told_from_ports() {
        let split = |host: &'static str| {
            let (name, port) = split_port(host.as_bytes());
            (std::str::from_utf8(name).unwrap(), std::str::from_utf8(port).unwrap())
        };
        assert_eq!(split("h"), ("h", ""));
        assert_eq!(split("h:81"), ("h", "81"));
        assert_eq!(split("[::1]:81"), ("::1", "81"));
        assert_eq!(split("[::1]"), ("[::1]", ""));
        assert_eq!(split(""), ("", ""));
    }

    fn variables(target: &str, fields: &[(&'static str, &str)], script: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let x = Exchange::get("/first?q", &[]);
        let outgoing = Outgoing {
            method: &Method::POST,
            target: target.as_bytes(),
            headers: &headers,
            omit: &[http::header::TE],
            extra: &[(HeaderName::from_static("x-extra"), b"e"[..].into())],
            upgrade: false,
            client: None,
        };
        let sources = Sources::new("/srv");
        let delimiters: Vec<Box<[u8]>> = script.iter().map(|text| text.as_bytes().into()).collect();
        let mut variables = sources.variables(&x, &outgoing, 7);
        sources.script(&x, &outgoing, &delimiters).unwrap().add_to(&mut variables);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut lines: Vec<String> =
            variables.0.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
        lines.sort();
        lines
    }

    // What Caddy 2.11.7 tells php-fpm.
    #[test]
    fn a_request_is_told_of_in_cgis_words() {
        let fields =
            [("host", "h.test:8080"), ("x-two", "a"), ("x-two", "b"), ("proxy", "evil"), ("te", "trailers")];
        let expected = [
            "AUTH_TYPE=",
            "CONTENT_LENGTH=7",
            "CONTENT_TYPE=application/x-www-form-urlencoded",
            "DOCUMENT_ROOT=/srv",
            "DOCUMENT_URI=/sub/app.php",
            "GATEWAY_INTERFACE=CGI/1.1",
            "HTTP_CONTENT_LENGTH=7",
            "HTTP_HOST=h.test:8080",
            "HTTP_X_EXTRA=e",
            "HTTP_X_TWO=a, b",
            "PATH_INFO=/in/fo x",
            "PATH_TRANSLATED=/srv/in/fo x",
            "QUERY_STRING=y=%20",
            "REMOTE_ADDR=192.0.2.1",
            "REMOTE_HOST=192.0.2.1",
            "REMOTE_IDENT=",
            "REMOTE_PORT=1234",
            "REMOTE_USER=",
            "REQUEST_METHOD=POST",
            "REQUEST_SCHEME=http",
            "REQUEST_URI=/first?q",
            "SCRIPT_FILENAME=/srv/sub/app.php",
            "SCRIPT_NAME=/sub/app.php",
            "SERVER_ADDR=192.0.2.2",
            "SERVER_NAME=h.test",
            "SERVER_PORT=8080",
            "SERVER_PROTOCOL=HTTP/1.1",
            "SERVER_SOFTWARE=Caddy/v2.11.7",
        ];
        assert_eq!(variables("/sub/app.php/in/fo%20x?y=%20", &fields, &[".php"]), expected);
    }

    #[test]
    fn a_script_never_lies_outside_the_root() {
        let lines = variables("/../..%2f../etc/x.php/../..", &[], &[".php"]);
        assert!(lines.contains(&"SCRIPT_FILENAME=/srv/etc/x.php".into()), "{lines:?}");
        assert!(lines.contains(&"PATH_TRANSLATED=/srv".into()), "{lines:?}");
    }

    #[test]
    fn a_null_byte_is_refused() {
        let x = Exchange::get("/", &[]);
        let headers = HeaderMap::new();
        let ask = |target: &'static [u8]| {
            let outgoing = Outgoing {
                method: &Method::GET,
                target,
                headers: &headers,
                omit: &[],
                extra: &[],
                upgrade: false,
                client: None,
            };
            let script = Sources::new("/srv").script(&x, &outgoing, &[b".php"[..].into()]);
            script.map(|_| ()).map_err(|error| error.status.as_u16())
        };
        assert_eq!(ask(b"/a.php"), Ok(()));
        assert_eq!(ask(b"/a.php%00.jpg"), Err(400));
        assert_eq!(ask(b"/a.jpg"), Err(404));
    }
}
