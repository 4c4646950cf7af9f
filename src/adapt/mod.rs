//! Caddyfile blocks to configuration: what the directives and options of a Caddyfile mean in Caddy's JSON.
//!
//! This layer knows no runtime, and by itself no directive: what can be written reaches it as the rows of a
//! [`Vocabulary`], which [`crate::modules`] fills. The JSON that comes out is Caddy's, so that a Caddyfile and a
//! JSON file meet before anything is provisioned.

use tollgate_grammar::{Env, Files, Mistakes, Parsed, SourceMap};

use crate::config::{self, Apps, Config, ConfigSettings};

mod authorities;
mod automation;
mod automation_policies;
mod connection_policies;
mod directive;
mod expectation;
mod go_sort;
mod header_ops;
mod helper;
mod issuers;
mod listeners;
mod literal;
mod logs;
mod matchers;
mod oddities;
mod options;
mod outline;
mod provenance;
mod read_on;
mod reader;
mod routes;
mod server_logs;
mod server_options;
mod server_tls;
mod servers;
mod shorthands;
mod site;
mod site_address;
mod trace;
mod value;
mod vocabulary;

pub use directive::{Directive, GlobalOption, MatcherSyntax, Parse, SubmoduleSyntax};
pub use header_ops::{NoDefaultHere, header_op};
pub use helper::{Helper, MatcherToken};
pub use issuers::default_acme_issuers;
pub use literal::{STAR, matcher_text};
pub use options::{AutoHttpsOption, Options, ServerOptions, StorageClean};
pub use outline::{Block, Line, Outline, ServerOutline, SiteOutline, Step, Written};
pub use reader::{MatcherReader, OptionReader, SubmoduleReader};
pub use shorthands::shorthand_of;
pub use site_address::SiteAddress;
pub use tollgate_grammar::{Cursor, Error, Scalar, Segment, Token, Warning};
pub use trace::{Trace, Traced, TracedOut, trace};
pub use value::{Bind, ConfigValue, NamedLog};
pub use vocabulary::Vocabulary;

/// A Caddyfile as configuration.
#[derive(Debug)]
pub struct Adapted {
    /// The configuration.
    pub config: Config,
    /// What is allowed but odd.
    pub warnings: Vec<Warning>,
    /// Directives that can be written, but that nothing can run so far: they are refused by whoever wants to run the
    /// configuration, and let pass by whoever only wants to see it.
    pub not_runnable: Vec<Error>,
    /// Every file that took part.
    pub source_map: SourceMap,
}

/// Adapts a Caddyfile.
///
/// `name` is its path as errors show it, and where relative imports start; `text` is what it holds.
///
/// # Errors
/// All that is wrong with it, with the places; the first thing is the one that Caddy names.
pub fn adapt(
    name: &str,
    text: &str,
    vocabulary: &Vocabulary,
    env: &dyn Env,
    files: &dyn Files,
) -> Result<Adapted, Error> {
    adapt_noting(name, text, vocabulary, env, files, &helper::Notes::default())
}

/// Adapts a Caddyfile like [`adapt`], and says which line of it became what.
///
/// # Errors
/// The first thing that is wrong with it, with its place.
pub fn explain(
    name: &str,
    text: &str,
    vocabulary: &Vocabulary,
    env: &dyn Env,
    files: &dyn Files,
) -> Result<(Adapted, Outline), Error> {
    let notes = helper::Notes { outliner: outline::Outliner::asked(), ..helper::Notes::default() };
    let adapted = adapt_noting(name, text, vocabulary, env, files, &notes)?;
    Ok((adapted, notes.outliner.into_outline()))
}

fn adapt_noting(
    name: &str,
    text: &str,
    vocabulary: &Vocabulary,
    env: &dyn Env,
    files: &dyn Files,
    notes: &helper::Notes,
) -> Result<Adapted, Error> {
    let mut mistakes = Mistakes::default();
    let Parsed { source_map, server_blocks: mut blocks, warnings } =
        tollgate_grammar::parse_on(name, text, env, files, &mut mistakes);
    notes.warnings.borrow_mut().extend(warnings);
    site::check_keys(&mut blocks, vocabulary, &mut mistakes);
    let before_options = mistakes.count();
    let options = site::take_options(&mut blocks, vocabulary, notes, &mut mistakes);
    let options_hold = mistakes.count() == before_options;
    let named_routes =
        site::take_named_routes(&mut blocks, vocabulary, &options, (env, files), notes, &mut mistakes);
    let session = helper::Session::new(vocabulary, &options, (env, files), notes);
    let sites = site::read_sites(blocks, &session, &mut mistakes);
    let mut pairings =
        if options_hold { listeners::pair(&sites, &options, &mut mistakes) } else { Vec::new() };
    if !mistakes.is_empty() {
        servers::check(&pairings, &mut mistakes);
    }
    mistakes.none()?;
    let mut servers = servers::build(&mut pairings, &named_routes, &session)?;
    let metrics = hoist_metrics(&mut servers, &options);
    let http = config::http::App {
        http_port: options.http_port.unwrap_or_default(),
        https_port: options.https_port.unwrap_or_default(),
        grace_period: options.grace_period,
        shutdown_delay: options.shutdown_delay,
        metrics,
        servers,
    };
    let apps = Apps {
        http: (!http.servers.is_empty()).then_some(http),
        tls: automation::build(&pairings, &options)?,
        pki: authorities::build(&pairings, &options),
        other: options.apps.clone(),
    };
    let logging = logs::build(&pairings, &options);
    let mut admin = options.admin.clone();
    if options.persist_config_off {
        let settings = &mut admin.get_or_insert_default().config;
        settings.get_or_insert_with(ConfigSettings::default).persist = Some(false);
    }
    let config = Config { admin, logging, storage: options.storage.clone(), apps };
    let (warnings, not_runnable) = (notes.warnings.take(), notes.not_runnable.take());
    Ok(Adapted { config, warnings, not_runnable, source_map })
}

/// Metrics belong to the app; those of servers are an old form.
fn hoist_metrics(
    servers: &mut std::collections::BTreeMap<String, config::http::Server>,
    options: &Options,
) -> Option<config::http::Metrics> {
    let mut metrics = options.metrics.clone();
    for server in servers.values_mut() {
        if let Some(of_server) = server.metrics.take() {
            // As in Caddy, this form knows `per_host` alone.
            let per_host = of_server.per_host || metrics.as_ref().is_some_and(|metrics| metrics.per_host);
            metrics = Some(config::http::Metrics { per_host, ..config::http::Metrics::default() });
        }
    }
    metrics
}
