//! ZeroSSL's own interface (<https://zerossl.com/documentation/api/>).

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use serde_json::{Value, json};

use super::super::issuer::PROBLEM_CHARS_MAX;
use crate::fetch::{Client, FetchError};
use crate::tls::issuance::IssueError;

const BASE: &str = "https://api.zerossl.com";

/// The interface with the key to use it.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    /// Another one in tests.
    pub(super) base: String,
    /// What is sent as authorization; marked as not to be shown.
    key: HeaderValue,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// It could not be asked.
    #[error("asking ZeroSSL: {0}")]
    Fetch(#[from] FetchError),
    /// It does not do it, and says why.
    #[error("ZeroSSL says: HTTP {status}: {kind} ({code}){details}")]
    Refused {
        /// The answer's.
        status: u16,
        /// Its word for it.
        kind: String,
        /// Its number for it.
        code: i64,
        /// What it says of each name, if it does.
        details: String,
    },
    /// The answer makes no sense.
    #[error("an answer of ZeroSSL's that makes no sense: {0}")]
    Answer(String),
}

impl From<ApiError> for IssueError {
    fn from(error: ApiError) -> Self {
        Self::new(error)
    }
}

/// How a name is shown to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proving {
    /// By a file under a path of the name.
    File,
    /// By another name in the name's zone.
    Alias,
}

/// What ZeroSSL knows of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    /// Its name there, which can stand in a path.
    pub(super) id: String,
    /// All of it, as it came.
    pub(super) all: Value,
}

impl Ordered {
    fn read(all: Value) -> Result<Self, ApiError> {
        let id = all["id"].as_str().unwrap_or_default().to_owned();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ApiError::Answer("an id that is none".into()));
        }
        Ok(Self { id, all })
    }

    /// How far it has come: `draft`, `pending_validation`, `issued`, or an end of another kind.
    pub(super) fn status(&self) -> &str {
        self.all["status"].as_str().unwrap_or_default()
    }

    /// What is to be shown for a name.
    pub(super) fn proof(&self, name: &str) -> Result<Proof<'_>, ApiError> {
        match &self.all["validation"]["other_methods"][name] {
            Value::Object(_) => Ok(Proof(&self.all["validation"]["other_methods"][name])),
            _ => Err(ApiError::Answer(format!("it does not say how to show {name}"))),
        }
    }
}

/// What is to be shown for a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof<'a>(&'a Value);

impl<'a> Proof<'a> {
    /// The file's address by HTTP, and what is in it.
    pub(super) fn file(self) -> Result<(&'a str, String), ApiError> {
        let address = self.text("file_validation_url_http")?;
        let lines = self.0["file_validation_content"].as_array();
        let lines: Vec<&str> = lines.into_iter().flatten().filter_map(Value::as_str).collect();
        if lines.is_empty() {
            return Err(ApiError::Answer("no file_validation_content".into()));
        }
        Ok((address, lines.join("\n")))
    }

    /// A name, and what it is to be another name for.
    pub(super) fn alias(self) -> Result<(&'a str, &'a str), ApiError> {
        let name = self.text("cname_validation_p1")?;
        // No host is called so: whoever answers in ZeroSSL's place shall not lead away a site.
        if !name.starts_with('_') || !crate::dns::is_name(name) {
            return Err(ApiError::Answer("a cname_validation_p1 that does not begin with _".into()));
        }
        Ok((name, self.text("cname_validation_p2")?))
    }

    fn text(self, field: &str) -> Result<&'a str, ApiError> {
        let text = self.0[field].as_str().filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::Answer(format!("no {field}")))
    }
}

impl Api {
    /// The interface with this key; `None` if that can't be sent.
    pub(super) fn new(client: Client, key: &str) -> Option<Self> {
        let mut key = HeaderValue::from_str(&format!("ApiKey {key}")).ok()?;
        key.set_sensitive(true);
        Some(Self { client, base: BASE.to_owned(), key })
    }

    /// Orders a certificate for a name, by a request in PEM; for so many days, or as many as it likes if 0.
    pub(super) async fn create(&self, name: &str, request: &str, days: u32) -> Result<Ordered, ApiError> {
        let mut order = json!({"certificate_domains": name, "certificate_csr": request, "strict_domains": 1});
        if days > 0 {
            order["certificate_validity_days"] = json!(days);
        }
        Ordered::read(self.ask(Method::POST, "", Some(order)).await?)
    }

