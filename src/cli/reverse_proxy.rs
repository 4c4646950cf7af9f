//! `reverse-proxy`: pass everything on.

use serde_json::{Value, json};

use super::{Command, Failure, process};
use crate::adapt::SiteAddress;
use crate::modules::handlers::UpstreamAddress;

/// The flags of `reverse-proxy`.
#[derive(clap::Args)]
pub(super) struct ReverseProxy {
    /// Address at which to receive traffic
    #[arg(long, short, value_name = "address", default_value = "localhost")]
    from: String,
    /// Upstream address to which to pass it on; may be given several times
    #[arg(long, short, value_name = "address", value_delimiter = ',')]
    to: Vec<String>,
    /// Set the Host that upstreams see to their address
    #[arg(long, short)]
    change_host_header: bool,
    /// Don't verify the certificates of upstreams; whoever stands between can then read along
    #[arg(long)]
    insecure: bool,
    /// Don't redirect from HTTP to HTTPS
    #[arg(long, short = 'r')]
    disable_redirects: bool,
    /// Use a certificate of the local authority
    #[arg(long, short)]
    internal_certs: bool,
    /// Set a field of requests to upstreams, as "Field: value"; may be given several times
    #[arg(long, short = 'H', value_name = "field")]
    header_up: Vec<String>,
    /// Set a field of answers to clients, as "Field: value"; may be given several times
    #[arg(long, short = 'd', value_name = "field")]
    header_down: Vec<String>,
    /// Enable the access log
    #[arg(long)]
    access_log: bool,
    /// Log at debug level
    #[arg(long, short = 'v')]
    debug: bool,
}

const HTTP_PORT: &str = "80";
const HTTPS_PORT: &str = "443";

impl Command for ReverseProxy {
    const NAME: &'static str = "reverse-proxy";
    const ABOUT: &'static str = "A reverse proxy in one line";
    const DETAILS: &'static str = "\
Passes traffic from --from on to --to. --from is served over HTTPS if it names a host, and has no other scheme \
or port; --to is asked over HTTP, unless its scheme says otherwise.";

    fn run(self) -> Result<(), Failure> {
        let from = self.from()?;
        let dials = self.upstreams()?;
        process::serve(self.apps(&from, &dials)?, self.debug, async |_| {
            tracing::info!(target: "", %from, to = ?dials.addresses, "proxying");
            Ok(())
        })
    }
}

/// Whom to ask, and how.
struct Upstreams {
    addresses: Vec<String>,
    /// The first scheme that an address has.
    scheme: String,
}

impl ReverseProxy {
    /// The address to receive at, with scheme and port.
    fn from(&self) -> Result<SiteAddress, Failure> {
        let wrong =
            |problem: &str| Failure::other(format!("invalid downstream address {}: {problem}", self.from));
        let mut from = SiteAddress::parse(&self.from).map_err(|problem| wrong(&problem))?;
        if !from.path.is_empty() {
            return Err(wrong("paths are not allowed"));
        }
        if from.scheme.is_empty() {
            let is_http = from.port == HTTP_PORT || from.host.is_empty();
            from.scheme = if is_http { "http" } else { "https" }.to_owned();
        }
        if from.port.is_empty() {
            match from.scheme.as_str() {
                "http" => HTTP_PORT.clone_into(&mut from.port),
                "https" => HTTPS_PORT.clone_into(&mut from.port),
                _ => return Err(wrong("the scheme must be http or https")),
            }
        }
        Ok(from)
    }

    fn upstreams(&self) -> Result<Upstreams, Failure> {
        if self.to.is_empty() {
            return Err(Failure::other("--to is required"));
        }
        let mut upstreams = Upstreams { addresses: Vec::new(), scheme: String::new() };
        for to in &self.to {
            let wrong = |error| Failure::other(format!("invalid upstream address {to}: {error}"));
            let address = UpstreamAddress::parse(to).map_err(wrong)?;
            upstreams.addresses.extend(address.dials().map_err(wrong)?);
            if upstreams.scheme.is_empty() {
                upstreams.scheme = address.scheme;
            }
        }
        Ok(upstreams)
    }

