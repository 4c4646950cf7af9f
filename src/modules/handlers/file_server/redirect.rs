//! To the one path of a file or folder: folders have a slash at their end, files have none.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};

use crate::http::{Body, Exchange, Response, header_value, status_text, target};

/// An answer that sends the client to the path that it should have asked for. `None` if that is what it
/// did, or if a rewrite has chosen the file: then the client's path is not this file's.
pub(super) fn to_canonical(x: &mut Exchange, is_folder: bool) -> Option<Response> {
    let original = x.original_path();
    if target::base(&original) != target::base(&x.path()) || original.ends_with(b"/") == is_folder {
        return None;
    }
    let path = match is_folder {
        true => [&*original, b"/"].concat(),
        false => original[..original.len() - 1].to_vec(),
    };
    Some(redirect(x, &path))
}

/// A redirect to a decoded path of this site.
pub(super) fn redirect(x: &mut Exchange, path: &[u8]) -> Response {
    let mut location = location(path);
    if let Some(query) = x.uri.query().filter(|query| !query.is_empty()) {
        location.push(b'?');
        location.extend_from_slice(query.as_bytes());
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let had_type = x.response_headers.contains_key(CONTENT_TYPE);
    x.response_headers.insert(LOCATION, header_value(&escape_other(&location)));
    if !had_type && matches!(x.method, Method::GET | Method::HEAD) {
        x.response_headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    if !had_type && x.method == Method::GET {
        let text = status_text(StatusCode::PERMANENT_REDIRECT).as_bytes();
        let page = [b"<a href=\"", &*escape(&location), b"\">", text, b"</a>.\n\n"].concat();
        *response.body_mut() = Body::from(page);
    }
    *response.headers_mut() = std::mem::take(&mut x.response_headers);
    response
}

/// A decoded path as it stands in `Location`: cleaned, so that it is a path of this site whatever it begins
/// with, and without what browsers would take for something else than a part of its name.
fn location(path: &[u8]) -> Vec<u8> {
    let rooted = [b"/", path].concat();
    let clean = target::clean_path(&rooted, true);
    let mut location = Vec::with_capacity(clean.len());
    for &byte in clean.iter() {
        match byte {
            0..b' ' | b'%' | b'?' | b'#' | b'\\' | 0x7f => location.extend(format!("%{byte:02X}").bytes()),
            _ => location.push(byte),
        }
    }
    location
}

/// Escapes all that is not ASCII, as a header field needs it.
fn escape_other(location: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(location.len());
    for &byte in location {
        match byte {
            0x80.. => out.extend(format!("%{byte:02x}").bytes()),
            _ => out.push(byte),
        }
    }
    out
}

fn escape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| b"<>\"'&".contains(byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            byte => out.push(byte),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_of_this_site() {
        for (path, expected) in [
            ("/a/", "/a/"),
            ("/a b/", "/a b/"),
            ("//evil.example/", "/evil.example/"),
            ("/\\evil.example/", "/%5Cevil.example/"),
            ("/\t/evil.example/../x/", "/%09/x/"),
            ("/a?b#c%41/", "/a%3Fb%23c%2541/"),
            ("/ä/", "/%c3%a4/"),
        ] {
            let location = escape_other(&location(path.as_bytes()));
            assert_eq!(String::from_utf8(location).unwrap(), expected, "{path}");
        }
    }
}
