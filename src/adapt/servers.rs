//! From paired sites to servers.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use tollgate_grammar::Mistakes;

use super::go_sort::stable_sort;
use super::helper::Session;
use super::listeners::Pairing;
use super::routes::consolidate;
use super::server_tls::TlsState;
use super::site::{ErrorRoute, NamedRoutes, SiteAt};
use super::site_address::specificity;
use super::{AutoHttpsOption, Error, Options, Token, oddities, server_logs, server_options};
use crate::config::http::{
    AutoHttps, ErrorRoutes, MatcherSet, Route, RouteList, Server, ServerLogs, Subroute,
};

/// Builds the servers by name.
pub(super) fn build(
    pairings: &mut [Pairing],
    named: &NamedRoutes,
    session: &Session<'_>,
) -> Result<BTreeMap<String, Server>, Error> {
    let mut servers = BTreeMap::new();
    let mut mistakes = Mistakes::default();
    for (index, pairing) in pairings.iter_mut().enumerate() {
        match build_one(index, pairing, named, session) {
            Ok(server) => drop(servers.insert(format!("srv{index}"), server)),
            Err(error) => mistakes.add(error),
        }
    }
    mistakes.none()?;
    server_options::apply(&mut servers, session.options)?;
    Ok(servers)
}

/// Notes sites that have the same address, where servers can't be built for other mistakes.
pub(super) fn check(pairings: &[Pairing], mistakes: &mut Mistakes) {
    for pairing in pairings {
        if let Err(error) = refuse_ambiguous(&pairing.sites) {
            mistakes.add(error);
        }
    }
}

fn build_one(
    index: usize,
    pairing: &mut Pairing,
    named: &NamedRoutes,
    session: &Session<'_>,
) -> Result<Server, Error> {
    let options = session.options;
    refuse_ambiguous(&pairing.sites)?;
    let mut server = Server { automatic_https: auto_https(options), ..Server::default() };
    listen(pairing, &mut server);
    warn_of_paths(&pairing.sites, session);
    oddities::of_shadowed_sites(&pairing.sites, session);
    sort_sites(&mut pairing.sites);
    let sites = &pairing.sites;
    if sites.iter().any(|site| !site.pile.logs.is_empty()) {
        // All sites must know that there are access logs, those too that have none.
        server.logs = Some(ServerLogs::default());
    }
    add_named_routes(sites, named, &mut server)?;
    let mut tls = TlsState::new(&server);
    let outliner = &session.notes.outliner;
    let mut sites_traced = Vec::with_capacity(sites.len());
    for site in sites {
        let matchers = site_matchers(site);
        let mut hosts = site.hosts();
        warn_of_unspecified(site, &hosts, session);
        tls.add_site(site, &mut hosts, &mut server, options);
        outliner.begin();
        let subroute = site.subroute(session)?;
        let routes = outliner.end();
        add_subroute(&mut server.routes, subroute, &matchers, sites.len());
        add_error_routes(site, &matchers, sites.len(), &mut server);
        server_logs::add_site(site, &hosts, &mut server);
        sites_traced.push((site, routes));
    }
    if let Some(logs) = &mut server.logs {
        logs.skip_hosts.sort();
    }
    super::server_tls::refuse_conflicting_schemes(&server, sites, options)?;
    tls.finish(index, &mut server, options)?;
    outliner.server(index, &server, sites, session);
    for (site, routes) in sites_traced {
        outliner.site(site, routes);
    }
    server.routes = consolidate(server.routes);
    Ok(server)
}

/// Two sites on one listener must not have the same address.
fn refuse_ambiguous(sites: &[SiteAt]) -> Result<(), Error> {
    // Where each address stands first.
    let mut homes: HashMap<&str, (usize, &Token)> = HashMap::new();
    let mut doubled: HashMap<&str, (&Token, &Token)> = HashMap::new();
    for (index, site) in sites.iter().enumerate() {
        for key in &site.key_tokens {
            let (home, first) = *homes.entry(&key.text).or_insert((index, key));
            if home != index {
                doubled.entry(&key.text).or_insert((first, key));
            }
        }
    }
    let mut mistakes = Mistakes::default();
    for key in sites.iter().flat_map(|site| &site.key_tokens) {
        if let Some((first, second)) = doubled.remove(&*key.text) {
            let error = Error::at_unnamed(second, format!("ambiguous site definition: {}", key.shown()));
            mistakes.add(error.related("the address stands here already", first));
        }
    }
    mistakes.none()
}

fn auto_https(options: &Options) -> Option<AutoHttps> {
    if options.auto_https.is_empty() {
        return None;
    }
    Some(AutoHttps {
        disable: options.auto_https(AutoHttpsOption::Off),
        disable_redirects: options.auto_https(AutoHttpsOption::DisableRedirects),
        disable_certificates: options.auto_https(AutoHttpsOption::DisableCerts),
        ignore_loaded_certificates: options.auto_https(AutoHttpsOption::IgnoreLoadedCerts),
        ..AutoHttps::default()
    })
}

fn listen(pairing: &Pairing, server: &mut Server) {
    server.listen = pairing.listeners.keys().cloned().collect();
    let protocols: Vec<Option<Vec<String>>> = pairing
        .listeners
        .values()
        .map(|protocols| {
            let said = protocols.iter().any(|protocol| !protocol.is_empty());
            said.then(|| protocols.iter().cloned().collect())
        })
        .collect();
    if protocols.iter().any(Option::is_some) {
        server.listen_protocols = protocols;
    }
}

