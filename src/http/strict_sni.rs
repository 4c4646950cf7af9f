//! `strict_sni_host`: a request must be for the host that the TLS handshake was for.
//!
//! Where some sites ask for client certificates and others on the same port don't, a client could
//! else shake hands for an open one and then ask for a guarded one.

use http::StatusCode;

use super::{Exchange, Handler, HandlerError, Outcome, Step};
use crate::config;

/// The check, as the first handler of a server.
pub(super) struct StrictSni;

/// Whether a server checks: if it says so, or if it says nothing and looks at client certificates.
pub(super) fn is_on(config: &config::http::Server) -> bool {
    config.strict_sni_host.unwrap_or_else(|| {
        let policies = config.tls_connection_policies.iter();
        let mut client_auth = policies.filter_map(|policy| policy.client_authentication.as_ref());
        client_auth.any(|auth| *auth != config::tls::ClientAuthentication::default())
    })
}

impl Handler for StrictSni {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        let Some(tls) = x.conn.tls.clone() else { return Step::Now(Outcome::Next) };
        let asked = tls.server_name.as_deref().unwrap_or("");
        let host = without_port(x.host());
        if asked.eq_ignore_ascii_case(host) {
            return Step::Now(Outcome::Next);
        }
        let message =
            format!("strict host matching: TLS ServerName ({asked}) and HTTP Host ({host}) values differ");
        Step::Now(Outcome::Fail(HandlerError::new(StatusCode::MISDIRECTED_REQUEST, message)))
    }
}

/// A host without its port, and an IPv6 address without its brackets if it had a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
                Some(address) => address,
                None if name.contains(':') => host,
                None => name,
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::conn_info::TlsInfo;
    use crate::http::{Body, ConnInfo};

    fn passes(server_name: Option<&str>, host: &str) -> bool {
        let tls = TlsInfo { server_name: server_name.map(str::to_owned), ..TlsInfo::default() };
        let conn = ConnInfo::new(None, None, Some(Arc::new(tls)));
        let request = http::Request::builder().header("host", host).body(Body::Empty).unwrap();
        let mut x = Exchange::new(request, Arc::new(conn));
        match StrictSni.handle(&mut x) {
            Step::Now(Outcome::Next) => true,
            Step::Now(Outcome::Fail(error)) => {
                assert_eq!(error.status, StatusCode::MISDIRECTED_REQUEST);
                false
            }
            _ => panic!("it neither passes nor fails"),
        }
    }

    #[test]
    fn the_host_must_be_the_one_of_the_handshake() {
        assert!(passes(Some("a.example"), "a.example"));
        assert!(passes(Some("a.example"), "A.Example:8443"));
        assert!(!passes(Some("a.example"), "b.example"));
        assert!(!passes(None, "a.example"));
        assert!(!passes(Some("a.example"), "a.example.evil"));
    }

    #[test]
    fn client_certificates_turn_it_on() {
        let on = |json: &str| is_on(&serde_json::from_str(json).unwrap());
        assert!(!on("{}"));
        assert!(!on(r#"{"tls_connection_policies":[{}]}"#));
        let with = r#""tls_connection_policies":[{"client_authentication":{"mode":"require"}}]"#;
        assert!(on(&format!("{{{with}}}")));
        assert!(!on(&format!(r#"{{"strict_sni_host":false,{with}}}"#)));
        assert!(on(r#"{"strict_sni_host":true}"#));
    }
}
