//! `apps.tls`: how the certificates of the sites are got.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::automation_policies::{self, Policy};
use super::issuers::{Issuer, SharedIssuer, default_acme_issuers, fill_in_defaults, has_acme_defaults};
use super::listeners::Pairing;
use super::server_tls::uses_other_port_than;
use super::site::SiteAt;
use super::{AutoHttpsOption, Error, Options, StorageClean};
use crate::config::subject::{
    is_internal, is_ip, is_tailscale, qualifies_for_certificate, qualifies_for_public_certificate,
};
use crate::config::tls::{self, Automation, AutomationPolicy, Challenges};

/// Builds `apps.tls`, if there is anything to say.
pub(super) fn build(pairings: &[Pairing], options: &Options) -> Result<Option<tls::App>, Error> {
    let mut builder = Builder {
        options,
        issuers: options.cert_issuers.iter().map(|json| Issuer::from_json(json).shared()).collect(),
        policies: Vec::new(),
        list: Vec::new(),
        catch_all: None,
        forced: BTreeSet::new(),
        loaders: BTreeMap::new(),
    };
    if let Some(policy) = builder.base_policy()? {
        builder.catch_all = Some(builder.add_policy(policy));
        builder.list.push(0);
    }
    for pairing in pairings {
        let listen: Vec<String> = pairing.listeners.keys().cloned().collect();
        if !uses_other_port_than(&listen, options.http_port()) {
            continue;
        }
        for site in pairing.sites.iter().filter(|site| !site.is_all_http()) {
            builder.add_site(site)?;
        }
    }
    let app = builder.finish(pairings)?;
    Ok((app != tls::App::default()).then_some(app))
}

struct Builder<'a> {
    options: &'a Options,
    /// The issuers that the global options name.
    issuers: Vec<SharedIssuer>,
    policies: Vec<Policy>,
    /// Indices of policies in their order; one that several sites share stands there for each of them.
    list: Vec<usize>,
    /// The policy that is for all names, once there is one.
    catch_all: Option<usize>,
    /// Names that get a certificate of their own whatever else covers them.
    forced: BTreeSet<String>,
    loaders: BTreeMap<&'static str, Vec<serde_json::Value>>,
}

