//! `docs/directives.md`: every name that a Caddyfile or its JSON can hold, whether it runs, and its page.
//!
//! The file is made of the registry and the examples of the pages, which [`crate::docs`] runs:
//! `TOLLGATE_BLESS=1 cargo nextest run docs_table` writes it anew; then read the diff.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tollgate::module::{Module, Registry};
use tollgate::modules;

use crate::coverage::{Use, uses};
use crate::docs::{Block, CADDYFILE, IDLE, REFUSED, UNKNOWN, blocks};
use crate::support::{repository, repository_text};

const TABLE: &str = "docs/directives.md";
const OPTIONS: &str = "global-options.md";

/// Where modules that are written inside others are described.
const PLACES: &[(&str, &str, &str)] = &[
    ("http.reverse_proxy.transport", "Transports", "directives/reverse_proxy.md"),
    ("http.reverse_proxy.selection_policies", "Policies of load balancing", "directives/reverse_proxy.md"),
    ("http.reverse_proxy.upstreams", "Dynamic upstreams", "directives/reverse_proxy.md"),
    ("caddy.network_proxy", "Proxies towards upstreams", "directives/reverse_proxy.md"),
    ("http.encoders", "Formats of compression", "directives/encode.md"),
    ("http.ip_sources", "Sources of trusted proxies", OPTIONS),
    ("caddy.listeners", "Listener wrappers", "listener_wrappers.md"),
    ("caddy.storage", "Storage", OPTIONS),
    ("tls.permission", "Permission for certificates on demand", OPTIONS),
    ("tls.issuance", "Issuers", "directives/tls.md"),
    ("dns.providers", "DNS providers", "dns_challenge.md"),
    ("tls.get_certificate", "Managers of certificates", "directives/tls.md"),
    ("tls.ca_pool.source", "Trust pools", "directives/tls.md"),
    ("tls.client_auth.verifier", "Verifiers of clients", "directives/tls.md"),
    ("tls.leaf_cert_loader", "Loaders of clients' certificates", "directives/tls.md"),
    ("caddy.logging.writers", "Outputs of logs", "directives/log.md"),
    ("caddy.logging.encoders", "Formats of logs", "directives/log.md"),
    ("caddy.logging.encoders.filter", "Filters of log fields", "directives/log.md"),
    ("caddy.logging.cores", "Cores of logs", "directives/log.md"),
];

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Runs,
    Idle,
    Adapts,
    NeedsPlugin,
}

impl State {
    fn shown(self) -> &'static str {
        match self {
            State::Runs => "runs",
            State::Idle => "taken; has no effect",
            State::Adapts => "adapts; refused when loaded",
            State::NeedsPlugin => "refused: it needs a plugin",
        }
    }
}

/// What the examples among these blocks show of something; nothing if none has it.
fn state_of(blocks: &[Block], wanted: &Use) -> Option<State> {
    let with_it = blocks.iter().filter(|block| uses(&block.text).contains(wanted));
    with_it
        .filter_map(|block| match block.language.as_str() {
            CADDYFILE => Some(State::Runs),
            IDLE => Some(State::Idle),
            REFUSED => Some(State::Adapts),
            UNKNOWN => Some(State::NeedsPlugin),
            _ => None,
        })
        .min()
}

/// What is being written, and what is wrong.
#[derive(Default)]
struct Table {
    text: String,
    complaints: Vec<String>,
}

impl Table {
    fn heading(&mut self, title: &str, note: &str, columns: &str) {
        let note = if note.is_empty() { String::new() } else { format!("{note}\n\n") };
        let rule: String = columns.split('|').map(|_| "---|").collect();
        writeln!(self.text, "\n## {title}\n\n{note}| {columns} |\n|{rule}").unwrap();
    }

    /// A row for what has a page, or a part of one, with an example.
    fn row(&mut self, name: &str, page: &str, state: Option<State>) {
        match state {
            Some(state) => writeln!(self.text, "| [`{name}`]({page}) | {} |", state.shown()).unwrap(),
            None => {
                self.complaints.push(format!("docs/{page}: there is no page with an example of `{name}`"))
            }
        }
    }
}

fn page(path: &str) -> Option<String> {
    let path = repository("docs").join(path);
    path.exists().then(|| std::fs::read_to_string(path).unwrap())
}

/// The page of a directive: its own, or that of another name of the same thing.
fn directive_page(name: &str, module: &Module) -> Option<(String, String)> {
    let of = |name: &str| format!("directives/{name}.md");
    if let Some(text) = page(&of(name)) {
        return Some((of(name), text));
    }
    let others = module.directives.iter().map(|row| row.name);
    let pages = others.filter_map(|other| Some((of(other), page(&of(other))?)));
    pages.into_iter().find(|(_, text)| text.contains(&format!("`{name}`")))
}

fn directives(table: &mut Table, registry: &Registry) {
    table.heading("Directives", "", "Directive | State");
    let rows: BTreeMap<&str, &Module> = registry
        .modules
        .iter()
        .flat_map(|module| module.directives.iter().map(|row| (row.name, *module)))
        .collect();
    for (name, module) in rows {
        let wanted = |name: &str| Use::Directive(name.to_owned());
        match directive_page(name, module) {
            Some((path, text)) => {
                let blocks = blocks(&text);
                // An old name does what the new one does.
                let names = std::iter::once(name).chain(module.directives.iter().map(|row| row.name));
                let state = names.into_iter().find_map(|name| state_of(&blocks, &wanted(name)));
                table.row(name, &path, state);
            }
            None => table.row(name, &format!("directives/{name}.md"), None),
        }
    }
}

