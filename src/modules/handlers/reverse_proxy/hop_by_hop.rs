//! Header fields that concern one connection only and stay behind at a proxy (RFC 9110 section 7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName};
use smallvec::SmallVec;

/// Fields that concern one connection only, whether or not `Connection` names them.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    // By their texts, which the compiler tells apart by their lengths first.
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "alt-svc"
    )
}

/// Removes the fields of an upstream's connection from its answer.
pub fn remove(headers: &mut HeaderMap) {
    let mut gone: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if gone.is_empty() {
        return;
    }
    for value in headers.get_all(CONNECTION) {
        gone.extend(list(value.as_bytes()).filter_map(|name| HeaderName::from_bytes(name).ok()));
    }
    // What frames the message is no business of a connection, whatever an upstream may say.
    for name in gone.iter().filter(|name| **name != CONTENT_LENGTH) {
        headers.remove(name);
    }
}

/// Whether a field whose values are lists has this token, in whatever letter case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| list(value.as_bytes()).any(|word| word.eq_ignore_ascii_case(token)))
}

/// The members of a list in a field's value.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
