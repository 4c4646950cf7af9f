//! What certificates are for (RFC 8555 section 9.7.7, RFC 8738).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// A name has no more bytes (RFC 1035), and none of its labels has more than 63.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A name, with or without wildcard, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identifier {
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// In its one form: in lower case, addresses as they are shortest.
    pub(super) value: String,
}

impl Identifier {
    /// The identifier in its one form.
    pub(super) fn checked(self) -> Result<Self, Problem> {
        let Self { kind, value } = self;
        let value = match kind.as_str() {
            "ip" => match value.parse::<IpAddr>() {
                // An address of IPv4 that is written as one of IPv6 is the same for policies.
                Ok(ip) => ip.to_canonical().to_string(),
                Err(_) => return Err(Problem::malformed(format!("invalid IP address: {value:?}"))),
            },
            "dns" => {
                let name = value.to_ascii_lowercase();
                if !is_name(name.strip_prefix("*.").unwrap_or(&name)) {
                    return Err(Problem::malformed(format!("invalid DNS name: {value:?}")));
                }
                name
            }
            _ => return Err(Problem::malformed(format!("identifier type unsupported: {kind:?}"))),
        };
        Ok(Self { kind, value })
    }

    pub(super) fn is_ip(&self) -> bool {
        self.kind == "ip"
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.value.starts_with("*.")
    }

    /// What has to be shown: of a wildcard, the name that it is below.
    pub(super) fn shown(&self) -> Self {
        let value = self.value.strip_prefix("*.").unwrap_or(&self.value);
        Self { kind: self.kind.clone(), value: value.to_owned() }
    }
}

/// Whether a text is a host's name, and no address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label) && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(kind: &str, value: &str) -> Option<String> {
        let identifier = Identifier { kind: kind.into(), value: value.into() };
        identifier.checked().ok().map(|identifier| identifier.value)
    }

    #[test]
    fn identifiers_have_one_form() {
        for (value, expected) in
            [("A.Test", "a.test"), ("*.x.test", "*.x.test"), ("localhost", "localhost"), ("x", "x")]
        {
            assert_eq!(checked("dns", value).as_deref(), Some(expected));
        }
        assert_eq!(checked("ip", "0:0::1").as_deref(), Some("::1"));
        assert_eq!(checked("ip", "::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        let long = format!("{}.test", "a".repeat(64));
        let odd = ["", "*", "*.", "*.*.a", "a.*", "a b", "a..b", ".a", "a.", "-a", "a_b", "ä", "127.0.0.1"];
        for value in odd.into_iter().chain([long.as_str(), "a\0b", "a/b"]) {
            assert_eq!(checked("dns", value), None, "{value}");
        }
        for (kind, value) in [("ip", "1.2.3"), ("ip", "a.test"), ("email", "a@b.test"), ("", "a.test")] {
            assert_eq!(checked(kind, value), None, "{value}");
        }
    }
}