fn matchers(table: &mut Table, registry: &Registry) {
    table.heading("Request matchers", "", "Matcher | State");
    for name in registry.vocabulary.matcher_names() {
        let path = format!("matchers/{name}.md");
        let blocks = page(&path).map(|text| blocks(&text)).unwrap_or_default();
        let state = state_of(&blocks, &Use::Matcher(name.to_owned()));
        let registered = registry.matchers.contains_key(name);
        if state.is_some_and(|state| (state == State::Runs) != registered) {
            table.complaints.push(format!("docs/{path}: the registry says otherwise"));
        }
        table.row(name, &path, state);
    }
}

fn options(table: &mut Table, registry: &Registry) {
    table.heading("Global options", "", "Option | State");
    let text = page(OPTIONS).unwrap();
    for name in registry.vocabulary.option_names() {
        let start = text.find(&format!("\n### {name}\n"));
        let section = start.map(|start| text[start + 1..].split("\n##").next().unwrap_or_default());
        let state =
            section.and_then(|section| state_of(&blocks(section), &Use::GlobalOption(name.to_owned())));
        table.row(name, &format!("{OPTIONS}#{name}"), state);
    }
}

/// Modules in JSON, by the word that names them: handlers, and what is written inside other things.
fn handlers(table: &mut Table, registry: &Registry, goldens: &Goldens) {
    let note =
        "By their names in JSON. `subroute` has no directive; `handle`, `route` and sites are made of it.";
    table.heading("Handlers", note, "Handler | State");
    let mut ids: BTreeMap<&str, bool> = goldens.handlers.iter().map(|id| (id.as_str(), false)).collect();
    ids.extend(registry.handlers.keys().map(|id| (*id, true)));
    for (id, runs) in ids {
        if !goldens.handlers.contains(id) {
            table.complaints.push(format!("tests/adapt has no golden with the handler '{id}'"));
        }
        let state = if runs { State::Runs } else { State::Adapts };
        writeln!(table.text, "| `{id}` | {} |", state.shown()).unwrap();
    }
}

fn submodules(table: &mut Table, registry: &Registry, goldens: &Goldens) {
    let known: BTreeSet<&str> = PLACES.iter().map(|(namespace, _, _)| *namespace).collect();
    for (namespace, title, path) in PLACES {
        let of_namespace: BTreeMap<&str, State> = registry
            .modules
            .iter()
            .flat_map(|module| module.submodules)
            .inspect(|row| assert!(known.contains(row.namespace), "{} has no place", row.namespace))
            .filter(|row| row.namespace == *namespace)
            .map(|row| (row.name, State::Runs))
            .collect();
        table.heading(title, &format!("`{namespace}`"), "Module | State");
        let text = page(path).unwrap_or_default();
        for (name, state) in of_namespace {
            if !goldens.words.contains(name) {
                table.complaints.push(format!("tests/adapt has no golden with {namespace}.{name}"));
            }
            if text.is_empty() {
                writeln!(table.text, "| `{name}` | {} |", state.shown()).unwrap();
                continue;
            }
            let is_told = text.split(|ch: char| !ch.is_alphanumeric() && ch != '_').any(|word| word == name);
            table.row(name, path, is_told.then_some(state));
        }
    }
}

/// What the Caddyfiles of `tests/adapt` that can be adapted use.
#[derive(Default)]
struct Goldens {
    /// Handlers in their JSON.
    handlers: BTreeSet<String>,
    /// Words that begin a line, or stand second in it.
    words: BTreeSet<String>,
}

impl Goldens {
    fn read() -> Goldens {
        let mut goldens = Goldens::default();
        for entry in std::fs::read_dir(repository("tests/adapt")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let Some((caddyfile, json)) = text.split_once("\n----------\n") else { continue };
            if !json.starts_with('{') {
                continue;
            }
            let ids = json.lines().filter_map(|line| line.trim().strip_prefix("\"handler\": \""));
            goldens.handlers.extend(ids.filter_map(|id| Some(id.split('"').next()?.to_owned())));
            for line in caddyfile.lines() {
                goldens.words.extend(line.split_whitespace().take(4).map(str::to_owned));
            }
        }
        goldens
    }
}

fn generate() -> Table {
    let registry = modules::registry();
    let goldens = Goldens::read();
    let mut table = Table::default();
    table.text.push_str(HEAD);
    directives(&mut table, &registry);
    matchers(&mut table, &registry);
    options(&mut table, &registry);
    handlers(&mut table, &registry, &goldens);
    submodules(&mut table, &registry, &goldens);
    table
}

const HEAD: &str = "\
# What can be written, and what runs

Everything that Caddy's standard modules can say can be written here too, and `adapt` prints the same JSON. Not all of it
runs so far: what only adapts is refused by name when it is loaded, with its file and line. How Tollgate differs where
something runs is in [compatibility.md](compatibility.md).

This table is made of the modules themselves and of the examples of their pages, which the tests run.
";

#[test]
fn the_table_is_what_the_modules_and_pages_say() {
    let table = generate();
    assert!(table.complaints.is_empty(), "\n{}", table.complaints.join("\n"));
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(repository(TABLE), table.text).unwrap();
        return;
    }
    let message = "write it anew: TOLLGATE_BLESS=1 cargo nextest run docs_table, and read the diff";
    assert!(repository_text(TABLE) == table.text, "{TABLE} is out of date; {message}");
}

#[test]
fn an_example_shows_whether_a_name_runs() {
    let page =
        blocks("```caddyfile refused\n:80 {\n\tpush\n}\n```\n\n```caddyfile\n:80 {\n\tabort\n}\n```\n");
    let directive = |name: &str| Use::Directive(name.to_owned());
    assert_eq!(state_of(&page, &directive("push")), Some(State::Adapts));
    assert_eq!(state_of(&page, &directive("abort")), Some(State::Runs));
    assert_eq!(state_of(&page, &directive("respond")), None);
}
