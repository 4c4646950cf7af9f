//! `browse`: folders without an index are listed.

mod forms;
pub(super) mod listing;
mod page;
mod template;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, IF_MODIFIED_SINCE, LAST_MODIFIED, SET_COOKIE,
    VARY,
};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::listing::{Folder, Listing, View, read};
pub use self::page::template;
use super::super::templates::Pages;
use super::find::Rules;
use super::hide::Pattern;
use super::redirect::redirect;
use super::{bare_error, open_failed};
use crate::config::is_default;
use crate::http::files::Modified;
use crate::http::{
    Body, Exchange, HandlerError, Provision, ProvisionError, Response, Template, header_value, target,
    unblock,
};

/// What answers depend on.
const VARIES: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");
/// So many entries of a folder are looked at unless another number is given.
const ENTRIES_MAX: usize = 10_000;
/// A disk that takes longer than this to read a folder has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// By what a list can be sorted, and in which order.
const SORTS: [&str; 4] = ["name", "namedirfirst", "size", "time"];
const ORDERS: [&str; 2] = ["asc", "desc"];

/// The JSON form of lists of files.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The file with the template of pages.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) template_file: String,
    /// Whether it is told where links lead.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) reveal_symlinks: bool,
    /// By what lists are sorted, and in which order.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) sort: Vec<String>,
    /// So many entries of a folder are looked at.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) file_limit: i64,
}

/// Lists of files, compiled.
pub(super) struct Browse {
    reveals_links: bool,
    sort: String,
    order: String,
    entries_max: usize,
    template: Option<Custom>,
}

/// Pages by a template of the configuration.
struct Custom {
    file: Arc<str>,
    pages: Pages,
}

/// In which form a client wants a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Text,
    Page,
}

/// What the blocking pool makes of a folder.
enum Made {
    /// Nothing has been changed since the client's copy.
    NotModified,
    List(Modified, Vec<u8>),
    /// The list is to be a page by this template.
    Page(Box<Listing>, Bytes),
}

impl Browse {
    /// Builds it; its templates may read the files below `root`.
    pub(super) fn provision(
        config: &Config,
        root: &Template,
        ctx: &Provision<'_>,
    ) -> Result<Self, ProvisionError> {
        let known = |at: usize, names: &[&str], place: &str| match config.sort.get(at) {
            Some(said) if !names.contains(&said.as_str()) => Err(ProvisionError::invalid(format!(
                "the {place} option must be one of the following: {}, but got {said}",
                names.join(", ")
            ))),
            said => Ok(said.cloned().unwrap_or_default()),
        };
        let (sort, order) = (known(0, &SORTS, "first")?, known(1, &ORDERS, "second")?);
        if config.sort.len() > 2 {
            let message = format!("only max 2 sort options are allowed, but got {}", config.sort.len());
            return Err(ProvisionError::invalid(message));
        }
        let entries_max = match config.file_limit {
            0 => ENTRIES_MAX,
            limit => usize::try_from(limit)
                .map_err(|_| ProvisionError::invalid("file_limit must not be less than 0"))?,
        };
        let template = (!config.template_file.is_empty()).then(|| Custom {
            file: config.template_file.as_str().into(),
            pages: Pages::new(root.clone(), ctx),
        });
        Ok(Self { reveals_links: config.reveal_symlinks, sort, order, entries_max, template })
    }

    /// The answer with a list of a folder.
    pub(super) async fn answer(
        &self,
        rules: &Arc<Rules>,
        x: &mut Exchange,
        path: Vec<u8>,
        hide: Vec<Pattern>,
    ) -> Result<Response, HandlerError> {
        if let Some(redirect) = to_slash(x) {
            return Ok(redirect);
        }
        let folder = Folder { path, entries_max: self.entries_max, reveals_links: self.reveals_links, hide };
        let form = form(&x.headers);
        let (view, cookies) = self.view(x);
        let layout = view.layout.clone();
        let since = x.headers.get(IF_MODIFIED_SINCE).and_then(|since| since.to_str().ok());
        let since = since.and_then(|since| httpdate::parse_http_date(since).ok());
        let url = target::clean_path(&x.path(), true).into_owned();
        let template = self.template.as_ref().map(|custom| Arc::clone(&custom.file));
        let rules = Arc::clone(rules);
        let asked = Asked { rules, folder, view, form, since, url: url.clone(), template };
        let (modified, list) = match made(x, asked).await? {
            Made::NotModified => {
                x.response_headers.append(VARY, VARIES);
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = std::mem::take(&mut x.response_headers);
                return Ok(response);
            }
            Made::List(modified, list) => (modified, Ok(list)),
            Made::Page(listing, template) => (listing.modified, Err((listing, template))),
        };
        x.response_headers.append(VARY, VARIES);
        x.response_headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
        if let Some(time) = whole_seconds(modified) {
            x.response_headers.insert(LAST_MODIFIED, header_value(httpdate::fmt_http_date(time).as_bytes()));
        }
        let list = match (list, &self.template) {
            (Err((listing, text)), Some(custom)) => {
                let data = Arc::new(template::List::new(*listing, url, layout));
                custom.pages.render(x, text, data).await?
            }
            (list, _) => {
                if form == Form::Page {
                    x.response_headers.insert(CONTENT_SECURITY_POLICY, header_value(page::POLICY.as_bytes()));
                }
                list.unwrap_or_default()
            }
        };
        x.response_headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        let mut response = Response::new(Body::from(list));
        *response.headers_mut() = std::mem::take(&mut x.response_headers);
        Ok(response)
    }

