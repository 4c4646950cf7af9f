//! Signed messages that the protocol's crate can't make (RFC 8555 section 6.2).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, Response};
use instant_acme::{Error, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::Known;
use super::client::Carrier;

/// So often a message is sent if the authority has no patience with its number.
const ATTEMPTS: usize = 4;

/// Posts a message to an address that an account signs; without content if `payload` is empty.
pub(super) async fn post(
    known: &Known,
    carrier: &Carrier,
    (address, nonce): (&str, &str),
    payload: &str,
    accept: &'static str,
) -> Result<Response<Bytes>, Error> {
    let other = |problem: String| Error::Other(problem.into());
    let header = json!({"alg": "ES256", "kid": known.location, "nonce": nonce, "url": address});
    let (protected, payload) = (URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, known.key.secret_pkcs8_der())
        .map_err(|error| other(format!("the account's key: {error}")))?;
    let signature = signer
        .sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes())
        .map_err(|error| other(error.to_string()))?;
    let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
    let body = json!({"protected": protected, "payload": payload, "signature": signature});
    let mut request = Request::new(Bytes::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.parse().map_err(|error| other(format!("{address}: {error}")))?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jose+json"));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
    let answer = carrier.client().send(request).await.map_err(|error| Error::Other(Box::new(error)))?;
    carrier.note(answer.headers());
    Ok(answer)
}

/// What a directory tells that is needed here (RFC 8555 section 7.1.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_order: String,
    renewal_info: Option<String>,
}

/// Makes an order of this content, and tells its address. What it follows (`replaces`) is left out where the
/// authority does not know such things.
pub(super) async fn new_order(
    known: &Known,
    carrier: &Carrier,
    directory: &str,
    mut order: Value,
) -> Result<String, Error> {
    let other = |problem: String| Error::Other(problem.into());
    let fetched = carrier.client().get(directory).await.map_err(|error| Error::Other(Box::new(error)))?;
    let Directory { new_nonce, new_order, renewal_info } =
        serde_json::from_slice(fetched.body()).map_err(|error| other(format!("the directory: {error}")))?;
    if let (None, Value::Object(order)) = (renewal_info, &mut order) {
        order.remove("replaces");
    }
    let mut attempt = 1;
    loop {
        let nonce = fresh_nonce(carrier, &new_nonce).await?;
        let payload = order.to_string();
        let answer = post(known, carrier, (&new_order, &nonce), &payload, "application/json").await?;
        if answer.status().is_success() {
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            return location.map(str::to_owned).ok_or_else(|| other("the order has no address".into()));
        }
        let problem: Problem = serde_json::from_slice(answer.body())
            .map_err(|_| other(format!("the authority answers with {}", answer.status())))?;
        let is_late = problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce"));
        if !is_late || attempt == ATTEMPTS {
            return Err(Error::Api(problem));
        }
        attempt += 1;
    }
}

async fn fresh_nonce(carrier: &Carrier, address: &str) -> Result<String, Error> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() =
        address.parse().map_err(|error| Error::Other(format!("{address}: {error}").into()))?;
    let answer = carrier.client().send(request).await.map_err(|error| Error::Other(Box::new(error)))?;
    carrier.note(answer.headers());
    carrier.seen().nonce.ok_or_else(|| Error::Other("the authority gives no nonce".into()))
}