fn warn_of_paths(sites: &[SiteAt], session: &Session<'_>) {
    for (key, address) in sites.iter().flat_map(|site| site.key_tokens.iter().zip(&site.addresses)) {
        if !address.path.is_empty() {
            session.warn(
                key,
                "Using a path in a site address is deprecated; please use the 'handle' directive instead",
            );
        }
    }
}

fn warn_of_unspecified(site: &SiteAt, hosts: &[String], session: &Session<'_>) {
    if hosts.iter().any(|host| host == "0.0.0.0" || host == "::")
        && let Some(key) = site.key_tokens.first()
    {
        session.warn(
                key,
                "Site block has an unspecified IP address which only matches requests having that Host header; you \
                 probably want the 'bind' directive to configure the socket",
            );
    }
}

/// The most specific site comes first, since only the first that matches counts.
fn sort_sites(sites: &mut [SiteAt]) {
    struct Rank {
        host: usize,
        path: usize,
        wildcard: bool,
    }
    let rank = |site: &SiteAt| {
        let (mut host, mut path) = ("", "");
        for address in &site.addresses {
            if specificity(&address.host) > specificity(host) {
                host = &address.host;
            }
            if specificity(&address.path) > specificity(path) {
                path = &address.path;
            }
        }
        let wildcard = |host: &str| host.is_empty() || host.contains('*');
        Rank {
            host: specificity(host),
            path: path.len(),
            wildcard: site.addresses.iter().any(|address| wildcard(&address.host)),
        }
    };
    stable_sort(sites, |a, b| {
        let (a, b) = (rank(a), rank(b));
        if a.host == 0 {
            return false;
        }
        if b.host == 0 {
            return true;
        }
        if a.wildcard != b.wildcard {
            return b.wildcard;
        }
        if a.host == b.host { a.path > b.path } else { a.host > b.host }
    });
}

/// Adds the named routes that the sites invoke, and those that these invoke in turn.
fn add_named_routes(sites: &[SiteAt], named: &NamedRoutes, server: &mut Server) -> Result<(), Error> {
    let mut wanted: Vec<(String, Option<Token>)> =
        sites.iter().flat_map(|site| site.pile.invoked.clone()).collect();
    while let Some((name, at)) = wanted.pop() {
        if server.named_routes.contains_key(&name) {
            continue;
        }
        let Some(route) = named.routes.get(&name) else {
            let message = format!("cannot invoke named route '{name}', which was not defined");
            let error = match &at {
                Some(token) => Error::at_unnamed(token, message),
                None => Error::new(message),
            };
            return Err(error.did_you_mean(&name, named.routes.keys().map(String::as_str)));
        };
        server.named_routes.insert(name.clone(), route.clone());
        wanted.extend(named.invokes.get(&name).cloned().into_iter().flatten());
    }
    Ok(())
}

/// The matchers of a site's addresses: its hosts, apart by path.
fn site_matchers(site: &SiteAt) -> Vec<MatcherSet> {
    struct Pair<'a> {
        path: &'a str,
        hosts: Vec<&'a str>,
    }
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    let mut catch_all = false;
    for address in &site.addresses {
        let at = pairs.iter().position(|pair| pair.path == address.path).unwrap_or_else(|| {
            pairs.push(Pair { path: &address.path, hosts: Vec::new() });
            pairs.len() - 1
        });
        let hosts = &mut pairs[at].hosts;
        if address.host.is_empty() && !catch_all {
            hosts.clear();
            catch_all = true;
        }
        if !catch_all && !hosts.contains(&address.host.as_str()) {
            hosts.push(&address.host);
        }
    }
    let mut sets = Vec::new();
    for pair in pairs {
        let mut set = MatcherSet::new();
        if !pair.hosts.is_empty() {
            set.insert("host".into(), json!(pair.hosts));
        }
        if !pair.path.is_empty() {
            set.insert("path".into(), json!([pair.path]));
        }
        if !set.is_empty() {
            sets.push(set);
        }
    }
    sets
}

/// Adds a site's routes, as a subroute behind the site's matchers unless it is alone and has none.
fn add_subroute(routes: &mut RouteList, subroute: Subroute, matchers: &[MatcherSet], site_count: usize) {
    if matchers.is_empty() && subroute.routes.is_empty() {
        return;
    }
    // A host matcher inside the site must not become one of the server, or it would get a certificate.
    let has_host_matcher = || {
        let mut sets = subroute.routes.iter().flat_map(|route| &route.matcher_sets);
        sets.any(|set| set.contains_key("host"))
    };
    if matchers.is_empty() && site_count == 1 && !has_host_matcher() {
        routes.extend(subroute.routes);
        return;
    }
    let handle = if subroute.routes.is_empty() { Vec::new() } else { vec![subroute.into_handler()] };
    routes.push(Route { matcher_sets: matchers.to_vec(), handle, terminal: true, ..Route::default() });
}

fn add_error_routes(site: &SiteAt, matchers: &[MatcherSet], site_count: usize, server: &mut Server) {
    let mut error_routes = site.pile.error_routes.borrow_mut();
    if error_routes.is_empty() {
        return;
    }
    // Those for certain statuses come first.
    let is_general = |(subroute, _): &ErrorRoute| {
        subroute.routes.first().is_none_or(|route| route.matcher_sets.is_empty())
    };
    stable_sort(&mut error_routes, |a, b| !is_general(a) || is_general(b));
    let routes = error_routes.iter().flat_map(|(subroute, _)| subroute.routes.iter().cloned()).collect();
    let errors = server.errors.get_or_insert_with(ErrorRoutes::default);
    add_subroute(&mut errors.routes, Subroute { routes, errors: None }, matchers, site_count);
}
