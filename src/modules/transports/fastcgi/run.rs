//! `transport fastcgi`, provisioned.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body::Body as _;

use super::FastCgi;
use super::variables::{Sources, Variables};
use crate::http::files::as_path;
use crate::http::upstream::fastcgi::{self, FastCgiError, FastCgiRequest, OnComplaint};
use crate::http::upstream::{Dial, Outgoing, TransportOptions, UpstreamError};
use crate::http::{
    Body, Exchange, HandlerError, Provision, ProvisionError, Response, Template, Unknown, unblock,
};

/// How long a connection may take to stand, unless said otherwise.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The disk has this long to say whether a script is there.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// A way to FastCGI responders.
pub struct FastCgiTransport {
    sources: Sources,
    split_path: Box<[Box<[u8]>]>,
    resolve_root_symlink: bool,
    env: Box<[(Box<[u8]>, Template)]>,
    options: TransportOptions,
    on_complaint: Option<OnComplaint>,
}

/// What of a request's path names a script, and where it is.
pub(super) struct Script {
    pub(super) root: Vec<u8>,
    /// The script's path below the root.
    pub(super) name: Vec<u8>,
    /// What follows it in the request's path.
    pub(super) info: Vec<u8>,
    /// Whether delimiters tell scripts, so that it has to be a file.
    pub(super) is_named: bool,
}

/// A request, ready to be sent once its script is known to be there.
pub struct Prepared {
    script: Script,
    variables: Variables,
    body_bytes: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The request can't be one for a responder.
    Refused(HandlerError),
    /// The responder failed.
    Upstream(UpstreamError),
}

impl From<HandlerError> for NoAnswer {
    fn from(error: HandlerError) -> Self {
        Self::Refused(error)
    }
}

impl FastCgiTransport {
    /// Makes ready what the JSON asks for.
    ///
    /// # Errors
    /// A delimiter that is no ASCII.
    pub fn provision(json: &FastCgi, ctx: &mut Provision<'_>) -> Result<Self, ProvisionError> {
        if !json.split_path.iter().all(|delimiter| delimiter.is_ascii()) {
            return Err(ProvisionError::invalid("split path contains non-ASCII characters"));
        }
        ctx.ask_local_address();
        let env = json.env.iter();
        Ok(Self {
            sources: Sources::new(&json.root),
            split_path: json.split_path.iter().map(|delimiter| delimiter.as_bytes().into()).collect(),
            resolve_root_symlink: json.resolve_root_symlink,
            env: env
                .map(|(name, value)| (name.as_bytes().into(), Template::compile(value, Unknown::Empty)))
                .collect(),
            options: TransportOptions {
                dial_timeout: Some(json.dial_timeout.positive().unwrap_or(DIAL_TIMEOUT)),
                read_timeout: json.read_timeout.positive(),
                write_timeout: json.write_timeout.positive(),
                ..TransportOptions::default()
            },
            on_complaint: json.capture_stderr.then(|| Arc::new(complain) as OnComplaint),
        })
    }

    /// Works out what the responder is told.
    ///
    /// # Errors
    /// The path names no script, or the body's length isn't known.
    pub fn prepare(
        &self,
        x: &Exchange,
        outgoing: &Outgoing<'_>,
        body: &Body,
    ) -> Result<Prepared, HandlerError> {
        let body_bytes = if body.is_empty() { Some(0) } else { body.size_hint().exact() };
        // Responders wait for as many bytes as are announced, and take no other word for the end.
        let body_bytes = body_bytes.ok_or_else(|| {
            HandlerError::new(StatusCode::LENGTH_REQUIRED, "FastCGI needs to know the body's length")
        })?;
        let script = self.sources.script(x, outgoing, &self.split_path)?;
        let mut variables = self.sources.variables(x, outgoing, body_bytes);
        // The configuration's word counts more than a field of the client's that has the same name.
        for (name, value) in &self.env {
            variables.set(name, value.render(x).into_owned());
        }
        Ok(Prepared { script, variables, body_bytes })
    }