impl Builder<'_> {
    fn add_site(&mut self, site: &SiteAt) -> Result<(), Error> {
        let tls = &site.pile.tls;
        let hosts = site.hosts();
        // A site for all hosts shares the policy for all names.
        let shared = self.catch_all.filter(|_| hosts.is_empty());
        let at = match shared {
            Some(at) => at,
            None => {
                let policy = self.base_policy()?.unwrap_or_default();
                self.add_policy(policy)
            }
        };
        let is_catch_all = shared.is_some();
        let policy = &mut self.policies[at];
        policy.rest.on_demand |= tls.on_demand;
        policy.rest.reuse_private_keys |= tls.reuse_private_keys;
        if tls.force_automate {
            self.forced.extend(hosts.iter().cloned());
        }
        if let Some(key_type) = &tls.key_type {
            policy.rest.key_type.clone_from(key_type);
        }
        if let Some(ratio) = tls.renewal_window_ratio.or(self.options.renewal_window_ratio) {
            policy.rest.renewal_window_ratio = ratio;
        }
        set_issuers(policy, site, is_catch_all)?;
        policy.rest.get_certificate.extend(tls.managers.iter().cloned());
        bind_challenges(policy, site);
        if hosts.is_empty() && self.catch_all.is_none() {
            self.catch_all = Some(at);
        }
        let policy = &mut self.policies[at];
        policy.rest.subjects = site.hosts_not_http(self.options.http_port());
        let internal = split_internal(policy)?;
        self.list.push(at);
        if let Some(policy) = internal {
            let at = self.add_policy(policy);
            self.list.push(at);
        }
        for (name, list) in &tls.loaders {
            self.loaders.entry(name).or_default().extend(list.iter().cloned());
        }
        Ok(())
    }

    fn add_policy(&mut self, policy: Policy) -> usize {
        self.policies.push(policy);
        self.policies.len() - 1
    }

    fn finish(mut self, pairings: &[Pairing]) -> Result<tls::App, Error> {
        let options = self.options;
        let mut app = tls::App {
            certificates: self.loaders.iter().map(|(name, list)| ((*name).to_owned(), json!(list))).collect(),
            dns: options.dns.clone(),
            resolvers: options.tls_resolvers.clone(),
            encrypted_client_hello: options.ech.clone(),
            disable_storage_check: options.storage_check_off,
            disable_storage_clean: options.storage_clean == Some(StorageClean::Off),
            disable_ocsp_stapling: options.ocsp_stapling_off,
            ..tls::App::default()
        };
        if let Some(ech) = &options.ech {
            // The outer names need certificates, too.
            let mut policy = self.base_policy()?.unwrap_or_default();
            let names = ech.configs.iter().map(|config| config.public_name.clone());
            policy.rest.subjects = names.filter(|name| !name.is_empty()).collect();
            let at = self.add_policy(policy);
            self.list.push(at);
        }
        self.automate(pairings, &mut app);
        let policies = self.list.iter().map(|at| self.policies[*at].clone()).collect();
        let policies = complete(policies, options)?;
        let automation = Automation {
            policies,
            on_demand: options.on_demand_tls.clone(),
            ocsp_interval: options.ocsp_interval,
            renew_interval: options.renew_interval,
            storage_clean_interval: match options.storage_clean {
                Some(StorageClean::Every(interval)) => interval,
                _ => crate::config::Duration::ZERO,
            },
        };
        app.automation = (automation != Automation::default()).then_some(automation);
        Ok(app)
    }

    /// A policy of what the global options say, if they say anything.
    fn base_policy(&self) -> Result<Option<Policy>, Error> {
        let options = self.options;
        let says_something = !options.cert_issuers.is_empty()
            || options.local_certs
            || options.key_type.is_some()
            || options.ocsp_stapling_off
            || options.renewal_window_ratio.is_some();
        if !says_something && !has_acme_defaults(options) {
            return Ok(None);
        }
        if options.local_certs && !options.cert_issuers.is_empty() {
            return Err(Error::new(
                "global options are ambiguous: local_certs is confusing when combined with cert_issuer, because \
                 local_certs is also a specific kind of issuer",
            ));
        }
        let issuers =
            if options.local_certs { vec![Issuer::internal().shared()] } else { self.issuers.clone() };
        if has_acme_defaults(options) {
            for (index, issuer) in issuers.iter().enumerate() {
                if let Issuer::Acme(issuer) = &mut *issuer.borrow_mut() {
                    fill_in_defaults(issuer, options).map_err(|error| {
                        error.context(format!("filling in global issuer defaults for issuer {index}"))
                    })?;
                }
            }
        }
        let rest = AutomationPolicy {
            key_type: options.key_type.clone().unwrap_or_default(),
            disable_ocsp_stapling: options.ocsp_stapling_off,
            renewal_window_ratio: options.renewal_window_ratio.unwrap_or_default(),
            ..AutomationPolicy::default()
        };
        Ok(Some(Policy { issuers, rest }))
    }

    /// Lists the names that routes don't show but that need certificates: those that share a site with an address
    /// for all hosts, and those that were asked for.
    fn automate(&mut self, pairings: &[Pairing], app: &mut tls::App) {
        let options = self.options;
        let mut names = BTreeSet::new();
        if !options.auto_https(AutoHttpsOption::Off) && !options.auto_https(AutoHttpsOption::DisableCerts) {
            let sites = pairings.iter().flat_map(|pairing| &pairing.sites);
            for site in sites.filter(|site| site.is_catch_all()) {
                names.extend(site.hosts_not_http(options.http_port()));
            }
        }
        let internal: Vec<String> =
            names.iter().filter(|name| !qualifies_for_public_certificate(name)).cloned().collect();
        if !internal.is_empty() {
            let mut policy = Policy::default();
            policy.rest.issuers = vec![Issuer::internal().to_json()];
            policy.rest.subjects = internal;
            let at = self.add_policy(policy);
            self.list.push(at);
        }
        names.append(&mut self.forced);
        if !names.is_empty() {
            app.certificates.insert("automate".into(), json!(names));
        }
    }
}