    /// Says that it may look.
    pub(super) async fn verify(&self, id: &str, way: Proving) -> Result<Ordered, ApiError> {
        let way = match way {
            Proving::File => "HTTP_CSR_HASH",
            Proving::Alias => "CNAME_CSR_HASH",
        };
        let body = json!({"validation_method": way});
        Ordered::read(self.ask(Method::POST, &format!("/{id}/challenges"), Some(body)).await?)
    }

    /// How far a certificate has come.
    pub(super) async fn look(&self, id: &str) -> Result<Ordered, ApiError> {
        Ordered::read(self.ask(Method::GET, &format!("/{id}"), None).await?)
    }

    /// A certificate that has been issued, with those above it, in PEM.
    pub(super) async fn download(&self, id: &str) -> Result<String, ApiError> {
        let bundle = self.ask(Method::GET, &format!("/{id}/download/return"), None).await?;
        let part = |name: &str| bundle[name].as_str().map(str::trim).filter(|part| !part.is_empty());
        let own = part("certificate.crt").ok_or_else(|| ApiError::Answer("no certificate.crt".into()))?;
        let parts = [Some(own), part("ca_bundle.crt")];
        Ok(parts.into_iter().flatten().map(|part| format!("{part}\n")).collect())
    }

    /// Gives up a certificate that has not been issued: those that wait are counted.
    pub(super) async fn cancel(&self, id: &str) -> Result<(), ApiError> {
        self.ask(Method::POST, &format!("/{id}/cancel"), None).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ApiError> {
        let address = format!("{}/certificates{path}", self.base);
        let address: Uri =
            address.parse().map_err(|error| ApiError::Answer(format!("{address}: {error}")))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = address;
        request.headers_mut().insert(AUTHORIZATION, self.key.clone());
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = body.to_string().into();
        }
        let answer = self.client.send(request).await?;
        let status = answer.status();
        let said: Value = serde_json::from_slice(answer.body())
            .map_err(|error| ApiError::Answer(format!("HTTP {}: {error}", status.as_u16())))?;
        // Its failures have a status of success, and not always the same form.
        let failed = said.get("success").is_some_and(|success| !is_true(success));
        if status.is_success() && said.is_object() && !failed && said.get("error").is_none_or(Value::is_null)
        {
            return Ok(said);
        }
        Err(refused(status.as_u16(), &said["error"]))
    }
}

/// A truth in any of the forms in which ZeroSSL says one.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "y"),
        _ => false,
    }
}

fn refused(status: u16, error: &Value) -> ApiError {
    let short = |text: &str| -> String {
        let text: String = text.chars().take(PROBLEM_CHARS_MAX).collect();
        text.escape_debug().to_string()
    };
    let details = match &error["details"] {
        Value::Null => String::new(),
        details => format!(": {}", short(&details.to_string())),
    };
    let kind = error["type"].as_str().map_or_else(|| "no reason given".to_owned(), short);
    ApiError::Refused { status, kind, code: error["code"].as_i64().unwrap_or_default(), details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truths_have_many_forms() {
        for yes in [json!(true), json!(1), json!("1"), json!("True"), json!("y")] {
            assert!(is_true(&yes), "{yes}");
        }
        for no in [json!(false), json!(0), json!("no"), json!(null), json!([])] {
            assert!(!is_true(&no), "{no}");
        }
    }

    #[test]
    fn what_is_to_be_shown_must_be_whole_and_harm_no_host() {
        let ordered = |proof: Value| {
            let other = json!({"a.test": proof});
            Ordered::read(json!({"id": "abc1", "validation": {"other_methods": other}})).unwrap()
        };
        let whole = ordered(json!({
            "file_validation_url_http": "http://a.test/x", "file_validation_content": ["1", "2"],
            "cname_validation_p1": "_x.a.test", "cname_validation_p2": "y.test",
        }));
        let proof = whole.proof("a.test").unwrap();
        assert_eq!(proof.file().unwrap(), ("http://a.test/x", "1\n2".to_owned()));
        assert_eq!(proof.alias().unwrap(), ("_x.a.test", "y.test"));
        assert!(whole.proof("b.test").is_err());
        let bad = ordered(
            json!({"file_validation_url_http": "http://a.test/x", "cname_validation_p1": "www.a.test"}),
        );
        let proof = bad.proof("a.test").unwrap();
        assert!(proof.file().unwrap_err().to_string().ends_with("no file_validation_content"));
        assert!(proof.alias().unwrap_err().to_string().ends_with("does not begin with _"));
        for id in ["", "../x", "a?b"] {
            assert!(Ordered::read(json!({"id": id})).is_err(), "{id}");
        }
    }
}
