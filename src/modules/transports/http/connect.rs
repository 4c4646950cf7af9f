//! From what is said of a transport to connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{HttpTransport, KeepAlive, Tls};
use crate::config::{NETWORK_PROXIES, NETWORK_PROXY_TAG, NetworkAddress, NetworkProxyUrl};
use crate::dns::Resolver;
use crate::fetch::ForwardProxy;
use crate::http::upstream::{Dial, ProxyVersion, TlsDial, Transport, TransportOptions};
use crate::http::{Exchange, Provision, ProvisionError, Template, Unknown};
use crate::tls::ClientOptions;

/// How long a connection may take to stand, unless said otherwise.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept, unless said otherwise.
const IDLE_KEEP: Duration = Duration::from_secs(120);
/// So many of them, unless said otherwise.
const IDLE_MAX: usize = 32;
/// So many names for TLS are remembered that depend on requests.
const NAMES_MAX: usize = 256;

/// The ways of one `transport http` to upstreams.
pub struct Transports {
    plain: Transport,
    secure: Option<Secure>,
    limits: Option<Limits>,
}

/// TLS, and where it is not spoken.
struct Secure {
    ways: SecureWays,
    except_ports: Box<[u16]>,
}

/// TLS for one server name, or for names that depend on requests.
enum SecureWays {
    Fixed(Pair),
    PerRequest(Names),
}

/// Ways by server names that depend on requests.
struct Names {
    name: Template,
    usual: TransportOptions,
    upgrades: TransportOptions,
    known: Mutex<HashMap<String, Arc<Pair>>>,
}

/// One way for requests, and one for those that ask for another protocol, which HTTP/2 can't give.
pub struct Pair {
    usual: Transport,
    upgrades: Transport,
}

/// A way to an upstream.
pub enum Way<'a> {
    /// One that is always there.
    Own(&'a Transport),
    /// One for a server name that depends on requests.
    Named(Arc<Pair>, bool),
}

impl Deref for Way<'_> {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        match self {
            Self::Own(transport) => transport,
            Self::Named(pair, upgrade) => pair.pick(*upgrade),
        }
    }
}

/// The right to have one of the connections that `max_conns_per_host` grants.
pub type Permit = OwnedSemaphorePermit;

/// So many requests at a time to each upstream. Each has a connection of its own.
struct Limits {
    most: usize,
    by_upstream: Mutex<HashMap<Dial, Weak<Semaphore>>>,
}

impl Transports {
    /// Makes ready what the JSON asks for.
    ///
    /// # Errors
    /// It asks for something that can't be, or isn't there yet.
    pub fn provision(json: &HttpTransport, ctx: &mut Provision<'_>) -> Result<Self, ProvisionError> {
        refuse_what_is_missing(json)?;
        let speaks = |version: &str| json.versions.iter().any(|said| said == version);
        let options = TransportOptions {
            local_address: local_address(json)?,
            resolver: json
                .resolver
                .as_ref()
                .map(|resolver| Resolver::new(&resolver.addresses, None).map(Arc::new))
                .transpose()
                .map_err(ProvisionError::invalid)?,
            forward_proxy: forward_proxy(json, ctx)?.map(Arc::new),
            ..options(json)
        };
        if options.proxy_protocol.is_some() && options.forward_proxy.is_some() {
            return Err(ProvisionError::invalid("proxy_protocol and a forward proxy can't be used together"));
        }
        let secure = match &json.tls {
            None => None,
            Some(tls) => {
                // Without a word on versions, HTTP/2 is used where the upstream takes it.
                let http2 = json.versions.is_empty() || speaks("2");
                let secure = Secure::provision(tls, http2, &options, ctx);
                Some(secure.map_err(|error| error.at("making TLS client config"))?)
            }
        };
        let limits = positive(json.max_conns_per_host);
        Ok(Self {
            plain: Transport::new(TransportOptions { h2c: speaks("h2c"), ..options }),
            secure,
            limits: limits.map(|most| Limits { most, by_upstream: Mutex::default() }),
        })
    }

    /// Whether requests travel by TLS, so that `Host` has to be the upstream's own.
    pub fn uses_tls(&self) -> bool {
        self.secure.is_some()
    }

    /// The way to an upstream. `upgrade` tells whether the client asks for another protocol.
    ///
    /// # Errors
    /// The server's name for TLS, which depends on the request, is none.
    pub fn pick(&self, dial: &Dial, x: &Exchange, upgrade: bool) -> Result<Way<'_>, String> {
        let Some(secure) = &self.secure else { return Ok(Way::Own(&self.plain)) };
        if let Dial::Tcp { port, .. } = dial
            && secure.except_ports.contains(port)
        {
            return Ok(Way::Own(&self.plain));
        }
        match &secure.ways {
            SecureWays::Fixed(pair) => Ok(Way::Own(pair.pick(upgrade))),
            SecureWays::PerRequest(names) => Ok(Way::Named(names.pair(x)?, upgrade)),
        }
    }

    /// Waits for the right to a connection, if their number is limited.
    pub async fn permit(&self, dial: &Dial) -> Option<Permit> {
        let limits = self.limits.as_ref()?;
        // Semaphores are closed by nobody.
        limits.semaphore(dial).acquire_owned().await.ok()
    }
}

