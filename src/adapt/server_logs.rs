//! Access logs: which hosts of a server go to which logger.

use super::site::SiteAt;
use crate::config::http::Server;
use crate::config::split_host_port;

/// Enters a site's logs, or that it has none. `hosts` are the site's hosts, none if it is there for all.
pub(super) fn add_site(site: &SiteAt, hosts: &[String], server: &mut Server) {
    let Some(server_logs) = &mut server.logs else { return };
    let log_hosts = site.log_hosts();
    if site.pile.logs.is_empty() {
        // Others have access logs and this site has none, so its hosts are left out.
        server_logs.skip_unmapped_hosts |= hosts.is_empty();
        server_logs.skip_hosts.extend(log_hosts);
        return;
    }
    for log in site.pile.logs.iter().filter(|log| !log.no_hostname) {
        if site.is_catch_all() && log.hostnames.is_empty() {
            server_logs.default_logger_name.clone_from(&log.name);
            continue;
        }
        let names: Vec<&str> = if log.hostnames.is_empty() {
            log_hosts
                .iter()
                .map(|host| split_host_port(host).map_or(host.as_str(), |(host, _)| host))
                .collect()
        } else {
            log.hostnames.iter().map(String::as_str).collect()
        };
        for host in names {
            server_logs.logger_names.entry(host.to_owned()).or_default().0.push(log.name.clone());
        }
    }
}