    /// Sends a prepared request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn round_trip(
        &self,
        dial: &Dial,
        outgoing: &Outgoing<'_>,
        prepared: Prepared,
        body: &mut Body,
    ) -> Result<Response, NoAnswer> {
        let Prepared { mut script, variables: known, body_bytes } = prepared;
        // Where the configuration names the file itself, it answers for it.
        let is_named = script.is_named && !self.env.iter().any(|(name, _)| **name == *b"SCRIPT_FILENAME");
        if is_named || self.resolve_root_symlink || !script.root.starts_with(b"/") {
            let resolve = self.resolve_root_symlink;
            let looking = unblock(move || look(script, resolve, is_named));
            script = tokio::time::timeout(LOOK_TIMEOUT, looking).await.map_err(|_| {
                NoAnswer::Refused(HandlerError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the disk does not answer",
                ))
            })???;
        }
        let mut variables = Variables::default();
        script.add_to(&mut variables);
        variables.take_over(known);
        let request = FastCgiRequest { method: outgoing.method, variables: &variables.0, body_bytes };
        let answer = fastcgi::round_trip(dial, &self.options, request, body, self.on_complaint.clone());
        answer.await.map_err(|error| match error {
            FastCgiError::Upstream(error) => NoAnswer::Upstream(error),
            FastCgiError::Variable(error) => {
                NoAnswer::Refused(HandlerError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error))
            }
        })
    }
}

/// Looks where the root really is, and whether the script is there.
///
/// A responder may have its files elsewhere, say in another container. Where there is no such root
/// here, or nothing in it, there is nothing to look at.
fn look(mut script: Script, resolve: bool, is_named: bool) -> Result<Script, HandlerError> {
    use std::os::unix::ffi::OsStringExt as _;
    let root: PathBuf = as_path(&script.root).into();
    let found = if resolve { root.canonicalize() } else { std::path::absolute(&root) };
    script.root = found.map_err(HandlerError::internal)?.into_os_string().into_vec();
    let is_here = || std::fs::read_dir(as_path(&script.root)).is_ok_and(|mut files| files.next().is_some());
    if is_named && !as_path(&script.file()).is_file() && is_here() {
        return Err(HandlerError::new(StatusCode::NOT_FOUND, "there is no such script"));
    }
    Ok(script)
}

fn complain(status: Option<StatusCode>, complaint: &[u8]) {
    let body = String::from_utf8_lossy(complaint);
    let status = status.map_or(0, |status| status.as_u16());
    if status >= 400 {
        tracing::error!(target: "http.reverse_proxy.transport.fastcgi", %body, "stderr");
    } else {
        tracing::warn!(target: "http.reverse_proxy.transport.fastcgi", %body, "stderr");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(root: &std::path::Path, name: &str) -> Script {
        let root = root.to_str().unwrap().as_bytes().to_vec();
        Script { root, name: name.as_bytes().to_vec(), info: Vec::new(), is_named: true }
    }

    fn seen(root: &std::path::Path, name: &str) -> Result<(), u16> {
        look(script(root, name), false, true).map(|_| ()).map_err(|error| error.status.as_u16())
    }

    #[test]
    fn a_script_must_be_a_file_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        // Somebody else's root, which nobody can look into from here.
        assert_eq!(seen(&root, "/a.php"), Ok(()));
        std::fs::create_dir(&root).unwrap();
        assert_eq!(seen(&root, "/a.php"), Ok(()));
        std::fs::write(root.join("a.php"), "").unwrap();
        std::fs::write(root.join("cat.jpg"), "").unwrap();
        std::fs::create_dir(root.join("folder.php")).unwrap();
        std::fs::write(folder.path().join("outside.php"), "").unwrap();
        assert_eq!(seen(&root, "/a.php"), Ok(()));
        for name in ["/b.php", "/A.php", "/a.PHP", "/cat.jpg/x.php", "/folder.php", "/../outside.php"] {
            assert_eq!(seen(&root, name), Err(404), "{name}");
        }
    }

    #[test]
    fn a_linked_root_is_resolved_if_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("v2");
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("a.php"), "").unwrap();
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let root = |resolve| look(script(&link, "/a.php"), resolve, true).unwrap().root;
        assert_eq!(root(true), real.to_str().unwrap().as_bytes());
        assert_eq!(root(false), link.to_str().unwrap().as_bytes());
    }
}
