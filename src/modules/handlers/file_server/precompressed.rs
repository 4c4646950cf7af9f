//! Files that lie ready compressed beside others.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderName};
use serde_json::Value;
use smallvec::SmallVec;

use crate::http::ProvisionError;

/// The formats that files may lie ready in, in the order that counts unless another one is given, and how
/// their names end.
pub(super) const FORMATS: [(&str, &str); 3] = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// The formats that are looked for.
#[derive(Default)]
pub(super) struct Precompressed {
    /// Each with its place in the configured order, if it has one there: the greater the better.
    formats: Box<[(Format, i32)]>,
}

/// A format: a place in [`FORMATS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format(u8);

impl Format {
    /// As it stands in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        FORMATS[usize::from(self.0)].0
    }

    /// How the names of such files end.
    pub(super) fn suffix(self) -> &'static str {
        FORMATS[usize::from(self.0)].1
    }
}

/// The formats that a client takes, best first.
pub(super) type Accepted = SmallVec<[Format; 3]>;

impl Precompressed {
    /// Reads the configuration: formats by name, none of which has settings, and which of them is better.
    pub(super) fn provision(
        formats: &BTreeMap<String, Value>,
        order: &[String],
    ) -> Result<Self, ProvisionError> {
        let mut found = Vec::with_capacity(formats.len());
        for (name, settings) in formats {
            let at = FORMATS.iter().position(|(known, _)| known == name);
            let Some(at) = at.and_then(|at| u8::try_from(at).ok()) else {
                return Err(ProvisionError::Unknown { namespace: "http.precompressed", name: name.clone() });
            };
            if !settings.as_object().is_some_and(serde_json::Map::is_empty) {
                return Err(ProvisionError::invalid(format!(
                    "precompressed {name}: there is nothing to set"
                )));
            }
            let place = order.iter().position(|other| other == name);
            let rank = place.and_then(|place| i32::try_from(order.len() - place).ok()).unwrap_or(-1);
            found.push((Format(at), rank));
        }
        Ok(Self { formats: found.into() })
    }

    /// The formats that a client takes: what it likes best first, and what it likes as much in our order.
    pub(super) fn accepted(&self, headers: &HeaderMap) -> Accepted {
        const SEC_WEBSOCKET_KEY: HeaderName = http::header::SEC_WEBSOCKET_KEY;
        let mut accepted: SmallVec<[(Format, f32, i32); 3]> = SmallVec::new();
        if self.formats.is_empty() || headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| !key.is_empty()) {
            return Accepted::new();
        }
        let Some(field) = headers.get(ACCEPT_ENCODING) else { return Accepted::new() };
        for item in field.as_bytes().split(|byte| *byte == b',') {
            let (name, quality) = read(item);
            let known =
                self.formats.iter().find(|(format, _)| name.eq_ignore_ascii_case(format.name().as_bytes()));
            if let Some((format, rank)) = known
                && quality >= QUALITY_MIN
                && accepted.len() < FORMATS.len() * 2
            {
                accepted.push((*format, quality, *rank));
            }
        }
        accepted.sort_by(|a, b| match (a.1 - b.1).abs() < QUALITY_MIN {
            true => b.2.cmp(&a.2),
            false => b.1.total_cmp(&a.1),
        });
        accepted.into_iter().map(|(format, ..)| format).collect()
    }
}

/// Less than this is nothing.
const QUALITY_MIN: f32 = 0.000_01;

/// A member of `Accept-Encoding`: its name and how much it is liked.
fn read(item: &[u8]) -> (&[u8], f32) {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let quality = parts.next().and_then(|part| match part {
        [b'q' | b'Q', b'=', number @ ..] => std::str::from_utf8(number).ok()?.parse::<f32>().ok(),
        _ => None,
    });
    (name, quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provisioned(names: &[&str], order: &[&str]) -> Result<Precompressed, String> {
        let formats = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let order: Vec<String> = order.iter().map(|name| (*name).to_owned()).collect();
        Precompressed::provision(&formats, &order).map_err(|error| error.to_string())
    }

    fn accepted(order: &[&str], field: &str) -> Vec<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, field.parse().unwrap())]);
        let formats = provisioned(&["br", "gzip", "zstd"], order).unwrap().accepted(&headers);
        formats.iter().map(|format| format.name()).collect()
    }

    // What Caddy 2.11.7 serves.
    #[test]
    fn the_client_chooses_and_then_the_order() {
        let order = ["br", "zstd", "gzip"];
        for (field, expected) in [
            ("gzip, br", &["br", "gzip"][..]),
            ("gzip;q=1, br;q=0.5", &["gzip", "br"]),
            ("GZIP ; Q=0.3 ; x, zstd;q=0.2", &["gzip", "zstd"]),
            ("gzip;q=0, deflate, identity", &[]),
            ("gzip;q=junk, br;q=9", &["br", "gzip"]),
            ("*", &[]),
            ("", &[]),
        ] {
            assert_eq!(accepted(&order, field), expected, "{field}");
        }
        assert_eq!(accepted(&[], "zstd, br, gzip"), ["zstd", "br", "gzip"]);
        assert_eq!(accepted(&["gzip"], "zstd, br, gzip"), ["gzip", "zstd", "br"]);
    }

    #[test]
    fn formats_have_names_and_nothing_else() {
        assert!(provisioned(&["lzma"], &[]).err().unwrap().contains("http.precompressed.lzma"));
        let formats = BTreeMap::from([("gzip".to_owned(), json!({"level": 1}))]);
        assert!(Precompressed::provision(&formats, &[]).is_err());
    }
}