impl Secure {
    fn provision(
        json: &Tls,
        http2: bool,
        options: &TransportOptions,
        ctx: &Provision<'_>,
    ) -> Result<Self, ProvisionError> {
        let client = |alpn: &[&str]| {
            let config = ctx.tls()?.client_config(&ClientOptions {
                ca: json.ca.as_ref(),
                root_ca_pool: &json.root_ca_pool,
                root_ca_pem_files: &json.root_ca_pem_files,
                insecure_skip_verify: json.insecure_skip_verify,
                certificate_file: &json.client_certificate_file,
                key_file: &json.client_certificate_key_file,
                certificate_name: &json.client_certificate_automate,
                curves: &json.curves,
                alpn,
            });
            config.map_err(|error| ProvisionError::invalid(error.to_string()))
        };
        let usual = if http2 { client(&["h2", "http/1.1"])? } else { client(&[])? };
        let mut options = options.clone();
        if let Some(limit) = json.handshake_timeout.positive() {
            options.handshake_timeout = limit;
        }
        let upgrades = TransportOptions {
            tls: Some(TlsDial { config: client(&["http/1.1"])?, server_name: None }),
            ..options.clone()
        };
        options.tls = Some(TlsDial { config: usual, server_name: None });
        let except_ports = json.except_ports.iter().map(|port| {
            port.parse().map_err(|_| ProvisionError::invalid(format!("tls_except_ports: {port} is no port")))
        });
        Ok(Self {
            except_ports: except_ports.collect::<Result<_, _>>()?,
            ways: SecureWays::new(&json.server_name, options, upgrades)?,
        })
    }
}

impl SecureWays {
    fn new(
        server_name: &str,
        usual: TransportOptions,
        upgrades: TransportOptions,
    ) -> Result<Self, ProvisionError> {
        let name = Template::compile(server_name, Unknown::Empty);
        let Some(fixed) = name.constant() else {
            return Ok(Self::PerRequest(Names { name, usual, upgrades, known: Mutex::default() }));
        };
        let fixed = String::from_utf8_lossy(&fixed).into_owned();
        let name = (!fixed.is_empty()).then(|| server_name_of(&fixed)).transpose();
        let name = name.map_err(ProvisionError::invalid)?;
        Ok(Self::Fixed(Pair::new(&usual, &upgrades, name.as_ref())))
    }
}

impl Names {
    fn pair(&self, x: &Exchange) -> Result<Arc<Pair>, String> {
        let name = String::from_utf8_lossy(&self.name.render(x)).into_owned();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = known.get(&name) {
            return Ok(Arc::clone(pair));
        }
        let pair = Arc::new(Pair::new(&self.usual, &self.upgrades, Some(&server_name_of(&name)?)));
        // Connections of a name that is forgotten are not used again, no more.
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(name, Arc::clone(&pair));
        Ok(pair)
    }
}

fn server_name_of(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|error| format!("tls_server_name '{text}': {error}"))
}

impl Pair {
    fn new(
        usual: &TransportOptions,
        upgrades: &TransportOptions,
        name: Option<&ServerName<'static>>,
    ) -> Self {
        let way = |options: &TransportOptions| {
            let tls = options.tls.clone().map(|tls| TlsDial { server_name: name.cloned(), ..tls });
            Transport::new(TransportOptions { tls, ..options.clone() })
        };
        Self { usual: way(usual), upgrades: way(upgrades) }
    }

    fn pick(&self, upgrade: bool) -> &Transport {
        if upgrade { &self.upgrades } else { &self.usual }
    }
}

