//! The challenge `dns-01` (RFC 8555 section 8.4): whoever can put a text under `_acme-challenge` of a
//! name has shown that the name is theirs. It needs no port that is open to the world, and is the only
//! one that gives certificates for wildcards. ZeroSSL's own way is much the same, by another name
//! (`CNAME`) in place of a text.
//!
//! ```text
//! present   finds the zone of the name, and has the provider add the record
//! wait      looks for the record at the zone's servers, until all of them have it
//! clean_up  has the provider remove the record
//! ```

mod propagation;
mod provider;
#[cfg(test)]
mod tests;
mod turns;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use provider::{
    Changed, DnsProvider, DnsProviderType, DnsProviders, NAMESPACE, ProviderError, Record, decode, provision,
};

use crate::config::{ModuleJson, tls::DnsChallenge};
use crate::dns::{RecordData, Resolver};
use crate::fetch::Client;
use crate::tls::{TlsError, expand};

/// Finding a zone must be done within this time.
const ZONE_TIMEOUT: Duration = Duration::from_secs(60);
/// A provider must have made a change within this time, the turn included that it waits for.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// A record must show within this time, unless said otherwise.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is looked for. It is not looked for at once, since a resolver that does not know it yet
/// would remember for a while that it is not there.
const PROPAGATION_POLL: Duration = Duration::from_secs(2);
/// The label that the record stands under.
const LABEL: &str = "_acme-challenge";

/// How the challenge is met for the names of one issuer.
#[derive(Debug)]
pub struct Dns01 {
    provider: Arc<dyn DnsProvider>,
    /// Zero leaves it to the provider.
    ttl: Duration,
    propagation_delay: Option<Duration>,
    /// None if the record is not looked for.
    propagation_timeout: Option<Duration>,
    propagation_poll: Duration,
    /// Who is asked; none asks those that the system uses at the time.
    resolver: Option<Resolver>,
    /// Whether the configuration names the resolvers. Then what they say counts, and not what the
    /// zone's own servers say.
    asks_resolvers_alone: bool,
    /// The port of the zones' own servers.
    server_port: u16,
    /// The name that all records are put under, instead of each name's own.
    override_domain: Option<String>,
}

/// A record that is there until [`Dns01::clean_up`].
#[derive(Debug)]
#[must_use = "the record stays until it is cleaned up"]
pub struct Presented {
    zone: String,
    record: Record,
}

/// Why the challenge can't be met.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// Nobody says which zone a name belongs to.
    #[error("finding the zone of {name}: {source}")]
    Zone {
        /// The record's name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The provider has not done it.
    #[error("{doing} the record {name} in the zone {zone}: {source}")]
    Change {
        /// Whether it was to be added or removed.
        doing: &'static str,
        /// The record's name.
        name: String,
        /// Its zone.
        zone: String,
        /// Why.
        source: ProviderError,
    },
    /// The record could not be seen.
    #[error("the record {name} did not show within {within:?}: {last}")]
    NotSeen {
        /// The record's name.
        name: String,
        /// How long it was looked for.
        within: Duration,
        /// What was seen instead, at last.
        last: String,
    },
}

impl Dns01 {
    /// What a configuration says of the challenge. `default_provider` and `default_resolvers` count
    /// where it names none.
    ///
    /// # Errors
    /// [`TlsError`] for a provider that there is not, or that can't be used, and for what makes no sense.
    pub fn provision(
        json: &DnsChallenge,
        default_provider: Option<&ModuleJson>,
        default_resolvers: &[String],
        types: &DnsProviders,
        client: &Client,
    ) -> Result<Self, TlsError> {
        let invalid = |problem: String| TlsError::Invalid(problem);
        let provider = json.provider.as_ref().or(default_provider);
        let provider = provider
            .ok_or_else(|| invalid("DNS challenge enabled, but no DNS provider configured".into()))?;
        let named = if json.resolvers.is_empty() { default_resolvers } else { &json.resolvers };
        let resolver = match named {
            [] => None,
            named => Some(Resolver::new(named, None).map_err(invalid)?),
        };
        let override_domain = match &*json.override_domain {
            "" => None,
            said => Some(whole_name(&expand(said)).ok_or_else(|| {
                invalid(format!("expanding DNS override domain '{said}': it is no domain name"))
            })?),
        };
        let unlimited = json.propagation_timeout.as_nanos() == -1;
        let timeout = json.propagation_timeout.positive().unwrap_or(PROPAGATION_TIMEOUT);
        Ok(Self {
            provider: provision(provider, types, client)?,
            ttl: json.ttl.positive().unwrap_or_default(),
            propagation_delay: json.propagation_delay.positive(),
            propagation_timeout: (!unlimited).then_some(timeout),
            propagation_poll: PROPAGATION_POLL,
            asks_resolvers_alone: resolver.is_some(),
            resolver,
            server_port: 53,
            override_domain,
        })
    }

