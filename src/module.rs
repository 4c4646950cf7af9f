//! What one file of [`crate::modules`] offers, and the table of all of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::acme::dns01::DnsProviderType;
use crate::adapt::{Directive, GlobalOption, MatcherSyntax, SubmoduleSyntax, Vocabulary};
use crate::config::schema::ModuleSchema;
use crate::http;
use crate::http::{EncodingType, HandlerType, MatcherType};
use crate::log::{self, EncoderType, FilterType, WriterType};
use crate::tls::issuance::IssuerType;
use crate::tls::on_demand::{ManagerType, PermissionType};
use crate::tls::{self, StorageType};

/// One thing that a user can write, under all of its names: what its file registers.
pub struct Module {
    /// The handler that it provides in JSON, if it is one.
    pub handler: Option<HandlerType>,
    /// The matcher that it provides in JSON, if it is one.
    pub matcher: Option<MatcherType>,
    /// The way to compress answers that it provides in JSON, if it is one.
    pub encoding: Option<EncodingType>,
    /// The storage that it provides in JSON, if it is one.
    pub storage: Option<StorageType>,
    /// The issuer of certificates that it provides in JSON, if it is one.
    pub issuer: Option<IssuerType>,
    /// The manager of certificates that it provides in JSON, if it is one.
    pub manager: Option<ManagerType>,
    /// The permission for certificates that it provides in JSON, if it is one.
    pub permission: Option<PermissionType>,
    /// The DNS provider that it provides in JSON, if it is one.
    pub dns_provider: Option<DnsProviderType>,
    /// The outputs of logs that it provides in JSON.
    pub log_writers: &'static [WriterType],
    /// The formats of logs that it provides in JSON.
    pub log_encoders: &'static [EncoderType],
    /// The filters of log fields that it provides in JSON.
    pub log_filters: &'static [FilterType],
    /// The directives that it is written with.
    pub directives: &'static [Directive],
    /// How it is written as a matcher.
    pub matcher_syntax: &'static [MatcherSyntax],
    /// The global options that it is written with.
    pub options: &'static [GlobalOption],
    /// How it is written inside another module.
    pub submodules: &'static [SubmoduleSyntax],
    /// What can be said of each of these in JSON, by the types that read it.
    pub schemas: &'static [ModuleSchema],
}

impl Module {
    /// A module that offers nothing yet; the base of struct update syntax.
    pub const EMPTY: Self = Self {
        handler: None,
        matcher: None,
        encoding: None,
        storage: None,
        issuer: None,
        manager: None,
        permission: None,
        dns_provider: None,
        log_writers: &[],
        log_encoders: &[],
        log_filters: &[],
        directives: &[],
        matcher_syntax: &[],
        options: &[],
        submodules: &[],
        schemas: &[],
    };
}

/// All modules by their names, looked up while adapting and provisioning and never later.
pub struct Registry {
    /// Handlers by their name in JSON.
    pub handlers: HashMap<&'static str, &'static HandlerType>,
    /// Matchers by their name in JSON.
    pub matchers: HashMap<&'static str, &'static MatcherType>,
    /// What belongs to logs.
    pub logs: log::Modules,
    /// What belongs to certificates.
    pub tls: Arc<tls::Modules>,
    /// Everything that can be written in a Caddyfile.
    pub vocabulary: Vocabulary,
    /// Every row of the tables, in their order.
    pub modules: Vec<&'static Module>,
    /// Namespaces and names of what is written inside other modules.
    submodules: BTreeSet<(&'static str, &'static str)>,
}

impl Registry {
    /// The registry of these tables. Directives keep the order of the tables.
    pub fn new(tables: &[&[&'static Module]]) -> Self {
        let modules = || tables.iter().flat_map(|table| table.iter().copied());
        let mut vocabulary = Vocabulary::default();
        for module in modules() {
            module.handler.iter().for_each(|row| vocabulary.add_runnable_handler(row.id));
            module.matcher.iter().for_each(|row| vocabulary.add_runnable_matcher(row.id));
            vocabulary.add_directives(module.directives);
            vocabulary.add_matchers(module.matcher_syntax);
            vocabulary.add_options(module.options);
            vocabulary.add_submodules(module.submodules);
        }
        Self {
            vocabulary,
            modules: modules().collect(),
            submodules: modules().flat_map(|m| m.submodules).map(|row| (row.namespace, row.name)).collect(),
            handlers: modules().filter_map(|m| m.handler.as_ref()).map(|row| (row.id, row)).collect(),
            matchers: modules().filter_map(|m| m.matcher.as_ref()).map(|row| (row.id, row)).collect(),
            tls: Arc::new(tls::Modules {
                storages: modules().filter_map(|m| m.storage.as_ref()).map(|row| (row.id, row)).collect(),
                issuers: modules().filter_map(|m| m.issuer.as_ref()).map(|row| (row.id, row)).collect(),
                managers: modules().filter_map(|m| m.manager.as_ref()).map(|row| (row.id, row)).collect(),
                permissions: modules()
                    .filter_map(|m| m.permission.as_ref())
                    .map(|row| (row.id, row))
                    .collect(),
            }),
            logs: log::Modules {
                writers: modules().flat_map(|m| m.log_writers).map(|row| (row.id, row)).collect(),
                encoders: modules().flat_map(|m| m.log_encoders).map(|row| (row.id, row)).collect(),
                filters: modules().flat_map(|m| m.log_filters).map(|row| (row.id, row)).collect(),
            },
        }
    }

    /// What can be said of each module in JSON, wherever its type is.
    pub fn schemas(&self) -> Vec<ModuleSchema> {
        let own = self.modules.iter().flat_map(|module| module.schemas);
        own.chain(http::schemas()).chain(tls::schemas()).copied().collect()
    }

    /// The full names of all modules in Caddy's form, sorted.
    pub fn ids(&self) -> Vec<String> {
        let handlers = self.handlers.keys().map(|id| format!("http.handlers.{id}"));
        let matchers = self.matchers.keys().map(|id| format!("http.matchers.{id}"));
        let submodules = self.submodules.iter().map(|(namespace, name)| format!("{namespace}.{name}"));
        let ids: BTreeSet<String> =
            handlers.chain(matchers).chain(self.logs.ids()).chain(submodules).collect();
        ids.into_iter().collect()
    }
}
