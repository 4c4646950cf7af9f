//! How handshakes are answered: `tls_connection_policies`, ready to use.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;

use super::automation::Automation;
use super::challenges::{self, Fixed, SharedChallenges};
use super::client_auth::ClientVerifier;
use super::matcher::{Ends, Matcher};
use super::on_demand::{Answer, Hello};
use super::placeholder::{expand, server_name};
use super::secrets_log::SecretsLog;
use super::selection::{Criteria, Resolver};
use super::tickets::Tickets;
use super::trust_pool::Sources;
use super::{CertificateStore, TlsError, provider};
use crate::config::tls::ConnectionPolicy;

/// Protocols that are offered unless a policy names others, best first.
const DEFAULT_ALPN: &[&str] = &["h2", "http/1.1"];

/// Which HTTP versions a server speaks; a policy offers no other.
#[derive(Clone, Copy, Debug)]
pub struct HttpVersions {
    /// HTTP/1.1.
    pub http1: bool,
    /// HTTP/2.
    pub http2: bool,
}

/// All policies of one server. The first that matches a handshake answers it.
#[derive(Debug)]
pub struct ConnectionPolicies {
    policies: Vec<Policy>,
    /// Policies by the exact names that they match, in order.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// Policies that match by anything else too, in order.
    others: Vec<usize>,
    automation: Arc<Automation>,
    challenges: Arc<SharedChallenges>,
}

/// How to answer a handshake.
pub enum Selected {
    /// Like this.
    Ready(Arc<ServerConfig>),
    /// As this tells when it is done. It keeps its own deadline.
    Later(Answer<'static, Option<Arc<ServerConfig>>>),
    /// Not at all: with the alert `internal_error`, as Caddy does, since no policy matches, or one that
    /// drops connections.
    Refused,
}

#[derive(Debug)]
struct Policy {
    matchers: Vec<Matcher>,
    drop: bool,
    resolver: Resolver,
    /// For clients with hardware AES.
    aes_first: Arc<ServerConfig>,
    /// For clients without.
    chacha_first: Arc<ServerConfig>,
}

/// What provisioning policies needs.
pub(super) struct Context<'a> {
    pub(super) store: &'a Arc<CertificateStore>,
    pub(super) sources: Sources<'a>,
    pub(super) tickets: &'a Tickets,
    pub(super) automation: &'a Arc<Automation>,
    pub(super) challenges: &'a Arc<SharedChallenges>,
}

impl ConnectionPolicies {
    /// # Errors
    /// [`TlsError`] with the policy's index.
    pub(super) fn provision(
        config: &[ConnectionPolicy],
        versions: HttpVersions,
        context: &Context<'_>,
    ) -> Result<Self, TlsError> {
        let mut policies = Vec::with_capacity(config.len());
        for (index, policy) in config.iter().enumerate() {
            let policy = Policy::provision(policy, versions, context);
            policies.push(policy.map_err(|error| error.at(format!("connection policy {index}")))?);
        }
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut others = Vec::new();
        for (index, policy) in policies.iter().enumerate() {
            match policy.exact_names() {
                Some(names) => names.for_each(|name| by_name.entry(name.into()).or_default().push(index)),
                None => others.push(index),
            }
        }
        Ok(Self {
            policies,
            by_name,
            others,
            automation: context.automation.clone(),
            challenges: context.challenges.clone(),
        })
    }

    /// How to answer a handshake.
    pub fn select(&self, hello: &ClientHello<'_>, ends: Ends) -> Selected {
        if let Some(name) = hello.server_name()
            && challenges::is_asked_for(hello)
        {
            return self.select_challenge(name);
        }
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let Some(policy) = self.matching(&name, ends).filter(|policy| !policy.drop) else {
            return Selected::Refused;
        };
        let config = policy.config(hello, &name, ends);
        if !self.automation.gets_on_demand() {
            return Selected::Ready(config);
        }
        let name = if name.is_empty() { policy.name_of_nameless(ends) } else { name };
        match self.automation.at_handshake(&name, || Hello::new(hello, ends)) {
            None => Selected::Ready(config),
            Some(waiting) => Selected::Later(Box::pin(async move {
                Some(match waiting.await {
                    None => config,
                    Some(only) => {
                        let mut config = ServerConfig::clone(&config);
                        config.cert_resolver = Arc::new(Fixed::new(&only));
                        Arc::new(config)
                    }
                })
            })),
        }
    }

    /// The answer to an authority that wants to see whether a name is ours (RFC 8737): what this
    /// process shows, or else what another instance has left in the storage.
    fn select_challenge(&self, name: &str) -> Selected {
        if let Some(config) = challenges::tls_answer(name) {
            return Selected::Ready(config);
        }
        let (shared, name) = (self.challenges.clone(), challenges::identified(name));
        Selected::Later(Box::pin(async move {
            let challenge = shared.find(&name, |found| found.kind == challenges::TLS_ALPN).await?;
            challenges::server_config(&challenge).ok()
        }))
    }