    fn apps(&self, from: &SiteAddress, upstreams: &Upstreams) -> Result<Value, Failure> {
        let mut route = json!({"handle": [self.handler(upstreams)?]});
        if !from.host.is_empty() {
            route["match"] = json!([{"host": [from.host]}]);
        }
        let mut server = json!({"listen": [format!(":{}", from.port)], "routes": [route]});
        if from.scheme == "http" {
            server["automatic_https"] = json!({"disable": true});
        } else if self.disable_redirects {
            server["automatic_https"] = json!({"disable_redirects": true});
        }
        if self.access_log {
            server["logs"] = json!({});
        }
        let mut apps = json!({"http": {"servers": {"proxy": server}}});
        if self.internal_certs && !from.host.is_empty() {
            let policy = json!({"subjects": [from.host], "issuers": [{"module": "internal"}]});
            apps["tls"] = json!({"automation": {"policies": [policy]}});
        }
        Ok(apps)
    }

    fn handler(&self, upstreams: &Upstreams) -> Result<Value, Failure> {
        let mut transport = json!({"protocol": "http"});
        if upstreams.scheme == "https" {
            transport["tls"] = if self.insecure { json!({"insecure_skip_verify": true}) } else { json!({}) };
        }
        let dials: Vec<Value> = upstreams.addresses.iter().map(|dial| json!({"dial": dial})).collect();
        let mut handler = json!({"handler": "reverse_proxy", "transport": transport, "upstreams": dials});
        let mut up = process::header_fields("header-up", &self.header_up)?;
        if self.change_host_header {
            up["Host"] = json!(["{http.reverse_proxy.upstream.hostport}"]);
        }
        let down = process::header_fields("header-down", &self.header_down)?;
        let mut headers = serde_json::Map::new();
        for (direction, fields) in [("request", up), ("response", down)] {
            if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
                headers.insert(direction.to_owned(), json!({"set": fields}));
            }
        }
        if !headers.is_empty() {
            handler["headers"] = Value::Object(headers);
        }
        Ok(handler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(from: &str, to: &[&str]) -> ReverseProxy {
        ReverseProxy {
            from: from.to_owned(),
            to: to.iter().map(ToString::to_string).collect(),
            change_host_header: false,
            insecure: false,
            disable_redirects: false,
            internal_certs: false,
            header_up: Vec::new(),
            header_down: Vec::new(),
            access_log: false,
            debug: false,
        }
    }

    fn server(command: &ReverseProxy) -> Value {
        let apps = command.apps(&command.from().unwrap(), &command.upstreams().unwrap()).unwrap();
        apps["http"]["servers"]["proxy"].clone()
    }

    #[test]
    fn without_a_host_it_is_http() {
        let server = server(&command(":8080", &["127.0.0.1:9000-9001"]));
        assert_eq!(server["listen"], json!([":8080"]));
        assert_eq!(server["automatic_https"], json!({"disable": true}));
        assert_eq!(server["routes"][0]["match"], Value::Null);
        let upstreams = &server["routes"][0]["handle"][0]["upstreams"];
        assert_eq!(*upstreams, json!([{"dial": "127.0.0.1:9000"}, {"dial": "127.0.0.1:9001"}]));
    }

    #[test]
    fn with_a_host_it_is_https() {
        let mut command = command("gate.example", &["https://up.example"]);
        command.insecure = true;
        command.change_host_header = true;
        command.header_down = vec!["X-A: b".to_owned()];
        let server = server(&command);
        assert_eq!(server["listen"], json!([":443"]));
        assert_eq!(server["routes"][0]["match"], json!([{"host": ["gate.example"]}]));
        let handler = &server["routes"][0]["handle"][0];
        assert_eq!(handler["transport"], json!({"protocol": "http", "tls": {"insecure_skip_verify": true}}));
        assert_eq!(handler["upstreams"], json!([{"dial": "up.example:443"}]));
        assert_eq!(
            handler["headers"],
            json!({
                "request": {"set": {"Host": ["{http.reverse_proxy.upstream.hostport}"]}},
                "response": {"set": {"X-A": ["b"]}},
            })
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(command(":80", &[]).upstreams().is_err());
        assert!(command(":80", &["ftp://x"]).upstreams().is_err());
        assert!(command("a/path", &["x"]).from().is_err());
        assert!(command(":nope", &["x"]).from().is_err());
    }
}