impl Limits {
    fn semaphore(&self, dial: &Dial) -> Arc<Semaphore> {
        let mut by_upstream = self.by_upstream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = by_upstream.get(dial).and_then(Weak::upgrade) {
            return semaphore;
        }
        // Upstreams that depend on the request come and go.
        by_upstream.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.most));
        by_upstream.insert(dial.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

fn options(json: &HttpTransport) -> TransportOptions {
    let keep_alive = json.keep_alive.clone().unwrap_or_default();
    let defaults = TransportOptions::default();
    TransportOptions {
        dial_timeout: Some(json.dial_timeout.positive().unwrap_or(DIAL_TIMEOUT)),
        // A negative delay switches the second chance off.
        fallback_delay: match json.dial_fallback_delay.as_nanos() {
            0 => defaults.fallback_delay,
            _ => json.dial_fallback_delay.positive(),
        },
        probe_interval: match keep_alive.probe_interval.as_nanos() {
            0 => defaults.probe_interval,
            _ => keep_alive.probe_interval.positive(),
        },
        read_timeout: json.read_timeout.positive(),
        write_timeout: json.write_timeout.positive(),
        response_header_timeout: json.response_header_timeout.positive(),
        keep_alive: keep_alive.enabled.unwrap_or(true),
        idle_keep: keep_alive.idle_timeout.positive().unwrap_or(IDLE_KEEP),
        idle_max: idle_max(&keep_alive),
        head_bytes_max: positive(json.max_response_header_size).unwrap_or(defaults.head_bytes_max),
        proxy_protocol: match &*json.proxy_protocol {
            "v1" => Some(ProxyVersion::V1),
            "v2" => Some(ProxyVersion::V2),
            _ => None,
        },
        ..defaults
    }
}

/// Our own address towards upstreams.
fn local_address(json: &HttpTransport) -> Result<Option<SocketAddr>, ProvisionError> {
    let text = json.local_address.as_str();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |problem: &str| ProvisionError::invalid(format!("local_address '{text}': {problem}"));
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(ip, 0)));
    }
    let address: NetworkAddress = text.parse().map_err(|error| wrong(&format!("{error}")))?;
    if address.port_count() > 1 {
        return Err(wrong("local address must be a single address, not a port range"));
    }
    if !matches!(&*address.network, "tcp" | "tcp4" | "tcp6") {
        return Err(wrong("unsupported network"));
    }
    let host = address.host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse().map_err(|_| wrong("it is no IP address"))?;
    Ok(Some(SocketAddr::new(ip, address.start_port)))
}

/// The forward proxy that upstreams are reached by.
fn forward_proxy(json: &HttpTransport, ctx: &Provision<'_>) -> Result<Option<ForwardProxy>, ProvisionError> {
    let url = match &json.network_proxy {
        None if json.forward_proxy_url.is_empty() => return Ok(None),
        None => json.forward_proxy_url.clone(),
        Some(proxy) => match proxy.name(NETWORK_PROXY_TAG)? {
            "none" => return Ok(None),
            "url" => proxy.decode::<NetworkProxyUrl>(NETWORK_PROXY_TAG)?.url,
            name => {
                return Err(ProvisionError::Unknown { namespace: NETWORK_PROXIES, name: name.to_owned() });
            }
        },
    };
    let at = |error: String| ProvisionError::invalid(format!("network_proxy: {error}"));
    let template = Template::compile(&url, Unknown::Empty);
    let Some(url) = template.constant() else {
        return Err(at("a URL that depends on the request is not available yet".into()));
    };
    let tls = json.tls.clone().unwrap_or_default();
    let config = || {
        ctx.tls()?
            .client_config(&ClientOptions {
                ca: tls.ca.as_ref(),
                root_ca_pool: &tls.root_ca_pool,
                root_ca_pem_files: &tls.root_ca_pem_files,
                insecure_skip_verify: tls.insecure_skip_verify,
                certificate_file: "",
                key_file: "",
                certificate_name: "",
                curves: &tls.curves,
                alpn: &[],
            })
            .map_err(|error| ProvisionError::invalid(error.to_string()))
    };
    ForwardProxy::parse(&String::from_utf8_lossy(&url), config).map(Some).map_err(at)
}

/// Idle connections to each upstream. Their number in all is a limit for each upstream, too.
fn idle_max(keep_alive: &KeepAlive) -> usize {
    let each = positive(keep_alive.max_idle_conns_per_host).unwrap_or(IDLE_MAX);
    positive(keep_alive.max_idle_conns).map_or(each, |all| each.min(all))
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}

/// What is known as configuration but can't be done yet must not be ignored.
fn refuse_what_is_missing(json: &HttpTransport) -> Result<(), ProvisionError> {
    const VERSIONS: [&str; 4] = ["1.1", "2", "h2c", "3"];
    for version in &json.versions {
        if !VERSIONS.contains(&version.as_str()) {
            return Err(ProvisionError::invalid(format!(
                "unsupported HTTP version: {version}, supported version: {}",
                VERSIONS.join(", ")
            )));
        }
    }
    if !matches!(&*json.proxy_protocol, "" | "v1" | "v2") {
        return Err(ProvisionError::invalid("unexpected proxy protocol version"));
    }
    let renegotiation = json.tls.as_ref().map_or("", |tls| &tls.renegotiation);
    let missing = [
        ("versions 3", json.versions.iter().any(|version| version == "3")),
        ("tls_renegotiation", !matches!(renegotiation, "" | "never")),
    ];
    match missing.iter().find(|(_, said)| *said) {
        Some((option, _)) => {
            Err(ProvisionError::invalid(format!("transport http: {option} is not available yet")))
        }
        None => Ok(()),
    }
}
