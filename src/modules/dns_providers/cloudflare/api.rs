//! Cloudflare's API, as far as it is about records (<https://developers.cloudflare.com/api/>).

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::acme::dns01::{ProviderError, Record};
use crate::dns::RecordData;
use crate::fetch::Client;

const BASE: &str = "https://api.cloudflare.com/client/v4";
/// A time to live that Cloudflare chooses.
const TTL_AUTOMATIC: u64 = 1;
/// A list comes in pages of so many entries, the most that there may be.
const PAGE_ENTRIES: usize = 100;
/// So many pages are read.
const PAGES_MAX: usize = 20;
/// There is such a record already, which is as good.
const CODE_IDENTICAL_RECORD: i64 = 81058;
/// Of what is wrong, so much is told.
const ERRORS_MAX: usize = 4;
const ERROR_CHARS_MAX: usize = 200;

/// The API with the tokens to use it.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    /// Another one in tests.
    pub(super) base: String,
    /// What is sent as authorization; marked as not to be shown.
    token: HeaderValue,
    zone_token: HeaderValue,
}

/// What all answers have.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    #[serde(default)]
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Zone {
    id: String,
}

#[derive(Deserialize)]
struct Known {
    id: String,
    content: String,
}

/// Why there is no result.
enum Failure {
    /// Cloudflare's word.
    Said(u16, Vec<Problem>),
    Other(ProviderError),
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Other(error) => error,
            Failure::Said(status, problems) => {
                let told = problems.iter().take(ERRORS_MAX).map(|Problem { code, message }| {
                    let message: String = message.chars().take(ERROR_CHARS_MAX).collect();
                    format!("{} ({code})", message.escape_debug())
                });
                let told: Vec<String> = told.collect();
                Self::Refused(format!("Cloudflare says: HTTP {status}: {}", told.join("; ")))
            }
        }
    }
}

impl Api {
    /// The API with these tokens; without one for zones, the other is used there too. `None` if one
    /// can't be sent.
    pub(super) fn new(client: Client, token: &str, zone_token: &str) -> Option<Self> {
        let authorization = |token: &str| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let zone_token = if zone_token.is_empty() { token } else { zone_token };
        Some(Self {
            client,
            base: BASE.to_owned(),
            token: authorization(token)?,
            zone_token: authorization(zone_token)?,
        })
    }

    /// The id of a zone.
    pub(super) async fn zone(&self, name: &str) -> Result<String, ProviderError> {
        let name = name.trim_end_matches('.');
        let target = format!("/zones?name={}", encoded(name));
        let zones: Vec<Zone> = self.ask(Method::GET, &target, &self.zone_token, None).await?;
        match <[Zone; 1]>::try_from(zones) {
            Ok([zone]) => id(zone.id),
            Err(zones) => {
                let count = zones.len();
                Err(ProviderError::Refused(format!(
                    "Cloudflare has {count} zones {name} for this token, not 1"
                )))
            }
        }
    }

    /// Adds a record.
    pub(super) async fn create(&self, zone: &str, record: &Record) -> Result<(), ProviderError> {
        let ttl = match record.ttl.as_secs() {
            0 => TTL_AUTOMATIC,
            seconds => seconds,
        };
        let content = content(&record.data);
        let kind = record.data.type_name();
        let body = json!({ "type": kind, "name": record.name, "content": content, "ttl": ttl });
        let target = format!("/zones/{zone}/dns_records");
        let created: Result<Value, Failure> = self.ask(Method::POST, &target, &self.token, Some(body)).await;
        match created {
            Err(Failure::Said(_, problems))
                if problems.iter().any(|problem| problem.code == CODE_IDENTICAL_RECORD) =>
            {
                Ok(())
            }
            created => Ok(created.map(drop)?),
        }
    }

    /// The ids of the records with this name and data.
    pub(super) async fn find(&self, zone: &str, record: &Record) -> Result<Vec<String>, ProviderError> {
        let kind = record.data.type_name();
        let mut found = Vec::new();
        for page in 1..=PAGES_MAX {
            let name = encoded(&record.name);
            let target = format!(
                "/zones/{zone}/dns_records?type={kind}&name={name}&page={page}&per_page={PAGE_ENTRIES}"
            );
            let records: Vec<Known> = self.ask(Method::GET, &target, &self.token, None).await?;
            let is_last = records.len() < PAGE_ENTRIES;
            let wanted = records.into_iter().filter(|other| says(&other.content, &record.data));
            found.extend(wanted.map(|record| id(record.id)));
            if is_last {
                break;
            }
        }
        found.into_iter().collect()
    }

    /// Removes a record.
    pub(super) async fn remove(&self, zone: &str, id: &str) -> Result<(), ProviderError> {
        let target = format!("/zones/{zone}/dns_records/{id}");
        let _: Value = self.ask(Method::DELETE, &target, &self.token, None).await?;
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        token: &HeaderValue,
        body: Option<Value>,
    ) -> Result<T, Failure> {
        let nonsense = |problem: String| Failure::Other(ProviderError::Answer(problem));
        let address = format!("{}{target}", self.base);
        let uri: Uri = address.parse().map_err(|error| nonsense(format!("{address}: {error}")))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().insert(AUTHORIZATION, token.clone());
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = body.to_string().into();
        }
        let answer = self.client.send(request).await.map_err(|error| Failure::Other(error.into()))?;
        let status = answer.status();
        let answer: Answer<T> = serde_json::from_slice(answer.body())
            .map_err(|error| nonsense(format!("HTTP {}: {error}", status.as_u16())))?;
        match answer.result {
            Some(result) if status.is_success() && answer.success && answer.errors.is_empty() => Ok(result),
            _ => Err(Failure::Said(status.as_u16(), answer.errors)),
        }
    }
}

/// An id as part of a path, which it must not lead out of.
fn id(text: String) -> Result<String, ProviderError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text)
    } else {
        Err(ProviderError::Answer("an id that is none".into()))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A record's data as Cloudflare wants it: texts between quotes, names without a dot at their end.
fn content(data: &RecordData) -> String {
    match data {
        RecordData::Text(text) => format!("\"{text}\""),
        RecordData::Alias(target) => target.trim_end_matches('.').to_owned(),
    }
}

/// Whether a record of Cloudflare's says this; another program may have written a text without quotes.
fn says(said: &str, data: &RecordData) -> bool {
    match data {
        RecordData::Text(text) => said == text || said == content(data),
        RecordData::Alias(_) => said.trim_end_matches('.').eq_ignore_ascii_case(&content(data)),
    }
}
