//! Which site is served on which listener.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tollgate_grammar::Mistakes;

use super::site::{Site, SiteAt};
use super::site_address::SiteAddress;
use super::{Bind, Error, Options};
use crate::config::{NetworkAddress, join_host_port, split_network_address};

/// Listeners that serve the same sites: one server.
pub(super) struct Pairing {
    /// The listeners' addresses in order, each with its protocols; an empty protocol is the default.
    pub(super) listeners: Listeners,
    pub(super) sites: Vec<SiteAt>,
}

/// Protocols by listener's address.
type Listeners = BTreeMap<String, BTreeSet<String>>;

/// Sites by listener's address and protocol.
type ByListener = BTreeMap<String, BTreeMap<String, Vec<SiteAt>>>;

/// Groups the sites into servers.
///
/// Every key of a site goes to the listeners that it and `bind` say. Listeners that serve the very same keys of the
/// same sites then become one server.
pub(super) fn pair(sites: &[Site], options: &Options, mistakes: &mut Mistakes) -> Vec<Pairing> {
    let mut by_listener = ByListener::new();
    for (index, site) in sites.iter().enumerate().filter(|(_, site)| !site.has_wrong_bind) {
        add_site(index, site, options, &mut by_listener, mistakes);
    }
    consolidate(by_listener)
}

fn add_site(index: usize, site: &Site, options: &Options, all: &mut ByListener, mistakes: &mut Mistakes) {
    let mut keys: BTreeMap<(String, String), Vec<(usize, SiteAddress)>> = BTreeMap::new();
    for number in 0..site.keys.len() {
        let (address, listeners) = match listeners_of_key(index, number, site, options) {
            Ok(found) => found,
            Err(error) => {
                mistakes.add(error);
                continue;
            }
        };
        for (listener, mut protocols) in listeners {
            if protocols.is_empty() {
                protocols.insert(String::new());
            }
            for protocol in protocols {
                keys.entry((listener.clone(), protocol)).or_default().push((number, address.clone()));
            }
        }
    }
    for ((listener, protocol), keys) in keys {
        all.entry(listener).or_default().entry(protocol).or_default().push(SiteAt {
            index,
            key_tokens: keys.iter().map(|(number, _)| site.keys[*number].clone()).collect(),
            keys: keys.iter().map(|(number, _)| *number).collect(),
            addresses: keys.into_iter().map(|(_, address)| address).collect(),
            pile: site.pile.clone(),
        });
    }
}

/// The address that a key says, and where that is served.
fn listeners_of_key(
    index: usize,
    number: usize,
    site: &Site,
    options: &Options,
) -> Result<(SiteAddress, Listeners), Error> {
    let key = &site.keys[number];
    let address = SiteAddress::parse(&key.text)
        .map_err(|error| Error::at_unnamed(key, format!("parsing key: {error}")))?;
    let listeners = listeners(&address, &site.pile.binds, options).map_err(|error| {
        let shown = key.shown();
        let message =
            format!("server block {index}, key {number} ({shown}): determining listener address: {error}");
        Error::at_unnamed(key, message)
    })?;
    Ok((address, listeners))
}

/// The listeners of one key, each with its protocols.
fn listeners(address: &SiteAddress, binds: &[Bind], options: &Options) -> Result<Listeners, String> {
    match address.scheme.as_str() {
        "" | "http" | "https" => {}
        "wss" => return Err("the scheme wss:// is only supported in browsers; use https:// instead".into()),
        "ws" => return Err("the scheme ws:// is only supported in browsers; use http:// instead".into()),
        scheme => return Err(format!("unsupported URL scheme {scheme}://")),
    }
    let (http_port, https_port) = (options.http_port().to_string(), options.https_port().to_string());
    let port = match (address.port.as_str(), address.scheme.as_str()) {
        ("", "http") => &http_port,
        ("", _) => &https_port,
        _ => &address.port,
    };
    if address.scheme == "http" && *port == https_port || address.scheme == "https" && *port == http_port {
        return Err(format!("[{address}] scheme and port violate convention"));
    }
    let any = [Bind { addresses: vec![String::new()], protocols: Vec::new() }];
    let binds = match (binds, options.default_bind.as_slice()) {
        ([], []) => &any,
        ([], default) => default,
        (binds, _) => binds,
    };
    let mut listeners = BTreeMap::new();
    for bind in binds {
        for host in &bind.addresses {
            let listener = listener(host, port)?;
            listeners.insert(listener, bind.protocols.iter().cloned().collect());
        }
    }
    Ok(listeners)
}

/// The address of a listener on `host`, which may name a network, and on the site's port.
fn listener(host: &str, port: &str) -> Result<String, String> {
    let (network, host, _) =
        split_network_address(host).map_err(|error| format!("splitting listener address: {error}"))?;
    let mut text = if network.is_empty() { String::new() } else { format!("{network}/") };
    if network.starts_with("unix") || network.starts_with("fd") {
        text.push_str(&host);
    } else {
        text.push_str(&join_host_port(&host, port));
    }
    let address: NetworkAddress =
        text.parse().map_err(|error| format!("parsing network address: {error}"))?;
    Ok(address.to_string())
}

/// Joins listeners that serve the same.
///
/// As in Caddy, a protocol that was joined with another one of the same listener leaves a server without listeners
/// behind; so the numbers in servers' names are the same.
fn consolidate(by_listener: ByListener) -> Vec<Pairing> {
    // Where the very same keys of the same sites are served, in order. The first one's sites stand for all.
    let mut places: HashMap<Vec<(usize, Vec<usize>)>, usize> = HashMap::new();
    let mut groups: Vec<Pairing> = Vec::new();
    let mut order: Vec<(String, usize)> = Vec::new();
    for (listener, protocols) in by_listener {
        for (protocol, sites) in protocols {
            let served = sites.iter().map(|site| (site.index, site.keys.clone())).collect();
            let number = *places.entry(served).or_insert(groups.len());
            if number == groups.len() {
                groups.push(Pairing { listeners: Listeners::new(), sites });
            }
            groups[number].listeners.entry(listener.clone()).or_default().insert(protocol);
            order.push((listener.clone(), number));
        }
    }
    // Each group by the listener that it was taken at.
    let mut groups: Vec<Result<Pairing, String>> = groups.into_iter().map(Ok).collect();
    let mut pairings = Vec::new();
    for (listener, number) in order {
        match std::mem::replace(&mut groups[number], Err(listener.clone())) {
            Ok(pairing) => pairings.push(pairing),
            Err(taken_at) => {
                if taken_at == listener {
                    pairings.push(Pairing { listeners: Listeners::new(), sites: Vec::new() });
                }
                groups[number] = Err(taken_at);
            }
        }
    }
    pairings
}