    /// One by this provider whose zone is `a.test`, which does not look for its records.
    #[cfg(test)]
    pub(super) fn of_provider(provider: Arc<dyn DnsProvider>) -> Self {
        let server = self::tests::zone_of_a_test();
        Self {
            provider,
            ttl: Duration::ZERO,
            propagation_delay: None,
            propagation_timeout: None,
            propagation_poll: PROPAGATION_POLL,
            resolver: Some(Resolver::at(&[server.ip()], server.port())),
            asks_resolvers_alone: false,
            server_port: server.port(),
            override_domain: None,
        }
    }

    /// Has the record added that shows that `domain`, which may be a wildcard, is ours. `value` is the
    /// digest of the challenge's key authorization in base64url.
    ///
    /// # Errors
    /// [`DnsError`]. If the provider took too long, the record may be there nevertheless.
    pub async fn present(&self, domain: &str, value: &str) -> Result<Presented, DnsError> {
        let name = match &self.override_domain {
            Some(name) => name.clone(),
            None => format!("{LABEL}.{}", domain.trim_start_matches("*.").trim_end_matches('.')),
        };
        self.add(name, RecordData::Text(value.to_owned())).await
    }

    /// Has the record added that makes `name`, which is no host's, another name for `target`.
    ///
    /// # Errors
    /// [`DnsError`]. If the provider took too long, the record may be there nevertheless.
    pub async fn present_alias(&self, name: &str, target: &str) -> Result<Presented, DnsError> {
        self.add(name.trim_end_matches('.').to_owned(), RecordData::Alias(target.to_owned())).await
    }

    async fn add(&self, name: String, data: RecordData) -> Result<Presented, DnsError> {
        let resolver = self.resolver().await;
        let finding = tokio::time::timeout(ZONE_TIMEOUT, resolver.zone(&name)).await;
        let zone = finding
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
            .map_err(|source| DnsError::Zone { name: name.clone(), source })?;
        let presented = Presented { zone, record: Record { name, data, ttl: self.ttl } };
        let Presented { zone, record } = &presented;
        tracing::debug!(target: "tls.dns", name = record.name, zone, "adding a record");
        match in_turn(record, CHANGE_TIMEOUT, self.provider.append(zone, record)).await {
            Ok(()) => Ok(presented),
            Err(source) => Err(presented.failed("adding", source)),
        }
    }

    /// Waits until the record shows, so that the authority will see it too.
    ///
    /// # Errors
    /// [`DnsError::NotSeen`].
    pub async fn wait(&self, presented: &Presented) -> Result<(), DnsError> {
        if let Some(delay) = self.propagation_delay {
            tokio::time::sleep(delay).await;
        }
        let Some(within) = self.propagation_timeout else { return Ok(()) };
        let resolver = self.resolver().await;
        let mut last = "nobody has said anything".to_owned();
        let looking = async {
            loop {
                tokio::time::sleep(self.propagation_poll).await;
                match self.look(&resolver, presented).await {
                    Ok(()) => return,
                    Err(problem) => {
                        tracing::debug!(target: "tls.dns", name = presented.record.name, problem, "not seen yet");
                        last = problem;
                    }
                }
            }
        };
        let looked = tokio::time::timeout(within, looking).await;
        looked.map_err(|_| DnsError::NotSeen { name: presented.record.name.clone(), within, last })
    }

    /// Has the record removed. To be called also if the challenge has failed.
    ///
    /// # Errors
    /// [`DnsError::Change`]; the record may be there still.
    pub async fn clean_up(&self, presented: Presented) -> Result<(), DnsError> {
        let Presented { zone, record } = &presented;
        tracing::debug!(target: "tls.dns", name = record.name, zone, "removing a record");
        let limit = self.propagation_timeout.unwrap_or(PROPAGATION_TIMEOUT).max(CHANGE_TIMEOUT);
        let removed = in_turn(record, limit, self.provider.delete(zone, record)).await;
        removed.map_err(|source| presented.failed("removing", source))
    }

    /// Who is asked now.
    async fn resolver(&self) -> Resolver {
        match &self.resolver {
            Some(resolver) => resolver.clone(),
            // It reads a file. Without a thread for that, nobody is asked, which is an error then.
            None => {
                let system = tokio::task::spawn_blocking(Resolver::system).await;
                system.unwrap_or_else(|_| Resolver::at(&[], self.server_port))
            }
        }
    }
}

impl Presented {
    fn failed(self, doing: &'static str, source: ProviderError) -> DnsError {
        DnsError::Change { doing, name: self.record.name, zone: self.zone, source }
    }
}

/// Makes a change when no other of the same name is being made.
async fn in_turn(record: &Record, limit: Duration, change: Changed<'_>) -> Result<(), ProviderError> {
    let changing = async {
        let _turn = turns::of(&record.name).await;
        change.await
    };
    tokio::time::timeout(limit, changing).await.unwrap_or(Err(ProviderError::Timeout(limit)))
}

/// A domain name without a dot at its end; `None` if it is none.
fn whole_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    crate::dns::is_name(name).then(|| name.to_owned())
}
