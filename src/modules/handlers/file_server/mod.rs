//! `file_server`: files below a root.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv
//! 	file_server {
//! 		hide .git
//! 		precompressed br gzip
//! 	}
//! }
//! ```

mod answer;
mod browse;
mod conditional;
mod find;
mod hide;
mod parse;
mod precompressed;
mod ranges;
mod redirect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ALLOW, ETAG, HeaderValue, RETRY_AFTER, VARY};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::browse::Browse;
pub use self::browse::template as browse_template;
use self::find::{Asked, Found, FoundFile, Opened, Rules, find};
use self::hide::{Hide, Pattern};
use self::precompressed::Precompressed;
use super::respond::Status;
use crate::adapt::{Directive, Parse};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, WeakString, is_default};
use crate::http::files::{Wait, is_file_system, join, load_types, render_root};
use crate::http::{
    Exchange, Handler, HandlerError, HandlerType, Outcome, Provision, ProvisionError, Step, Template,
    Unknown, status_text, unblock,
};
use crate::module::Module;

/// The name in JSON.
const NAME: &str = "file_server";

const SYNTAX: &str = "file_server [<matcher>] [browse] {
	fs <filesystem>
	root <path>
	hide <files...>
	index <files...>
	browse [<template_file>] {
		reveal_symlinks
		sort <by> [<order>]
		file_limit <count>
	}
	precompressed [<formats...>]
	status <status>
	disable_canonical_uris
	pass_thru
	etag_file_extensions <extensions...>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse::parse) }],
    schemas: &[ModuleSchema::of::<FileServer>("http.handlers", NAME)],
    ..Module::EMPTY
};

/// The files that stand for their folder unless others are named.
const INDEX_NAMES: [&str; 2] = ["index.html", "index.txt"];

/// Who is turned away because nothing can be opened is told to come back after 2 to 4 seconds, not all
/// at once.
const RETRY_SECONDS: std::ops::RangeInclusive<u8> = 2..=4;

/// A disk that takes longer than this to find a file has failed.
const FIND_TIMEOUT: Duration = Duration::from_secs(60);

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/file_server/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FileServer {
    /// The file system; the machine's if it is empty.
    #[serde(skip_serializing_if = "is_default")]
    fs: String,
    /// Where the files are; `{http.vars.root}` if it is empty.
    #[serde(skip_serializing_if = "is_default")]
    root: String,
    /// Names and paths of files that are not shown.
    #[serde(skip_serializing_if = "is_default")]
    hide: Vec<String>,
    /// The files that stand for their folder.
    #[serde(skip_serializing_if = "is_default")]
    index_names: Option<Vec<String>>,
    /// Whether, and how, folders without an index are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    browse: Option<browse::Config>,
    /// Whether folders are sent to a path with a slash at its end, and files to one without.
    #[serde(skip_serializing_if = "is_default")]
    canonical_uris: Option<bool>,
    /// The status of answers with a file.
    #[serde(skip_serializing_if = "WeakString::is_empty")]
    status_code: WeakString,
    /// Whether what is not there is for the next handler.
    #[serde(skip_serializing_if = "is_default")]
    pass_thru: bool,
    /// The formats that files may lie ready in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    precompressed: BTreeMap<String, Value>,
    /// Which of them is better.
    #[serde(skip_serializing_if = "is_default")]
    precompressed_order: Vec<String>,
    /// How the names of files end that have the entity tags of those beside them.
    #[serde(skip_serializing_if = "is_default")]
    etag_file_extensions: Vec<String>,
}

/// A file server, compiled.
struct Provisioned {
    fs: Template,
    root: Template,
    index: Box<[Template]>,
    rules: Arc<Rules>,
    precompressed: Precompressed,
    canonical: bool,
    status: Option<Status>,
    pass_thru: bool,
    browse: Option<Browse>,
}

fn provision(json: &ModuleJson, ctx: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: FileServer = json.decode(HANDLER_TAG)?;
    let compile = |text: &str| Template::compile(text, Unknown::Empty);
    let or = |text: &str, default| compile(if text.is_empty() { default } else { text });
    let working_dir = std::env::current_dir().unwrap_or_default().into_os_string().into_encoded_bytes();
    let index = config.index_names.unwrap_or_else(|| INDEX_NAMES.map(str::to_owned).into());
    let root = or(&config.root, "{http.vars.root}");
    load_types();
    Ok(Box::new(Provisioned {
        fs: or(&config.fs, "{http.vars.fs}"),
        index: index.iter().map(|name| compile(name)).collect(),
        rules: Arc::new(Rules {
            hide: Hide::compile(&config.hide, &working_dir),
            etag_extensions: config.etag_file_extensions.iter().map(|end| end.as_bytes().into()).collect(),
        }),
        precompressed: Precompressed::provision(&config.precompressed, &config.precompressed_order)?,
        canonical: config.canonical_uris.unwrap_or(true),
        status: Status::compile(&config.status_code)?,
        pass_thru: config.pass_thru,
        browse: config.browse.map(|browse| Browse::provision(&browse, &root, ctx)).transpose()?,
        root,
    }))
}

impl Handler for Provisioned {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        if !is_file_system(&self.fs.render(x)) {
            return Step::Now(HandlerError::new(StatusCode::NOT_FOUND, "filesystem not found").into());
        }
        let asked = self.ask(x);
        match find(&self.rules, &asked, Wait::Never) {
            Ok(Found::Folder(path)) => match &self.browse {
                None => Step::Now(self.not_found()),
                Some(browse) => Step::Later(Box::pin(self.list(browse, x, path, asked.hide))),
            },
            Ok(found) => Step::Now(self.outcome(x, found)),
            Err(_) => Step::Later(Box::pin(self.find_slowly(x, asked))),
        }
    }
}

