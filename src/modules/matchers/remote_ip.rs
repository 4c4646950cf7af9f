//! `remote_ip`: requests by the address of the client that connects, or the last proxy before us.
//!
//! ```caddyfile
//! :8080 {
//! 	@outside not remote_ip private_ranges
//! 	respond @outside 403
//! }
//! ```

use serde_json::Value;

use super::ip_ranges::{self, IpRanges};
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::{Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax { name: NAME, syntax: "remote_ip <ranges...>|private_ranges", parse }],
    schemas: &[ModuleSchema::of::<ip_ranges::RangesJson>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "remote_ip";

/// A word of older configurations, and what to write today.
const FORWARDED: (&str, &str) =
    ("forwarded", "the 'forwarded' option is no longer supported; use the 'client_ip' matcher instead");

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    ip_ranges::parse(&mut reader.cursor, NAME, Some(FORWARDED))
}

struct RemoteIp(IpRanges);

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    Ok(Box::new(RemoteIp(IpRanges::provision(NAME, json)?)))
}

impl Matcher for RemoteIp {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        Ok(self.0.contains(x.conn.peer.map(|peer| peer.ip())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{adapt, matcher, matches, routes};

    #[test]
    fn addresses_are_in_ranges() {
        let mut x = Exchange::get("/", &[]);
        x.client_ip = Some([203, 0, 113, 9].into());
        for (name, range, expected) in [
            (NAME, "192.0.2.1", true),
            (NAME, "192.0.2.0/24", true),
            (NAME, "10.0.0.0/8", false),
            (NAME, "::/0", false),
            (NAME, "203.0.113.9", false),
            ("client_ip", "203.0.113.0/24", true),
            ("client_ip", "192.0.2.1", false),
        ] {
            assert_eq!(matches(name, &json!({"ranges": [range]}), &mut x), expected, "{name} {range}");
        }
        assert!(!matches(NAME, &json!({}), &mut x));
        let mapped = "[::ffff:10.1.2.3]:80".parse().unwrap();
        x.conn = std::sync::Arc::new(crate::http::ConnInfo::new(Some(mapped), None, None));
        assert!(matches(NAME, &json!({"ranges": ["10.0.0.0/8"]}), &mut x));
    }

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(&format!("@m {line}\nrespond @m ok"))[0]["match"][0].take();
        assert_eq!(
            json("remote_ip 1.2.3.4 10.0.0.0/8"),
            json!({NAME: {"ranges": ["1.2.3.4", "10.0.0.0/8"]}})
        );
        let private =
            ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1", "2.3.4.5"];
        assert_eq!(json("client_ip private_ranges 2.3.4.5"), json!({"client_ip": {"ranges": private}}));
        let error = adapt("@m remote_ip forwarded 1.2.3.4\nrespond @m ok").unwrap_err();
        assert!(error.contains("use the 'client_ip' matcher"), "{error}");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for range in ["", "1.2.3", "10.0.0.0/33", "{env.NOT_SET}", "fe80::1%eth0"] {
            assert!(matcher(NAME, &json!({"ranges": [range]})).is_err(), "{range}");
        }
    }
}
