//! Site blocks: from their directives to what those say.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tollgate_grammar::{Env, Files, Mistakes, ServerBlock};

use super::expectation::expect;
use super::helper::{NamedMatchers, Notes, Session, files_of};
use super::outline::{Line, Written};
use super::read_on::{READINGS_MAX, read_on};
use super::routes::build_subroute;
use super::site_address::SiteAddress;
use super::trace::TracedOut;
use super::value::Said;
use super::{
    Bind, ConfigValue, Cursor, Error, Helper, NamedLog, OptionReader, Options, Token, Vocabulary, matchers,
    provenance, shorthands,
};
use crate::config::http::{Route, Subroute};
use crate::config::{ModuleJson, pki, tls};

/// What the directives of a site say, by where it goes.
#[derive(Default)]
pub(super) struct Pile {
    /// Sorted anew for each server that the site is part of, as Caddy does: sorting twice may not be the same.
    pub(super) routes: RefCell<Vec<Said>>,
    /// Sorted in the same way.
    pub(super) error_routes: RefCell<Vec<ErrorRoute>>,
    /// The matchers that the site defines, if somebody wants to know.
    pub(super) matcher_lines: Vec<Line>,
    pub(super) binds: Vec<Bind>,
    pub(super) logs: Vec<NamedLog>,
    pub(super) authorities: Vec<(String, pki::Ca)>,
    pub(super) tls: TlsPile,
    /// Named routes that the site invokes, and where.
    pub(super) invoked: BTreeMap<String, Option<Token>>,
}

/// Routes for errors, with the directive as it was written if somebody wants to know.
pub(super) type ErrorRoute = (Subroute, Option<Rc<Written>>);