    /// What the client wants to see: by its query, by what it wanted last, or as it is configured. With the
    /// cookies that keep it.
    fn view(&self, x: &Exchange) -> (View, Vec<HeaderValue>) {
        let query = |key: &str| {
            let value = target::query_values(x.uri.query().unwrap_or_default(), key.as_bytes()).next();
            value.map(|value| target::lossy(&value).into_owned()).unwrap_or_default()
        };
        let mut cookies = Vec::new();
        let mut choose = |key: &str, own: &str, known: &[&str], usual: &str| {
            let asked = query(key);
            let chosen = if asked.is_empty() { own.to_owned() } else { asked };
            if chosen.is_empty() {
                return cookie(&x.headers, key).unwrap_or_else(|| usual.to_owned());
            }
            if known.contains(&chosen.as_str()) {
                let secure = if x.conn.tls.is_some() { " Secure;" } else { "" };
                let text = format!("{key}={chosen}; HttpOnly;{secure} SameSite=Lax");
                cookies.push(header_value(text.as_bytes()));
            }
            chosen
        };
        let sort = choose("sort", &self.sort, &SORTS, "namedirfirst");
        let order = choose("order", &self.order, &ORDERS, "asc");
        let layout = match query("layout") {
            layout if ["", "list", "grid"].contains(&layout.as_str()) => layout,
            _ => "list".to_owned(),
        };
        let number = |key: &str| query(key).parse().unwrap_or(0);
        (View { sort, order, layout, offset: number("offset"), limit: number("limit") }, cookies)
    }
}

/// Has the folder read, and the list made, on the blocking pool.
async fn made(x: &mut Exchange, asked: Asked) -> Result<Made, HandlerError> {
    let making = unblock(move || make(&asked));
    let made = match tokio::time::timeout(READ_TIMEOUT, making).await {
        Ok(made) => made?,
        Err(_) => return Err(HandlerError::new(StatusCode::SERVICE_UNAVAILABLE, "the disk does not answer")),
    };
    made.map_err(|error| match error {
        MakeError::Template(error) => HandlerError::internal(error),
        MakeError::Folder(error) if error.kind() == io::ErrorKind::NotFound => {
            bare_error(StatusCode::NOT_FOUND)
        }
        MakeError::Folder(error) => open_failed(x, error),
    })
}

/// Sends the client to the path with a slash, so that the list's links begin in the folder. If a rewrite has
/// chosen the folder it stays where it is.
fn to_slash(x: &mut Exchange) -> Option<Response> {
    let original = x.original_path();
    if target::base(&original) != target::base(&x.path()) || original.ends_with(b"/") {
        return None;
    }
    let path = [&*original, b"/"].concat();
    Some(redirect(x, &path))
}

fn form(headers: &HeaderMap) -> Form {
    let accepted: Vec<&[u8]> = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes).collect();
    let accepted = accepted.join(&b","[..]).to_ascii_lowercase();
    let takes = |kind: &str| memchr::memmem::find(&accepted, kind.as_bytes()).is_some();
    match (takes("application/json"), takes("text/plain")) {
        (true, _) => Form::Json,
        (false, true) => Form::Text,
        (false, false) => Form::Page,
    }
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Page => "text/html; charset=utf-8",
        }
    }
}

/// What the blocking pool is asked for.
struct Asked {
    rules: Arc<Rules>,
    folder: Folder,
    view: View,
    form: Form,
    since: Option<SystemTime>,
    /// The folder's path as it was asked for.
    url: Vec<u8>,
    /// The template for pages, if there is one.
    template: Option<Arc<str>>,
}

/// Why there is no list.
enum MakeError {
    Folder(io::Error),
    Template(io::Error),
}

/// Reads a folder, and writes the list of it. This runs on the blocking pool.
fn make(asked: &Asked) -> Result<Made, MakeError> {
    let mut listing = read(&asked.rules, &asked.folder).map_err(MakeError::Folder)?;
    let modified = whole_seconds(listing.modified);
    if asked.since.is_some_and(|since| modified.is_none_or(|modified| modified <= since)) {
        return Ok(Made::NotModified);
    }
    listing.arrange(&asked.view);
    let list = match (asked.form, &asked.template) {
        (Form::Json, _) => {
            forms::json(&listing).map_err(|error| MakeError::Folder(io::Error::other(error)))?
        }
        (Form::Text, _) => forms::text(&listing),
        (Form::Page, None) => page::html(&listing, &asked.url),
        (Form::Page, Some(file)) => {
            let text = template::read(file).map_err(MakeError::Template)?;
            return Ok(Made::Page(Box::new(listing), text));
        }
    };
    Ok(Made::List(listing.modified, list))
}

/// A time as an HTTP date can tell it; `None` if it is before 1970 or far off.
fn whole_seconds(modified: Modified) -> Option<SystemTime> {
    const SECONDS_MAX: u64 = 253_402_300_799;
    let seconds = u64::try_from(modified.seconds).ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The first cookie of a name.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(http::header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests;