impl Provisioned {
    fn ask(&self, x: &Exchange) -> Asked {
        let mut path = join(&render_root(&self.root, x), &x.path());
        if path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        let wants_etag = !self.rules.etag_extensions.is_empty() && !x.response_headers.contains_key(ETAG);
        Asked {
            path,
            index: self.index.iter().map(|name| name.render(x).into_owned()).collect(),
            hide: self.rules.hide.of_request(x),
            accepted: self.precompressed.accepted(&x.headers),
            wants_etag,
        }
    }

    /// The same on the blocking pool.
    async fn find_slowly(&self, x: &mut Exchange, asked: Asked) -> Outcome<'_> {
        let rules = Arc::clone(&self.rules);
        let finding = unblock(move || (find(&rules, &asked, Wait::AsNeeded), asked.hide));
        let (found, hide) = match tokio::time::timeout(FIND_TIMEOUT, finding).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return error.into(),
            Err(_) => {
                return HandlerError::new(StatusCode::SERVICE_UNAVAILABLE, "the disk does not answer").into();
            }
        };
        match (found, &self.browse) {
            (Ok(Found::Folder(path)), Some(browse)) => self.list(browse, x, path, hide).await,
            (Ok(found), _) => self.outcome(x, found),
            (Err(error), _) => HandlerError::internal(error).into(),
        }
    }

    /// A list of what is in a folder.
    async fn list<'p>(
        &'p self,
        browse: &'p Browse,
        x: &mut Exchange,
        path: Vec<u8>,
        hide: Vec<Pattern>,
    ) -> Outcome<'p> {
        match browse.answer(&self.rules, x, path, hide).await {
            Ok(answer) => Outcome::Respond(answer),
            Err(error) => Outcome::Fail(error),
        }
    }

    fn outcome(&self, x: &mut Exchange, found: Found) -> Outcome<'_> {
        match found {
            Found::Nothing | Found::Folder(_) => self.not_found(),
            Found::Failed(error) => Outcome::Fail(lookup_failed(error)),
            Found::File(file) => self.file(x, *file).unwrap_or_else(Outcome::Fail),
        }
    }

    /// What is not there is for the next handler, if it is told to be.
    fn not_found(&self) -> Outcome<'_> {
        if self.pass_thru { Outcome::Next } else { Outcome::Fail(bare_error(StatusCode::NOT_FOUND)) }
    }

    fn file(&self, x: &mut Exchange, found: FoundFile) -> Result<Outcome<'_>, HandlerError> {
        if self.canonical
            && let Some(redirect) = redirect::to_canonical(x, found.is_index)
        {
            return Ok(Outcome::Respond(redirect));
        }
        // Caches must tell compressed answers from others, which `encode` makes even if there are no
        // compressed files.
        x.response_headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        let opened = match found.opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.not_found()),
            Err(error) => return Err(open_failed(x, error)),
        };
        let (etag, opened) = etag(x, opened)?;
        let is_read = matches!(x.method, http::Method::GET | http::Method::HEAD);
        // An error page is sent whatever the method was that went wrong.
        if !is_read && x.error.is_none() {
            x.response_headers.append(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Err(bare_error(StatusCode::METHOD_NOT_ALLOWED));
        }
        // Before the answer takes the fields away that its error would have.
        let status = self.status.as_ref().map(|status| status.of(x)).transpose()?;
        let sent = answer::Sent { path: &found.path, modified: found.info.modified, etag, opened };
        let mut response = answer::answer(x, sent);
        if let Some(status) = status.or_else(|| x.error.as_ref().map(|error| error.status)) {
            *response.status_mut() = status;
        }
        Ok(Outcome::Respond(response))
    }
}

/// The entity tag of an answer: one that was set before, one from a file, or one made of time and size.
fn etag(x: &Exchange, mut opened: Opened) -> Result<(Option<HeaderValue>, Opened), HandlerError> {
    if let Some(own) = x.response_headers.get(ETAG).filter(|own| !own.is_empty()) {
        return Ok((Some(own.clone()), opened));
    }
    let from_file = std::mem::replace(&mut opened.etag, Ok(None)).map_err(HandlerError::internal)?;
    let etag = match from_file.filter(|etag| !etag.is_empty()) {
        Some(etag) => Some(crate::http::header_value(&etag)),
        None => answer::etag(&opened.info),
    };
    Ok((etag, opened))
}

/// An error that says no more than its status.
fn bare_error(status: StatusCode) -> HandlerError {
    HandlerError::new(status, status_text(status))
}

/// Why a path could not be looked up.
fn lookup_failed(error: io::Error) -> HandlerError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => HandlerError::new(StatusCode::FORBIDDEN, error),
        // A file where a folder should be, a name that is too long, links in a circle.
        _ => HandlerError::new(StatusCode::BAD_REQUEST, "invalid argument"),
    }
}

/// Why a file that is there could not be opened.
fn open_failed(x: &mut Exchange, error: io::Error) -> HandlerError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return HandlerError::new(StatusCode::FORBIDDEN, error);
    }
    let (low, high) = (*RETRY_SECONDS.start(), *RETRY_SECONDS.end());
    let mut random = [0_u8];
    // Without a random source they all come back at once.
    let _ = getrandom::fill(&mut random);
    x.response_headers.insert(RETRY_AFTER, HeaderValue::from(u16::from(low + random[0] % (high - low + 1))));
    HandlerError::new(StatusCode::SERVICE_UNAVAILABLE, error)
}
