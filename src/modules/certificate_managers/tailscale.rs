//! `tailscale`: the Tailscale client of this machine, which has certificates for the names that its network gives it.
//! It is taken for granted for names that end in `.ts.net`, and for what is got on demand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::NAMESPACE;
use crate::adapt::{Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::ModuleJson;
use crate::config::schema::{ModuleSchema, Nothing};
use crate::config::subject::{is_tailscale, matches_wildcard};
use crate::fetch::get_local;
use crate::module::Module;
use crate::tls::issuance::IssuerContext;
use crate::tls::on_demand::{Answer, CertificateManager, Hello, MANAGER_TAG, ManagerType};
use crate::tls::{Certificate, TlsError};

pub(super) static MODULE: Module = Module {
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: "tailscale", parse }],
    manager: Some(ManagerType { id: NAME, provision }),
    schemas: &[ModuleSchema::of::<Nothing>(NAMESPACE, NAME)],
    ..Module::EMPTY
};

const NAME: &str = "tailscale";
/// Where the client listens, unless the environment says otherwise.
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";
/// The variable by which the environment says otherwise, as for Tailscale's own programs.
const SOCKET_VARIABLE: &str = "TS_SOCKET";
/// What its interface is called.
const HOST: &str = "local-tailscaled.sock";
/// Where it says which names it has. Of its peers, of whom there may be thousands, nothing is wanted.
const STATUS: &str = "/localapi/v0/status?peers=false";
/// It must say so within this time.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// It may have to get a certificate itself first.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(60);
/// So many questions are asked at once, of all configurations: strangers cause them. Further ones are refused.
const QUESTIONS_MAX: usize = 32;
static QUESTIONS: Semaphore = Semaphore::const_new(QUESTIONS_MAX);
/// Of what it says against it, so much is told.
const PROBLEM_CHARS_MAX: usize = 200;

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    // An empty block is none.
    if cursor.next_block(0) {
        return Err(cursor.err(format!("unrecognized subdirective '{}'", cursor.val())));
    }
    Ok(json!({}))
}

fn provision(json: &ModuleJson, _: &IssuerContext<'_>) -> Result<Arc<dyn CertificateManager>, TlsError> {
    let Nothing {} = json.decode(MANAGER_TAG)?;
    let said = std::env::var_os(SOCKET_VARIABLE).filter(|said| !said.is_empty());
    Ok(Arc::new(Tailscale { socket: said.map_or_else(|| SOCKET.into(), PathBuf::from) }))
}

#[derive(Debug)]
struct Tailscale {
    socket: PathBuf,
}

/// What the client says of itself, as far as it is of use.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Status {
    cert_domains: Option<Vec<String>>,
}

impl Tailscale {
    async fn ask(&self, target: &str, timeout: Duration) -> Result<Bytes, String> {
        let answer =
            get_local(&self.socket, HOST, target, timeout).await.map_err(|error| error.to_string())?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let said = said["Error"].as_str().map_or_else(|| String::from_utf8_lossy(answer.body()), Into::into);
        let said: String = said.trim().chars().take(PROBLEM_CHARS_MAX).collect();
        Err(format!("HTTP {}: {}", answer.status().as_u16(), said.escape_debug()))
    }

    /// Whether it has a certificate for a name.
    async fn has(&self, name: &str) -> Result<bool, String> {
        let status = self.ask(STATUS, STATUS_TIMEOUT).await?;
        let status: Status = serde_json::from_slice(&status).map_err(|error| error.to_string())?;
        let domains = status.cert_domains.unwrap_or_default();
        Ok(domains.iter().any(|domain| matches_wildcard(name, domain)))
    }

