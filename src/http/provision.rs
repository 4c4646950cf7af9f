//! From configuration to runtime: what building handlers and matchers needs.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use http::HeaderName;

use serde_json::Value;

use super::keep_body::{self, KeepBody};
use super::routes::GroupId;
use super::traced::Traced;
use super::{
    Handler, HandlerType, HttpMetrics, Matcher, MatcherSet, MatcherSets, MatcherType, Placeholder, Route,
    Routes, SensitiveNames, ServerHandle,
};
use crate::config::http::{HANDLER_TAG, RouteList};
use crate::config::{ModuleError, ModuleJson};
use crate::log::{self, Level, Logger, Logging};
use crate::metrics;
use crate::tls;

/// Why a configuration could not be made to run.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The JSON of a module does not fit.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A module that does not exist, or not here.
    #[error("getting module named '{namespace}.{name}': module not registered: {namespace}.{name}")]
    Unknown {
        /// `http.handlers` for instance.
        namespace: &'static str,
        /// The module's name.
        name: String,
    },
    /// A module's own complaint.
    #[error("{0}")]
    Invalid(String),
    /// An error below some part of the configuration.
    #[error("{place}: {source}")]
    At {
        /// Which part, `route 3` for instance.
        place: String,
        /// What is wrong there.
        source: Box<ProvisionError>,
    },
}

impl ProvisionError {
    /// A module's own complaint.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The complaint itself, without the parts of the configuration that it is in.
    pub fn root(&self) -> &Self {
        match self {
            Self::At { source, .. } => source.root(),
            error => error,
        }
    }

    /// The same error, seen from one level up.
    pub fn at(self, place: impl Into<String>) -> Self {
        Self::At { place: place.into(), source: Box::new(self) }
    }
}

/// What provisioning a configuration has at hand, and what it gathers.
pub struct Provision<'a> {
    handlers: &'a HashMap<&'static str, &'static HandlerType>,
    matchers: &'a HashMap<&'static str, &'static MatcherType>,
    groups: HashMap<String, GroupId>,
    named: HashMap<String, Arc<NamedRoute>>,
    background: Vec<Background>,
    closing: Vec<Background>,
    sensitive: Arc<SensitiveNames>,
    logging: Arc<Logging>,
    /// Where handlers of the server that is being built say that a request has come, if they do.
    trace: Option<Logger>,
    tls: Option<Arc<tls::App>>,
    /// Whether the server that is being built asks for the address that a connection came to.
    asks_local_address: bool,
    metrics: Arc<metrics::Registry>,
    /// What is counted of requests, if anything is.
    http_metrics: Option<Arc<HttpMetrics>>,
    /// The server whose requests the routes that are being built count.
    counted: Option<String>,
    /// The server that is being built.
    server: ServerHandle,
}

/// A route that others enter by its name (`invoke`). It is filled once the server's named routes are
/// built, so that they may name each other.
#[derive(Default)]
pub struct NamedRoute(OnceLock<Routes>);

impl NamedRoute {
    /// The routes; there are some once the server is provisioned.
    pub fn routes(&self) -> Option<&Routes> {
        self.0.get()
    }
}