fn set_issuers(policy: &mut Policy, site: &SiteAt, is_catch_all: bool) -> Result<(), Error> {
    if site.pile.tls.issuers.is_empty() {
        return Ok(());
    }
    let issuers: Vec<_> = site.pile.tls.issuers.iter().map(|json| Issuer::from_json(json).shared()).collect();
    if is_catch_all && policy.issuers != issuers {
        return Err(Error::new(
            "automation policy from site block is also default/catch-all policy because of key without hostname, and \
             the two are in conflict",
        ));
    }
    policy.issuers = issuers;
    Ok(())
}

/// Challenges are answered on the interface that the site is bound to.
fn bind_challenges(policy: &Policy, site: &SiteAt) {
    let hosts = site.pile.binds.iter().filter_map(|bind| bind.addresses.first());
    for host in hosts {
        for issuer in &policy.issuers {
            if let Issuer::Acme(issuer) = &mut *issuer.borrow_mut() {
                let challenges = issuer.challenges.get_or_insert_with(Challenges::default);
                if challenges.bind_host.is_empty() {
                    challenges.bind_host.clone_from(host);
                }
            }
        }
    }
}

/// Whether a public authority is asked for a certificate of this name unless something else is said.
pub(super) fn is_public(policy: &AutomationPolicy, name: &str) -> bool {
    !is_ip(name) && !is_internal(name) && (name.matches("*.").count() < 2 || policy.on_demand)
}

/// Where nobody said who issues, public and internal names need policies of their own: leaves the public ones and
/// gives a policy for the others, if there are both.
fn split_internal(policy: &mut Policy) -> Result<Option<Policy>, Error> {
    if !policy.issuers.is_empty() {
        return Ok(None);
    }
    let (mut public, mut internal) = (Vec::new(), Vec::new());
    for name in &policy.rest.subjects {
        if is_tailscale(name) {
            continue;
        }
        if !qualifies_for_certificate(name) {
            return Err(Error::new(format!("subject does not qualify for certificate: '{name}'")));
        }
        let names = if is_public(&policy.rest, name) { &mut public } else { &mut internal };
        names.push(name.clone());
    }
    if public.is_empty() || internal.is_empty() {
        return Ok(None);
    }
    policy.rest.subjects = public;
    let mut other = policy.clone();
    other.rest.subjects = internal;
    other.rest.issuers = vec![Issuer::internal().to_json()];
    Ok(Some(other))
}

/// Fills in the issuers, and joins policies that say the same.
fn complete(mut policies: Vec<Policy>, options: &Options) -> Result<Vec<AutomationPolicy>, Error> {
    if options.email.is_some() || has_acme_defaults(options) {
        for policy in &mut policies {
            let all_public =
                policy.rest.subjects.iter().all(|name| is_public(&policy.rest, name) && !is_tailscale(name));
            if policy.issuers.is_empty() && all_public {
                // With a certain authority there can't be a second one.
                let email = options.email.as_deref().filter(|_| options.acme_ca.is_none()).unwrap_or("");
                let issuers = default_acme_issuers(email).into_iter();
                policy.issuers = issuers.map(|issuer| Issuer::Acme(Box::new(issuer)).shared()).collect();
            }
        }
    }
    for (at, policy) in policies.iter_mut().enumerate() {
        for (index, issuer) in policy.issuers.iter().enumerate() {
            if let Issuer::Acme(issuer) = &mut *issuer.borrow_mut() {
                fill_in_defaults(issuer, options).map_err(|error| {
                    error.context(format!("filling in global issuer defaults for AP {at}, issuer {index}"))
                })?;
            }
        }
    }
    for policy in &mut policies {
        if policy.rest.issuers.is_empty() {
            policy.rest.issuers = policy.issuers.iter().map(|issuer| issuer.borrow().to_json()).collect();
        }
    }
    let policies = automation_policies::consolidate(policies);
    let mut seen = BTreeSet::new();
    for name in policies.iter().flat_map(|policy| &policy.rest.subjects) {
        if !seen.insert(name) {
            return Err(Error::new(format!(
                "hostname appears in more than one automation policy, making certificate management ambiguous: {name}"
            )));
        }
    }
    Ok(policies.into_iter().map(|policy| policy.rest).collect())
}
