//! From a configuration to something that can run: everything is built here, and nothing is opened.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::admin::Settings;
use super::auto_https::{self, AutoHttpsError};
use crate::config::{self, AddressError, Config, Misfit, ModuleJson, NetworkAddress};
use crate::http::{
    Background, HttpMetrics, Listen, ListenError, Part, Protocols, Provision, ProvisionError, Server,
    Template, Unknown, UnknownProtocol,
};
use crate::log::{LogError, Logging};
use crate::metrics;
use crate::module::Registry;
use crate::tls::issuance::Ports;
use crate::tls::{self, ConnectionPolicies, FileStorage, HttpVersions, SharedStorage, TlsError};

/// The port of plain HTTP, where TLS is never spoken.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Why a configuration can't run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its JSON does not fit.
    #[error("decoding config: {0}")]
    Decode(#[from] Misfit),
    /// A log makes no sense or can't be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A part of the HTTP app can't be built.
    #[error("loading http app module: {0}")]
    Http(#[from] ProvisionError),
    /// There is no such app.
    #[error("loading {0} app module: unknown module: {0}")]
    UnknownApp(String),
    /// An address makes no sense.
    #[error("{of}: invalid listener address '{address}': {problem}")]
    Address {
        /// Whose address it is.
        of: String,
        /// What was written.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two servers, or one twice, want the same address.
    #[error("server {server}: listener address repeated: {address} (already claimed by server '{by}')")]
    AddressRepeated {
        /// The server that comes second.
        server: String,
        /// The address.
        address: String,
        /// The server that comes first.
        by: String,
    },
    /// Something that Caddy has and that isn't here.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Automatic HTTPS can't be worked out.
    #[error("loading http app module: {0}")]
    AutoHttps(#[from] AutoHttpsError),
    /// Certificates or authorities can't be had.
    #[error("loading tls app module: {0}")]
    Tls(#[from] TlsError),
    /// The admin endpoint's address can't be had.
    #[error("starting admin endpoint: listening on {address}: {source}")]
    Admin {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A site's address can't be had.
    #[error("http app module: start: {0}")]
    Listen(#[from] ListenError),
    /// A module that there isn't, with the one that was probably meant.
    #[error("{error}; did you mean '{near}'?")]
    NearModule {
        /// The error.
        error: Box<LoadError>,
        /// The full name of the module that is nearest.
        near: String,
    },
    /// It ended before its time, by a defect or because the process ends.
    #[error("loading broke off")]
    BrokeOff,
}

/// A configuration that is ready to run.
pub struct Provisioned {
    /// What is served, and where.
    pub listens: Vec<Listen>,
    /// How long requests may go on at the end; nothing means as long as they take.
    pub grace: Option<Duration>,
    /// How long to go on as before, at the end, before closing.
    pub delay: Option<Duration>,
    /// Whether the configuration is to be saved once it runs.
    pub persist: bool,
    /// The logs, to be put in force together with the rest.
    pub logging: Arc<Logging>,
    /// What is said about the admin endpoint.
    pub admin: Settings,
    /// Its certificates and authorities.
    pub tls: Arc<tls::App>,
    /// What is said of where they are kept.
    pub storage: Option<ModuleJson>,
    /// All that counts in it.
    pub metrics: Arc<metrics::Registry>,
    /// Work beside the requests, to be begun once the configuration is in force.
    pub background: Vec<Background>,
    /// Work for the end of the process.
    pub closing: Vec<Background>,
}

/// Builds everything in a configuration; null is an empty one.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn provision(json: Value, registry: &Registry) -> Result<Provisioned, LoadError> {
    build(json, registry).map_err(|error| with_near_module(error, registry))
}

/// Adds which module was probably meant, where the error is that there is none of a name.
fn with_near_module(error: LoadError, registry: &Registry) -> LoadError {
    const SAYS: &str = "module not registered: ";
    if let LoadError::UnknownApp(name) = &error {
        return match tollgate_grammar::nearest(name, ["http", "pki", "tls"]) {
            Some(near) => LoadError::NearModule { near: near.to_owned(), error: Box::new(error) },
            None => error,
        };
    }
    let message = error.to_string();
    let id = message.rsplit_once(SAYS).map_or("", |(_, id)| id);
    let Some((namespace, name)) = id.rsplit_once('.') else { return error };
    let ids = registry.ids();
    let siblings = ids.iter().filter_map(|id| id.strip_prefix(namespace)?.strip_prefix('.'));
    match tollgate_grammar::nearest(name, siblings.filter(|name| !name.contains('.'))) {
        Some(near) => LoadError::NearModule { near: format!("{namespace}.{near}"), error: Box::new(error) },
        None => error,
    }
}

fn build(json: Value, registry: &Registry) -> Result<Provisioned, LoadError> {
    let config = if json.is_null() { Config::default() } else { Config::from_json(json)? };
    if let Some(name) = config.apps.other.keys().next() {
        return Err(LoadError::UnknownApp(name.clone()));
    }
    let settings = config.admin.as_ref().and_then(|admin| admin.config.as_ref());
    if config.admin.as_ref().is_some_and(|admin| admin.remote.is_some() || admin.identity.is_some()) {
        return Err(LoadError::Unsupported("remote administration (admin.remote, admin.identity)"));
    }
    let pushes = |http: &config::http::App| http.metrics.as_ref().is_some_and(|metrics| metrics.otlp);
    if config.apps.http.as_ref().is_some_and(pushes) {
        return Err(LoadError::Unsupported("pushing metrics (apps.http.metrics.otlp)"));
    }
    if settings.is_some_and(|settings| settings.load.is_some()) {
        return Err(LoadError::Unsupported("pulling configurations (admin.config.load)"));
    }
    let logging = Arc::new(Logging::provision(config.logging.as_ref(), &registry.logs)?);
    let storage = match &config.storage {
        Some(json) => tls::open_storage(json, &registry.tls.storages)?,
        None => Arc::new(FileStorage::standard()),
    };
    let apps = &config.apps;
    let (http, tls) = apply_auto_https(apps, storage, registry)?;
    let mut background: Vec<Background> = Vec::new();
    let mut ctx = Provision::new(&registry.handlers, &registry.matchers)
        .with_logging(logging.clone())
        .with_metrics(apps.http.as_ref().and_then(HttpMetrics::new))
        .with_tls(tls.clone());
    let metrics = ctx.metrics().clone();
    let listens = listens(&http, &tls, &mut ctx, &mut background)?;
    background.push(Box::pin(tls.clone().maintain()));
    Ok(Provisioned {
        listens,
        logging,
        grace: http.grace_period.positive(),
        delay: http.shutdown_delay.positive(),
        persist: settings.and_then(|settings| settings.persist).unwrap_or(true),
        admin: Settings::new(config.admin.as_ref())?,
        tls,
        storage: config.storage,
        metrics,
        background,
        closing: ctx.take_closing(),
    })
}

/// The HTTP app with what automatic HTTPS adds to it, and all certificates that it needs.
fn apply_auto_https(
    apps: &config::Apps,
    storage: SharedStorage,
    registry: &Registry,
) -> Result<(config::http::App, Arc<tls::App>), LoadError> {
    let mut http = apps.http.clone().unwrap_or_default();
    let mut tls_config = apps.tls.clone();
    let mut tls = tls::App::provision(tls_config.as_ref(), apps.pki.as_ref(), storage, &registry.tls)?;
    let names = auto_https::apply(&mut http, &mut tls_config, &|name| tls.has_certificate_for(name))?;
    let or = |port, default| if port == 0 { default } else { port };
    let ports = Ports { http: or(http.http_port, HTTP_PORT), https: or(http.https_port, HTTPS_PORT) };
    tls.automate(tls_config.as_ref(), &names, ports)?;
    Ok((http, Arc::new(tls)))
}

fn listens(
    http: &config::http::App,
    tls: &tls::App,
    ctx: &mut Provision<'_>,
    background: &mut Vec<Background>,
) -> Result<Vec<Listen>, LoadError> {
    let http_port = if http.http_port == 0 { HTTP_PORT } else { http.http_port };
    let mut claimed: BTreeMap<String, &str> = BTreeMap::new();
    let mut listens = Vec::new();
    for (name, config) in &http.servers {
        let server = Server::provision(name, config, ctx)?.share();
        background.append(&mut ctx.take_background());
        let offered = offered(name, config)?;
        let policies = policies(name, config, offered, tls)?;
        let asks_for_h3 = !config.protocols.is_empty() || !config.listen_protocols.is_empty();
        for (nth, text) in config.listen.iter().enumerate() {
            let mut protocols = protocols(name, Protocols::at(config, nth))?;
            if policies.is_some() && protocols.need_tcp(true) {
                // As in Caddy, what one address speaks over TLS all do that speak over TCP at all.
                (protocols.h1, protocols.h2) = (offered.http1, offered.http2);
            }
            for address in address(&format!("server {name}"), text)?.expand() {
                if let Some(by) = claimed.insert(address.to_string(), name) {
                    return Err(LoadError::AddressRepeated {
                        server: name.clone(),
                        address: address.to_string(),
                        by: by.to_owned(),
                    });
                }
                // The port of plain HTTP stays that, whatever the server's policies.
                let tls = policies.clone().filter(|_| address.start_port != http_port);
                if asks_for_h3 && protocols.h3 {
                    say_where_h3_is_not(&address, tls.is_some());
                }
                listens.push(Listen { address, server: server.clone(), tls, protocols });
            }
        }
    }
    Ok(listens)
}

/// What a server speaks over TLS at any of its addresses.
fn offered(name: &str, config: &config::http::Server) -> Result<HttpVersions, LoadError> {
    let mut offered = HttpVersions { http1: false, http2: false };
    for nth in 0..config.listen.len() {
        let spoken = protocols(name, Protocols::at(config, nth))?;
        offered.http1 |= spoken.h1;
        offered.http2 |= spoken.h2;
    }
    Ok(offered)
}

fn protocols<T>(name: &str, spoken: Result<T, UnknownProtocol>) -> Result<T, LoadError> {
    spoken.map_err(|error| ProvisionError::invalid(error.to_string()).at(format!("server {name}")).into())
}

/// Warns where HTTP/3 is asked for by name, and an address can't have it.
fn say_where_h3_is_not(address: &NetworkAddress, has_tls: bool) {
    if address.is_unix() {
        tracing::warn!(target: "http", %address, "HTTP/3 is not served on a Unix socket");
    } else if !has_tls {
        tracing::warn!(target: "http", %address, "HTTP/3 skipped because it requires TLS");
    }
}

/// How a server speaks TLS; not at all if it has no policy.
fn policies(
    name: &str,
    config: &config::http::Server,
    versions: HttpVersions,
    tls: &tls::App,
) -> Result<Option<Arc<ConnectionPolicies>>, LoadError> {
    if config.tls_connection_policies.is_empty() {
        return Ok(None);
    }
    let policies = tls
        .connection_policies(&config.tls_connection_policies, versions)
        .map_err(|error| error.at(format!("server {name}: setting up TLS connection policies")))?;
    Ok(Some(Arc::new(policies)))
}

/// Reads an address to listen on, in which placeholders may stand that need no request.
///
/// # Errors
/// It is none, or one of a kind that HTTP/1 and HTTP/2 can't be served on.
pub(super) fn address(of: &str, text: &str) -> Result<NetworkAddress, LoadError> {
    let wrong = |problem: String| LoadError::Address { of: of.to_owned(), address: text.to_owned(), problem };
    let expanded = expand(text).map_err(wrong)?;
    let address: NetworkAddress = expanded.parse().map_err(|error: AddressError| wrong(error.to_string()))?;
    match address.network.as_str() {
        "tcp" | "tcp4" | "tcp6" | "unix" => Ok(address),
        network => Err(wrong(format!("network '{network}' cannot handle HTTP/1 or HTTP/2 connections"))),
    }
}

/// Replaces placeholders whose values are known now; there must be values.
fn expand(text: &str) -> Result<String, String> {
    let mut expanded = Vec::new();
    for part in Template::compile(text, Unknown::Keep).parts() {
        match part {
            Part::Literal(literal) => expanded.extend_from_slice(literal.as_bytes()),
            Part::Known(value) if value.is_empty() => return Err("a placeholder is empty".to_owned()),
            Part::Known(value) => expanded.extend_from_slice(value),
            Part::Dynamic(_, written) => return Err(format!("unrecognized placeholder {written}")),
        }
    }
    String::from_utf8(expanded).map_err(|_| "a placeholder's value is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules;

    fn refused(json: Value) -> String {
        match provision(json, &modules::registry()) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    }

    fn servers(servers: Value) -> Value {
        json!({"apps": {"http": {"servers": servers}}})
    }

    #[test]
    fn a_module_that_there_is_not_is_told_with_the_nearest() {
        for (handler, near) in [
            (json!({"handler": "static_respnse"}), "http.handlers.static_response"),
            (
                json!({"handler": "reverse_proxy", "transport": {"protocol": "htp"}}),
                "http.reverse_proxy.transport.http",
            ),
            (json!({"handler": "subroute", "routes": [{"match": [{"pth": ["/"]}]}]}), "http.matchers.path"),
        ] {
            let error = refused(servers(json!({"s": {"routes": [{"handle": [handler]}]}})));
            assert!(error.ends_with(&format!("; did you mean '{near}'?")), "{error}");
        }
        let error = refused(servers(json!({"s": {"routes": [{"handle": [{"handler": "qqqqqqqq"}]}]}})));
        assert!(error.ends_with("module not registered: http.handlers.qqqqqqqq"), "{error}");
        let issuers = json!([{"module": "intrnal"}]);
        let error = refused(json!({"apps": {"tls": {"automation": {"policies": [{"issuers": issuers}]}}}}));
        assert!(error.contains("tls.issuance.intrnal"), "{error}");
    }

    #[test]
    fn no_configuration_is_an_empty_one() {
        let provisioned = provision(Value::Null, &modules::registry()).unwrap();
        assert!(provisioned.listens.is_empty() && provisioned.persist);
        assert_eq!(provisioned.grace, None);
    }

    #[test]
    fn a_range_of_ports_is_so_many_listeners() {
        let json = json!({
            "admin": {"config": {"persist": false}},
            "apps": {"http": {"grace_period": "5s", "servers": {"a": {"listen": ["127.0.0.1:8000-8002"]}}}},
        });
        let provisioned = provision(json, &modules::registry()).unwrap();
        let addresses: Vec<String> = provisioned.listens.iter().map(|l| l.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:8000", "127.0.0.1:8001", "127.0.0.1:8002"]);
        assert_eq!(provisioned.grace, Some(Duration::from_secs(5)));
        assert!(!provisioned.persist);
    }

    #[test]
    fn what_cannot_run_is_refused_by_name() {
        assert!(refused(json!({"apps": {"warp": {}}})).contains("unknown module: warp"));
        assert!(refused(servers(json!({"a": {"bogus": 1}}))).contains("bogus"));
        let error = refused(servers(json!({"a": {"routes": [{"handle": [{"handler": "warp_drive"}]}]}})));
        assert!(error.contains("warp_drive") && error.contains("server a"), "{error}");
        assert!(refused(json!({"admin": {"remote": {}}})).contains("not supported"));
        assert!(refused(json!({"apps": {"http": {"metrics": {"otlp": true}}}})).contains("metrics"));
        for (cname, says) in [
            (json!({"resolvers": ["127.0.0.1"]}), "cname_validation without a provider"),
            (json!({"provider": {"name": "cloudflare"}, "override_domain": "a.test"}), "override_domain"),
        ] {
            let issuer = json!({"module": "zerossl", "api_key": "k", "cname_validation": cname});
            let policies = json!([{"issuers": [issuer]}]);
            let error = refused(json!({"apps": {"tls": {"automation": {"policies": policies}}}}));
            assert!(
                error.contains("automation policy 0: issuer zerossl: ") && error.contains(says),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_must_make_sense_and_be_claimed_once() {
        assert!(refused(servers(json!({"a": {"listen": [":x"]}}))).contains("invalid listener address ':x'"));
        assert!(refused(servers(json!({"a": {"listen": ["udp/:80"]}}))).contains("udp"));
        let error = refused(servers(json!({"a": {"listen": [":1-3"]}, "b": {"listen": [":2"]}})));
        assert!(error.contains("server b: listener address repeated: :2"), "{error}");
        let error = refused(servers(json!({"a": {"listen": [":{http.request.port}"]}})));
        assert!(error.contains("unrecognized placeholder {http.request.port}"), "{error}");
    }
}