/// Work beside the requests, such as a health check. It begins once the whole configuration stands
/// and is dropped when the configuration is replaced.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<'a> Provision<'a> {
    /// Provisioning with these rows.
    pub fn new(
        handlers: &'a HashMap<&'static str, &'static HandlerType>,
        matchers: &'a HashMap<&'static str, &'static MatcherType>,
    ) -> Self {
        Self {
            handlers,
            matchers,
            groups: HashMap::new(),
            named: HashMap::new(),
            background: Vec::new(),
            closing: Vec::new(),
            sensitive: Arc::default(),
            logging: log::current(),
            trace: None,
            tls: None,
            asks_local_address: false,
            metrics: Arc::default(),
            http_metrics: None,
            counted: None,
            server: ServerHandle::default(),
        }
    }

    /// Begins a server; a way to it once it stands.
    pub(super) fn begin_server(&mut self) -> ServerHandle {
        self.asks_local_address = false;
        self.server = ServerHandle::default();
        self.server.clone()
    }

    /// Makes the address that a connection came to known to the requests of the server that is built.
    pub fn ask_local_address(&mut self) {
        self.asks_local_address = true;
    }

    /// Whether something of the server asks for that address.
    pub(super) fn asks_local_address(&self) -> bool {
        self.asks_local_address
    }

    /// A way to the server that is being built, for handlers that ask it again.
    pub fn server(&self) -> ServerHandle {
        self.server.clone()
    }

    /// The same with these certificates and authorities.
    pub fn with_tls(self, tls: Arc<tls::App>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Certificates and authorities, for whatever speaks TLS itself.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`] where no configuration as a whole is provisioned.
    pub fn tls(&self) -> Result<&tls::App, ProvisionError> {
        self.tls.as_deref().ok_or_else(|| ProvisionError::invalid("there is no tls app here"))
    }

    /// Certificates and authorities, if there are some.
    pub(super) fn tls_app(&self) -> Option<Arc<tls::App>> {
        self.tls.clone()
    }

    /// The same with requests counted as it says, if anybody does.
    pub fn with_metrics(self, http: Option<Arc<HttpMetrics>>) -> Self {
        if let Some(http) = &http {
            self.metrics.add(http.clone());
        }
        Self { http_metrics: http, ..self }
    }

    /// All that counts in this configuration.
    pub fn metrics(&self) -> &Arc<metrics::Registry> {
        &self.metrics
    }

    /// From now on, the routes that are built, but not those inside them, count the requests of this
    /// server.
    pub(super) fn count_requests_of(&mut self, server: Option<&str>) {
        self.counted = server.map(str::to_owned);
    }

    /// The same with these logs instead of those that are in force.
    pub fn with_logging(self, logging: Arc<Logging>) -> Self {
        Self { logging, ..self }
    }

    /// The logs that what is provisioned will write to.
    pub fn logging(&self) -> &Arc<Logging> {
        &self.logging
    }

    /// Whether handlers log that a request has come to them, from now on.
    pub(super) fn trace(&mut self, trace: bool) {
        let logger = self.logging.logger("http.log.trace");
        self.trace = Some(logger).filter(|logger| trace && logger.enabled(Level::Debug));
    }

    /// Takes up a server's named routes, which its other routes may enter.
    ///
    /// # Errors
    /// The first thing that can't be built, with its place.
    pub fn take_named_routes(
        &mut self,
        routes: &BTreeMap<String, crate::config::http::Route>,
    ) -> Result<(), ProvisionError> {
        self.named = routes.keys().map(|name| (name.clone(), Arc::default())).collect();
        for (name, route) in routes {
            let built = self.route(route).map_err(|error| error.at(format!("named route {name}")))?;
            if let Some(slot) = self.named.get(name) {
                // Each name is there once, so its slot is still empty.
                let _ = slot.0.set(Routes::new(vec![built]));
            }
        }
        Ok(())
    }

    /// The named route `name` of the server that is being built.
    ///
    /// # Errors
    /// It has none of that name.
    pub fn named_route(&self, name: &str) -> Result<Arc<NamedRoute>, ProvisionError> {
        let route = self.named.get(name).cloned();
        route.ok_or_else(|| {
            ProvisionError::invalid(format!("cannot invoke named route '{name}', which was not defined"))
        })
    }

    /// Adds work beside the requests.
    pub fn run_in_background(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.push(Box::pin(work));
    }

    /// Adds work for the end of the process, when all requests are done and no work beside them goes on
    /// any more. It is given a few seconds.
    pub fn run_at_the_end(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.closing.push(Box::pin(work));
    }

    /// The work for the end that has been added, for whoever starts the configuration.
    pub fn take_closing(&mut self) -> Vec<Background> {
        std::mem::take(&mut self.closing)
    }

    /// The work that has been added, for whoever starts the configuration.
    pub fn take_background(&mut self) -> Vec<Background> {
        std::mem::take(&mut self.background)
    }

    /// Notes that a header field carries a key, so that logs leave its values out.
    pub fn mark_sensitive_header(&mut self, name: HeaderName) {
        self.sensitive.add_header(&name);
    }

    /// Notes that an argument of the query carries a key.
    pub fn mark_sensitive_query(&mut self, key: &str) {
        self.sensitive.add_query_key(key);
    }

    /// Notes that what a placeholder stands for carries a key, if it is something that logs show.
    pub fn mark_sensitive(&mut self, placeholder: &Placeholder) {
        match placeholder {
            Placeholder::Header(name) => self.sensitive.add_header(name),
            Placeholder::QueryKey(key) => self.sensitive.add_query_key(&String::from_utf8_lossy(key)),
            _ => {}
        }
    }

    /// What has been noted so far, and what will be.
    pub fn sensitive_names(&self) -> &Arc<SensitiveNames> {
        &self.sensitive
    }

    /// Builds a list of routes and all that is in them.
    ///
    /// # Errors
    /// The first thing that can't be built, with its place.
    pub fn routes(&mut self, list: &RouteList) -> Result<Routes, ProvisionError> {
        let mut routes = Vec::with_capacity(list.len());
        for (index, route) in list.iter().enumerate() {
            if route.matcher_sets.iter().flat_map(|set| set.values()).any(keep_body::is_asked_for) {
                routes.push(Route::new(MatcherSets::default(), None, vec![Box::new(KeepBody)], false));
            }
            routes.push(self.route(route).map_err(|error| error.at(format!("route {index}")))?);
        }
        Ok(Routes::new(routes))
    }

    fn route(&mut self, route: &crate::config::http::Route) -> Result<Route, ProvisionError> {
        let matchers = self.matcher_sets(&route.matcher_sets)?;
        let mut handlers: Vec<Box<dyn Handler>> = Vec::with_capacity(route.handle.len());
        let counted = self.counted.take();
        if let (Some(metrics), Some(server)) = (&self.http_metrics, &counted) {
            handlers.push(Box::new(metrics.meter(server, route)));
        }
        for (index, handler) in route.handle.iter().enumerate() {
            if handler.0.iter().any(|(name, value)| name != "routes" && keep_body::is_asked_for(value)) {
                handlers.push(Box::new(KeepBody));
            }
            handlers.push(self.handler(handler).map_err(|error| error.at(format!("handler {index}")))?);
        }
        self.counted = counted;
        let group = (!route.group.is_empty()).then(|| self.group(&route.group));
        Ok(Route::new(matchers, group, handlers, route.terminal))
    }

    /// Builds one handler.
    ///
    /// # Errors
    /// It does not exist, or refuses its configuration.
    pub fn handler(&mut self, json: &ModuleJson) -> Result<Box<dyn Handler>, ProvisionError> {
        let name = json.name(HANDLER_TAG)?;
        let row = *self
            .handlers
            .get(name)
            .ok_or_else(|| ProvisionError::Unknown { namespace: "http.handlers", name: name.to_owned() })?;
        let handler = (row.provision)(json, self)?;
        Ok(match &self.trace {
            Some(logger) => Box::new(Traced::new(handler, json, logger.clone())),
            None => handler,
        })
    }

    /// Builds sets of matchers, one of which must match.
    ///
    /// # Errors
    /// A matcher does not exist, or refuses its configuration.
    pub fn matcher_sets(
        &mut self,
        sets: &[crate::config::http::MatcherSet],
    ) -> Result<MatcherSets, ProvisionError> {
        let mut built = Vec::with_capacity(sets.len());
        for set in sets {
            built.push(self.matcher_set(set)?);
        }
        Ok(MatcherSets::new(built))
    }

    /// Builds one set of matchers, all of which must match.
    ///
    /// # Errors
    /// A matcher does not exist, or refuses its configuration.
    pub fn matcher_set(
        &mut self,
        set: &crate::config::http::MatcherSet,
    ) -> Result<MatcherSet, ProvisionError> {
        let mut matchers = Vec::with_capacity(set.len());
        for (name, json) in set {
            matchers.push(self.matcher(name, json)?);
        }
        Ok(MatcherSet::new(matchers))
    }

    fn matcher(&mut self, name: &str, json: &Value) -> Result<Box<dyn Matcher>, ProvisionError> {
        let row = *self
            .matchers
            .get(name)
            .ok_or_else(|| ProvisionError::Unknown { namespace: "http.matchers", name: name.to_owned() })?;
        let built = if json.is_null() {
            Err(ProvisionError::invalid("module value cannot be null"))
        } else {
            (row.provision)(json, self)
        };
        built.map_err(|error| error.at(format!("matcher {name}")))
    }

    fn group(&mut self, name: &str) -> GroupId {
        let next = GroupId::nth(self.groups.len());
        *self.groups.entry(name.to_owned()).or_insert(next)
    }
}