/// What the directives of a site say about TLS.
#[derive(Default)]
pub(super) struct TlsPile {
    pub(super) connection_policies: Vec<tls::ConnectionPolicy>,
    pub(super) loaders: Vec<(&'static str, Vec<serde_json::Value>)>,
    pub(super) issuers: Vec<ModuleJson>,
    pub(super) managers: Vec<ModuleJson>,
    pub(super) key_type: Option<String>,
    pub(super) renewal_window_ratio: Option<f64>,
    pub(super) on_demand: bool,
    pub(super) reuse_private_keys: bool,
    pub(super) force_automate: bool,
}

impl Pile {
    fn add(&mut self, said: Said) {
        match said.value {
            ConfigValue::Route(_) | ConfigValue::Routes(_) => self.routes.get_mut().push(said),
            ConfigValue::ErrorRoutes(subroute) => {
                self.error_routes.get_mut().push((subroute, said.written));
            }
            ConfigValue::Bind(bind) => self.binds.push(bind),
            ConfigValue::Log(log) => self.logs.push(log),
            ConfigValue::CertificateAuthority(id, ca) => self.authorities.push((id, ca)),
            ConfigValue::CertificateLoader(name, list) => self.tls.loaders.push((name, list)),
            ConfigValue::CertificateIssuer(issuer) => self.tls.issuers.push(issuer),
            ConfigValue::CertificateManager(manager) => self.tls.managers.push(manager),
            ConfigValue::KeyType(key_type) => {
                self.tls.key_type.get_or_insert(key_type);
            }
            ConfigValue::RenewalWindowRatio(ratio) => {
                self.tls.renewal_window_ratio.get_or_insert(ratio);
            }
            ConfigValue::OnDemand => self.tls.on_demand = true,
            ConfigValue::ReusePrivateKeys => self.tls.reuse_private_keys = true,
            ConfigValue::ForceAutomate => self.tls.force_automate = true,
            ConfigValue::ConnectionPolicy(policy) => self.tls.connection_policies.push(*policy),
        }
    }
}

/// A site block with what its directives say.
pub(super) struct Site {
    pub(super) keys: Vec<Token>,
    pub(super) pile: Rc<Pile>,
    /// Whether it is wrong where it listens.
    pub(super) has_wrong_bind: bool,
}

/// Routes that others invoke by name.
#[derive(Default)]
pub(super) struct NamedRoutes {
    pub(super) routes: BTreeMap<String, Route>,
    /// The named routes that a named route invokes itself.
    pub(super) invokes: BTreeMap<String, BTreeMap<String, Option<Token>>>,
}

/// Takes out the blocks whose keys can't be addresses.
pub(super) fn check_keys(blocks: &mut Vec<ServerBlock>, vocabulary: &Vocabulary, mistakes: &mut Mistakes) {
    blocks.retain(|block| match wrong_key(block, vocabulary) {
        Some(error) => {
            mistakes.add(error);
            false
        }
        None => true,
    });
}

fn wrong_key(block: &ServerBlock, vocabulary: &Vocabulary) -> Option<Error> {
    block.keys.iter().enumerate().find_map(|(index, key)| {
        if index == 0 && key.text.starts_with(matchers::PREFIX) {
            let message = format!("cannot define a matcher outside of a site block: '{}'", key.shown());
            return Some(Error::at_front(key, message));
        }
        vocabulary.directive(&key.text)?;
        let message = format!(
            "parsed '{}' as a site address, but it is a known directive; directives must appear in a site block",
            key.text
        );
        Some(Error::at_front(key, message))
    })
}

/// Takes the global options off the front of the blocks and reads them.
pub(super) fn take_options(
    blocks: &mut Vec<ServerBlock>,
    vocabulary: &Vocabulary,
    notes: &Notes,
    mistakes: &mut Mistakes,
) -> Options {
    let mut options = Options { order: vocabulary.order().to_vec(), ..Options::default() };
    if !blocks.first().is_some_and(|block| block.keys.is_empty() && !block.is_named_route) {
        return options;
    }
    let readings = Cell::new(0);
    let may_read = || readings.replace(readings.get() + 1) < READINGS_MAX;
    for segment in blocks.remove(0).segments {
        let Some(name) = segment.first().cloned() else { continue };
        let Some(row) = vocabulary.option(&name.text) else {
            let message = format!("unrecognized global option: {}", name.shown());
            mistakes.add(Error::at_front(&name, message).did_you_mean(&name.text, vocabulary.option_names()));
            continue;
        };
        if let Some(trace) = &notes.trace {
            trace.add(segment.clone(), TracedOut::Other);
        }
        let before = options.clone();
        let read = read_on(segment, may_read, |segment| {
            options.clone_from(&before);
            let mut reader = OptionReader { cursor: Cursor::new(segment), options: &mut options, vocabulary };
            (row.parse)(&mut reader).map_err(|error| {
                let context = format!("parsing caddyfile tokens for '{}'", row.name);
                expect(error.context(context).or_at(&name), reader.cursor.tokens(), row.syntax)
            })
        });
        if let Err(error) = read {
            mistakes.add(error);
        }
    }
    if let Err(error) = options.sort_servers() {
        mistakes.add(error);
    }
    options
}

/// Takes the named routes out of the blocks and reads them.
pub(super) fn take_named_routes(
    blocks: &mut Vec<ServerBlock>,
    vocabulary: &Vocabulary,
    options: &Options,
    around: (&dyn Env, &dyn Files),
    notes: &Notes,
    mistakes: &mut Mistakes,
) -> NamedRoutes {
    // Their groups are counted apart from those of the sites.
    let session = Session::new(vocabulary, options, around, notes);
    let mut named = NamedRoutes::default();
    let (routes, sites): (Vec<_>, Vec<_>) =
        std::mem::take(blocks).into_iter().partition(|block| block.is_named_route);
    *blocks = sites;
    for mut block in routes {
        let Some(key) = block.keys.first().cloned() else { continue };
        if block.segments.is_empty() {
            continue;
        }
        for segment in &mut block.segments {
            provenance::unmark_configuration(segment);
            shorthands::apply(segment);
        }
        let mut helper = Helper {
            files: Rc::new(files_of(&block.segments)),
            cursor: Cursor::new(block.segments.concat()),
            session: &session,
            matchers: Rc::default(),
        };
        notes.outliner.begin();
        let subroute = match helper.parse_segment_as_subroute() {
            Ok(subroute) => subroute,
            Err(error) => {
                mistakes.add(error.or_at(&key));
                continue;
            }
        };
        notes.outliner.named_route(&key, notes.outliner.end());
        let handle = match subroute.routes.as_slice() {
            // As in Caddy, of one route without matchers only the first handler stays.
            [only] if only.matcher_sets.is_empty() => only.handle.first().cloned().into_iter().collect(),
            _ => vec![subroute.into_handler()],
        };
        let name = key.text.to_string();
        if named.routes.insert(name.clone(), Route { handle, ..Route::default() }).is_some() {
            mistakes.add(Error::at_unnamed(&key, format!("cannot have duplicate named_routes: {name}")));
        }
        let invoked = session.invoked.take();
        named.invokes.insert(name, invoked);
    }
    named
}

/// Reads all site blocks.
pub(super) fn read_sites(
    blocks: Vec<ServerBlock>,
    session: &Session<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Site> {
    let mut sites = Vec::with_capacity(blocks.len());
    for block in blocks {
        if mistakes.is_full() {
            break;
        }
        sites.extend(read_site(block, session, mistakes));
    }
    sites
}

/// Reads a site block; of one with mistakes it gives what is right about it.
fn read_site(mut block: ServerBlock, session: &Session<'_>, mistakes: &mut Mistakes) -> Option<Site> {
    if block.keys.is_empty() {
        let message = "server block without any key is global configuration, and if used, it must be first";
        mistakes.add(match block.segments.first().and_then(|segment| segment.first()) {
            Some(token) => Error::at_unnamed(token, message),
            None => Error::new(message),
        });
        return None;
    }
    for segment in &mut block.segments {
        provenance::unmark_configuration(segment);
        shorthands::apply(segment);
    }
    let files = Rc::new(files_of(&block.segments));
    let (definitions, directives): (Vec<_>, Vec<_>) =
        block.segments.into_iter().partition(matchers::is_definition);
    let mut defined = NamedMatchers::new();
    let mut pile = Pile::default();
    for definition in definitions {
        pile.matcher_lines.extend(session.notes.outliner.matcher(&definition));
        if let Err(error) = session.define_matcher(definition, &mut defined) {
            mistakes.add(error);
        }
    }
    let mut helper = Helper { cursor: Cursor::default(), session, matchers: Rc::new(defined), files };
    let mut has_wrong_bind = false;
    for segment in directives {
        let Some(name) = segment.first().cloned() else { continue };
        let read = match session.vocabulary.directive(&name.text) {
            Some(row) => helper.directive(row, segment),
            None => Err(unrecognized(&name, block.has_braces, session.vocabulary)),
        };
        match read {
            Ok(values) => values.into_iter().for_each(|said| pile.add(said)),
            Err(error) => {
                mistakes.add(error);
                has_wrong_bind |= &*name.text == "bind";
                // Without braces, what comes next may not belong to the site at all.
                if !block.has_braces || mistakes.is_full() {
                    break;
                }
            }
        }
        pile.invoked.append(&mut session.invoked.borrow_mut());
    }
    Some(Site { keys: block.keys, pile: Rc::new(pile), has_wrong_bind })
}

fn unrecognized(name: &Token, has_braces: bool, vocabulary: &Vocabulary) -> Error {
    let mut message = format!("unrecognized directive: {}", name.shown());
    if !has_braces {
        message.push_str(
            "\nDid you mean to define a second site? If so, you must use curly braces around each site to separate \
             their configurations.",
        );
    }
    vocabulary.unknown_directive(name, message)
}

/// A site at one listener: its addresses there, and what it says.
#[derive(Clone)]
pub(super) struct SiteAt {
    /// Which site block it is.
    pub(super) index: usize,
    /// Which of its keys are served there.
    pub(super) keys: Vec<usize>,
    pub(super) key_tokens: Vec<Token>,
    pub(super) addresses: Vec<SiteAddress>,
    pub(super) pile: Rc<Pile>,
}

impl SiteAt {
    /// Its hosts, without repetition. None if it is there for all hosts.
    pub(super) fn hosts(&self) -> Vec<String> {
        if self.is_catch_all() {
            return Vec::new();
        }
        let mut hosts = Vec::new();
        for address in &self.addresses {
            if !hosts.contains(&address.host) {
                hosts.push(address.host.clone());
            }
        }
        hosts
    }

    /// Its hosts with their ports where those are special, as a request's Host header has them.
    pub(super) fn log_hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        for address in self.addresses.iter().filter(|address| !address.host.is_empty()) {
            let host = match address.port.as_str() {
                "" | "80" | "443" => address.host.clone(),
                port => crate::config::join_host_port(&address.host, port),
            };
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// Its hosts that are not for plain HTTP, in order.
    pub(super) fn hosts_not_http(&self, http_port: u16) -> Vec<String> {
        let http_port = http_port.to_string();
        let with_tls = |address: &&SiteAddress| {
            !address.host.is_empty() && address.scheme != "http" && address.port != http_port
        };
        let hosts: BTreeSet<String> =
            self.addresses.iter().filter(with_tls).map(|address| address.host.clone()).collect();
        hosts.into_iter().collect()
    }

    /// Whether one of its addresses has no host, so that it is there for all.
    pub(super) fn is_catch_all(&self) -> bool {
        self.addresses.iter().any(|address| address.host.is_empty())
    }

    /// Whether all its addresses say `http://`.
    pub(super) fn is_all_http(&self) -> bool {
        self.addresses.iter().all(|address| address.scheme == "http")
    }

    /// Its routes, in order.
    pub(super) fn subroute(&self, session: &Session<'_>) -> Result<Subroute, Error> {
        build_subroute(&mut self.pile.routes.borrow_mut(), session, true)
    }
}