    async fn certificate_of(&self, name: &str) -> Result<Option<Arc<Certificate>>, String> {
        let Ok(_turn) = QUESTIONS.try_acquire() else {
            return Err("too many handshakes ask Tailscale".into());
        };
        match self.has(name).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // It may have one nevertheless, as in Caddy.
            Err(error) => {
                tracing::debug!(target: "tls.get_certificate.tailscale", error, "could not get status; will try to get certificate anyway");
            }
        }
        let target = format!("/localapi/v0/cert/{name}?type=pair");
        let pair = self.ask(&target, CERTIFICATE_TIMEOUT).await?;
        let certificate = Certificate::from_pem(&pair, NAME, &pair, NAME, Vec::new());
        certificate.map(|certificate| Some(Arc::new(certificate))).map_err(|error| error.to_string())
    }
}

impl CertificateManager for Tailscale {
    fn certificate<'a>(&'a self, hello: &'a Hello) -> Answer<'a, Result<Option<Arc<Certificate>>, String>> {
        Box::pin(async move {
            if is_tailscale(&hello.server_name) {
                self.certificate_of(&hello.server_name).await
            } else {
                Ok(None)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::fetch::testing::{Asked, serve_at};

    /// The client at a socket of its own, and what it was asked.
    struct Stand {
        _folder: tempfile::TempDir,
        tailscale: Tailscale,
        asked: Arc<Mutex<Vec<String>>>,
    }

    fn stand(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Stand {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        serve_at(&socket, move |question| {
            assert_eq!((question.method.as_str(), question.field("host").as_str()), ("GET", HOST));
            log.lock().unwrap().push(question.target.clone());
            answer(question)
        });
        Stand { _folder: folder, tailscale: Tailscale { socket }, asked }
    }

    fn pair() -> String {
        let made = rcgen::generate_simple_self_signed(vec!["x.tail.ts.net".to_owned()]).unwrap();
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
    }

    async fn got(stand: &Stand, name: &str) -> Result<Option<Arc<Certificate>>, String> {
        let hello = Hello { server_name: name.to_owned(), ..Hello::default() };
        stand.tailscale.certificate(&hello).await
    }

    #[tokio::test]
    async fn it_gives_certificates_for_its_own_names_alone() {
        let pair = pair();
        let stand = stand(move |asked| match asked.target.as_str() {
            STATUS => (200, json!({"CertDomains": ["x.tail.ts.net"], "Self": {}}).to_string()),
            "/localapi/v0/cert/x.tail.ts.net?type=pair" => (200, pair.clone()),
            other => panic!("{other}"),
        });
        let found = got(&stand, "x.tail.ts.net").await.unwrap().unwrap();
        assert!(found.names().any(|name| name == "x.tail.ts.net"));
        assert!(got(&stand, "y.tail.ts.net").await.unwrap().is_none());
        assert_eq!(stand.asked.lock().unwrap().len(), 3);
        // It is not even asked about others.
        assert!(got(&stand, "a.test").await.unwrap().is_none());
        assert!(got(&stand, "").await.unwrap().is_none());
        assert_eq!(stand.asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_it_says_against_it_is_told() {
        let refusing = stand(|asked| match asked.target.as_str() {
            STATUS => (403, "Denied".into()),
            _ => (500, json!({"Error": "no\nluck"}).to_string()),
        });
        // Without a status it is tried nevertheless.
        let error = got(&refusing, "x.tail.ts.net").await.unwrap_err();
        assert_eq!(error, "HTTP 500: no\\nluck");
        assert_eq!(refusing.asked.lock().unwrap().len(), 2);
        let silly = stand(|_| (200, "{}".into()));
        assert!(got(&silly, "x.tail.ts.net").await.unwrap().is_none(), "it names no names");
        let silly = stand(|asked| match asked.target.as_str() {
            STATUS => (200, r#"{"CertDomains":["x.tail.ts.net"]}"#.into()),
            _ => (200, "no PEM".into()),
        });
        let error = got(&silly, "x.tail.ts.net").await.unwrap_err();
        assert!(error.starts_with("tailscale: "), "{error}");
        let nobody = Tailscale { socket: "/nowhere/sock".into() };
        let hello = Hello { server_name: "x.tail.ts.net".into(), ..Hello::default() };
        let error = nobody.certificate(&hello).await.unwrap_err();
        assert!(error.starts_with("/nowhere/sock: "), "{error}");
    }
}
