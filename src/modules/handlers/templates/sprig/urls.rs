//! URLs taken apart and put together, as Go does it.

use std::borrow::Cow;

use super::{Function, map, text};
use crate::gotemplate::{Error, Map, Value};
use crate::http::target::{escape_path, unescape};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("urlParse", |a| {
        let url = text(a, 0)?;
        let parts = parse(&url);
        parts.map(Value::from).map_err(|why| Error::new(format!("unable to parse url: parse {url:?}: {why}")))
    }),
    ("urlJoin", |a| join(&map(a, 0)?.borrow()).map(Value::from)),
];

/// A URL's parts by their names.
fn parse(url: &str) -> Result<Map, String> {
    if url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = scheme(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut opaque, mut path, mut host, mut user) = ("", rest, "", String::new());
    if !scheme.is_empty() && !rest.starts_with('/') {
        (opaque, path) = (rest, "");
    } else if scheme.is_empty() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err("first path segment in URL cannot contain colon".to_owned());
    }
    if let Some(behind) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !behind.starts_with('/'))
    {
        let (authority, own_path) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        let (info, own_host) = authority.rsplit_once('@').map_or((None, authority), |(a, b)| (Some(a), b));
        user = info.map(userinfo).transpose()?.unwrap_or_default();
        (host, path) = (checked_host(own_host)?, own_path);
    }
    let parts = [
        ("scheme", scheme.to_ascii_lowercase().into()),
        ("userinfo", user.into()),
        ("host", Value::from(host)),
        ("hostname", hostname(host).into()),
        ("opaque", opaque.into()),
        ("path", decoded(path)?),
        ("query", query.into()),
        ("fragment", decoded(fragment)?),
    ];
    Ok(parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What stands before the first colon, if that makes a scheme.
fn scheme(url: &str) -> Result<(&str, &str), String> {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    match url.split_once(':') {
        Some(("", _)) => Err("missing protocol scheme".to_owned()),
        Some((scheme, rest))
            if scheme.bytes().all(is_of_scheme) && scheme.as_bytes()[0].is_ascii_alphabetic() =>
        {
            Ok((scheme, rest))
        }
        _ => Ok(("", url)),
    }
}

fn decoded(text: &str) -> Result<Value, String> {
    unescaped(text).map(|bytes| Value::bytes(&*bytes))
}

fn unescaped(text: &str) -> Result<Cow<'_, [u8]>, String> {
    unescape(text.as_bytes()).map_err(|_| {
        let is_escape = |at: &usize| {
            text.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let bad = text.match_indices('%').map(|(at, _)| at).find(|at| !is_escape(at)).unwrap_or(0);
        let end = (bad + 3).min(text.len());
        format!("invalid URL escape {:?}", String::from_utf8_lossy(&text.as_bytes()[bad..end]))
    })
}

/// A name and maybe a password, escaped anew.
fn userinfo(said: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !said.bytes().all(is_allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let part = |text: &str| unescaped(text).map(|bytes| escaped(&bytes, b"-_.~$&+,;="));
    Ok(match said.split_once(':') {
        Some((name, password)) => format!("{}:{}", part(name)?, part(password)?),
        None => part(said)?,
    })
}

/// Text with everything escaped but letters, digits and these.
fn escaped(text: &[u8], plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || plain.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn checked_host(host: &str) -> Result<&str, String> {
    let behind = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let is_port = behind.is_empty()
        || behind.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_port {
        return Err(format!("invalid port {behind:?} after host"));
    }
    let is_allowed = |char: &char| {
        !char.is_ascii() || char.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(*char)
    };
    match host.chars().find(|char| !is_allowed(char)) {
        Some(char) => Err(format!("invalid character {:?} in host name", char.to_string())),
        None => Ok(host),
    }
}

/// A host without its port, and without brackets.
fn hostname(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    }
}

fn join(parts: &Map) -> Result<String, Error> {
    let part = |name: &str| match parts.get(name) {
        None => Ok(String::new()),
        Some(Value::Str(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        Some(other) => {
            let found = other.type_name();
            Err(Error::new(format!("unable to parse {name} key, must be of type string, but {found} found")))
        }
    };
    let (scheme, host, path, opaque) = (part("scheme")?, part("host")?, part("path")?, part("opaque")?);
    let (query, fragment, user) = (part("query")?, part("fragment")?, part("userinfo")?);
    let user = userinfo(&user).map_err(Error::new)?;
    let mut url = String::new();
    if !scheme.is_empty() {
        url = format!("{scheme}:");
    }
    if !opaque.is_empty() {
        url.push_str(&opaque);
    } else {
        let has_authority = !host.is_empty() || !user.is_empty();
        if has_authority || (!scheme.is_empty() && !path.is_empty()) {
            url.push_str("//");
        }
        if !user.is_empty() {
            url.push_str(&user);
            url.push('@');
        }
        url.push_str(&escaped(host.as_bytes(), b"-_.~!$&'()*+,;=:[]<>\""));
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            url.push('/');
        } else if url.is_empty() && path.split('/').next().is_some_and(|first| first.contains(':')) {
            url.push_str("./");
        }
        url.push_str(&String::from_utf8_lossy(&escape_path(path.as_bytes())));
    }
    if !query.is_empty() {
        url.push('?');
        url.push_str(&query);
    }
    if !fragment.is_empty() {
        url.push('#');
        url.push_str(&escaped(fragment.as_bytes(), b"-_.~!$&()*+,/:;=?@"));
    }
    Ok(url)
}
