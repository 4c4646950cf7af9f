//! The `servers` options: from what was said to the servers that are meant.

use std::collections::{BTreeMap, HashSet};

use super::go_sort::stable_sort;
use super::{Error, Options, ServerOptions};
use crate::config::http::{Server, ServerLogs};

impl Options {
    /// Puts `servers` options for longer addresses first.
    ///
    /// # Errors
    /// Two are for the same address.
    pub(super) fn sort_servers(&mut self) -> Result<(), Error> {
        let length = |options: &ServerOptions| options.listener_address.len();
        stable_sort(&mut self.servers, |a, b| length(a) > length(b));
        let mut seen = HashSet::new();
        for options in &self.servers {
            let address = &options.listener_address;
            if !seen.insert(address) {
                return Err(Error::new(format!(
                    "cannot have 'servers' global options with duplicate listener addresses: {address}"
                )));
            }
        }
        Ok(())
    }
}

/// Gives each server the first options that are for it, and its name.
pub(super) fn apply(servers: &mut BTreeMap<String, Server>, options: &Options) -> Result<(), Error> {
    let applying = |error: String| Error::new(format!("applying global server options: {error}"));
    let mut names = HashSet::new();
    for name in options.servers.iter().map(|options| &options.name).filter(|name| !name.is_empty()) {
        if !names.insert(name) {
            return Err(applying(format!("cannot use duplicate server name '{name}'")));
        }
    }
    let mut renamed = Vec::new();
    for (key, server) in servers.iter_mut() {
        let Some(said) = said_for(server, options) else { continue };
        take_over(server, said);
        if !said.name.is_empty() {
            renamed.push((key.clone(), said.name.clone()));
        }
    }
    for (old, new) in renamed {
        if let Some(server) = servers.remove(&old) {
            servers.insert(new, server);
        }
    }
    Ok(())
}

/// The first options that are for a server.
pub(super) fn said_for<'o>(server: &Server, options: &'o Options) -> Option<&'o ServerOptions> {
    let is_meant = |said: &&ServerOptions| {
        said.listener_address.is_empty() || server.listen.contains(&said.listener_address)
    };
    options.servers.iter().find(is_meant)
}

/// Takes the fields of the options over; what the sites said stays.
fn take_over(server: &mut Server, said: &ServerOptions) {
    let Server {
        listen,
        routes,
        errors,
        named_routes,
        tls_connection_policies,
        automatic_https,
        mut logs,
        listen_protocols,
        ..
    } = std::mem::take(server);
    if said.log_credentials || said.trace {
        let logs = logs.get_or_insert_with(ServerLogs::default);
        logs.should_log_credentials |= said.log_credentials;
        logs.trace |= said.trace;
    }
    *server = Server {
        listen,
        routes,
        errors,
        named_routes,
        tls_connection_policies,
        automatic_https,
        logs,
        listen_protocols,
        ..said.server.clone()
    };
}
