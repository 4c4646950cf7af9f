//! Which encoding a client gets (RFC 9110 section 12.5.3, and what Caddy makes of it).

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, SEC_WEBSOCKET_KEY};

/// Weights that differ by less are the same, and what weighs less is not wanted.
const WEIGHT_MIN: f64 = 0.00001;

/// The place among `offered` of the one that suits the client best: what it weighs most, and of those
/// what stands first. `*` is nothing that anybody offers.
pub(super) fn choose<'a>(
    headers: &HeaderMap,
    offered: impl Iterator<Item = &'a str> + Clone,
) -> Option<usize> {
    // A handshake's answer has no body to compress, and what comes later is none of ours.
    if headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| !key.is_empty()) {
        return None;
    }
    let mut best: Option<(usize, f64)> = None;
    for accepted in headers.get(ACCEPT_ENCODING)?.as_bytes().split(|byte| *byte == b',') {
        let mut parts = accepted.split(|byte| *byte == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let weight = weight(parts.next());
        let place = offered.clone().position(|offered| name.eq_ignore_ascii_case(offered.as_bytes()));
        let Some(place) = place.filter(|_| weight >= WEIGHT_MIN) else { continue };
        let is_better =
            best.is_none_or(
                |(first, most)| {
                    if (weight - most).abs() < WEIGHT_MIN { place < first } else { weight > most }
                },
            );
        if is_better {
            best = Some((place, weight));
        }
    }
    best.map(|(place, _)| place)
}

/// What an encoding weighs by the parameter behind it; all of it unless that says otherwise.
fn weight(parameter: Option<&[u8]>) -> f64 {
    let parameter = parameter.unwrap_or_default().trim_ascii();
    let (Some(b"q=" | b"Q="), Some(text)) = (parameter.get(..2), parameter.get(2..)) else { return 1.0 };
    let weight = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f32>().ok());
    weight.map(f64::from).filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        let offered = ["zstd", "gzip", "br"];
        choose(&headers, offered.into_iter()).map_or("", |place| offered[place])
    }

    // What Caddy 2.11.7 chooses.
    #[test]
    fn the_clients_weight_counts_before_the_sites_order() {
        for (accept, expected) in [
            ("gzip", "gzip"),
            ("br, gzip, zstd", "zstd"),
            ("gzip;q=1, zstd;q=0.5", "gzip"),
            ("gzip;q=0.5,zstd;q=0.5", "zstd"),
            (" GZIP ; Q=0.3 ,br;q=0.2", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.000001", ""),
            ("gzip;q=0.00001", ""),
            ("gzip;q=nonsense", "gzip"),
            ("gzip;q=-1, br", "gzip"),
            ("gzip;q=7;q=0", "gzip"),
            ("gzip;x=1;q=0", "gzip"),
            ("gzip ;q= 0", "gzip"),
            ("*", ""),
            ("identity", ""),
            ("", ""),
            (",,;q=1,", ""),
            ("x-gzip, deflate", ""),
        ] {
            assert_eq!(chosen(accept), expected, "{accept}");
        }
    }

    #[test]
    fn a_websocket_handshake_gets_none() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, "gzip".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_KEY, "".parse().unwrap());
        assert_eq!(choose(&headers, ["gzip"].into_iter()), Some(0));
        headers.insert(SEC_WEBSOCKET_KEY, "key".parse().unwrap());
        assert_eq!(choose(&headers, ["gzip"].into_iter()), None);
    }
}