    /// The first policy that matches, of those that may.
    fn matching(&self, name: &str, ends: Ends) -> Option<&Policy> {
        let named = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let (mut named, mut others) = (named.iter().peekable(), self.others.iter().peekable());
        loop {
            let index = match (named.peek(), others.peek()) {
                (None, None) => return None,
                (Some(left), Some(right)) if left < right => named.next(),
                (Some(_), None) => named.next(),
                _ => others.next(),
            };
            let policy = &self.policies[*index?];
            if policy.matchers.iter().all(|matcher| matcher.matches(name, ends)) {
                return Some(policy);
            }
        }
    }
}

impl Policy {
    fn provision(
        config: &ConnectionPolicy,
        versions: HttpVersions,
        context: &Context<'_>,
    ) -> Result<Self, TlsError> {
        if let Some(module) = &config.handshake_context {
            let name = module.name("module")?;
            return Err(TlsError::unknown_module("tls.context", name));
        }
        let criteria = config.certificate_selection.as_ref().map(Criteria::new).transpose()?;
        let resolver = Resolver {
            store: context.store.clone(),
            criteria: criteria.map(Arc::new),
            default_name: server_name(&config.default_sni).into(),
            fallback_name: server_name(&config.fallback_sni).into(),
            local: None,
        };
        let (aes_first, chacha_first) = server_configs(config, versions, &resolver, context)?;
        Ok(Self {
            matchers: Matcher::compile(&config.matchers)?,
            drop: config.drop,
            resolver,
            aes_first,
            chacha_first,
        })
    }

    /// How to answer a client that asks for `name`, with the certificates that are at hand.
    fn config(&self, hello: &ClientHello<'_>, name: &str, ends: Ends) -> Arc<ServerConfig> {
        let config = match provider::prefers_chacha(hello.cipher_suites()) {
            true => &self.chacha_first,
            false => &self.aes_first,
        };
        // A client that connects by address names no server, so its certificate goes by our address.
        let local = ends.local.map(|local| local.ip().to_canonical());
        match local.filter(|local| name.is_empty() && self.resolver.knows_address(*local)) {
            None => config.clone(),
            local => {
                let mut config = ServerConfig::clone(config);
                config.cert_resolver = Arc::new(Resolver { local, ..self.resolver.clone() });
                Arc::new(config)
            }
        }
    }

    /// What a client that names no server is taken to ask for.
    fn name_of_nameless(&self, ends: Ends) -> String {
        let local = || ends.local.map(|local| local.ip().to_canonical().to_string()).unwrap_or_default();
        match &*self.resolver.default_name {
            "" => local(),
            name => name.to_owned(),
        }
    }

    /// The only names that it can match, if it says so by name alone.
    fn exact_names(&self) -> Option<impl Iterator<Item = &str>> {
        self.matchers
            .iter()
            .find_map(|matcher| match matcher {
                Matcher::ServerName(names) if !names.iter().any(|name| name.contains('*')) => Some(names),
                _ => None,
            })
            .map(|names| names.iter().map(String::as_str))
    }
}

/// The same configuration with AES and with ChaCha20 first.
fn server_configs(
    policy: &ConnectionPolicy,
    versions: HttpVersions,
    resolver: &Resolver,
    context: &Context<'_>,
) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), TlsError> {
    let aes_first = provider::narrowed(&policy.cipher_suites, &policy.curves)?;
    let chacha_first = provider::chacha_first(&aes_first);
    let protocol_versions = provider::versions(&policy.protocol_min, &policy.protocol_max)?;
    let verifier = match &policy.client_authentication {
        Some(config) => ClientVerifier::new(config, context.sources)?.map(Arc::new),
        None => None,
    };
    let secrets_log = match expand(&policy.insecure_secrets_log) {
        path if path.is_empty() => None,
        path => Some(Arc::new(SecretsLog::open(Path::new(path.as_ref()))?)),
    };
    let alpn = alpn(&policy.alpn, versions);
    let build = |provider| {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&protocol_versions)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver.clone()));
        config.ignore_client_order = true;
        config.alpn_protocols.clone_from(&alpn);
        // A resumed session would not be looked at again, and might come from another site's policy.
        context.tickets.apply(&mut config, policy.client_authentication.is_none());
        if let Some(log) = &secrets_log {
            config.key_log = log.clone();
        }
        Ok::<_, TlsError>(Arc::new(config))
    };
    Ok((build(aes_first)?, build(chacha_first)?))
}

/// What to offer: what the policy says or the default, as far as the server speaks it.
fn alpn(said: &[String], versions: HttpVersions) -> Vec<Vec<u8>> {
    let spoken = |protocol: &&str| match *protocol {
        "h2" => versions.http2,
        "http/1.1" => versions.http1,
        _ => true,
    };
    let said: Vec<&str> = match said {
        [] => DEFAULT_ALPN.to_vec(),
        said => said.iter().map(String::as_str).collect(),
    };
    said.into_iter().filter(spoken).map(|protocol| protocol.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests;
