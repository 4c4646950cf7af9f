//! Messages and who signed them (RFC 7515, RFC 7517, as RFC 8555 section 6.2 narrows them).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::problem::{Kind, Problem};

/// How messages may be signed.
pub(super) const ALGORITHMS: &[&str] =
    &["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// An RSA key has at least so many bytes.
const RSA_BYTES_MIN: usize = 256;
/// And at most so many.
const RSA_BYTES_MAX: usize = 1024;

/// A message, not verified yet.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    /// What is said; empty for a question (`POST-as-GET`).
    pub(super) payload: Vec<u8>,
    /// What is signed.
    signed: String,
    signature: Vec<u8>,
}

/// What a message says of itself, covered by its signature.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    alg: String,
    #[serde(default)]
    pub(super) nonce: String,
    #[serde(default)]
    pub(super) url: String,
    pub(super) jwk: Option<Jwk>,
    pub(super) kid: Option<String>,
    /// Names of further fields that must be understood.
    crit: Option<Value>,
    /// RFC 7797, which must not be used.
    b64: Option<Value>,
}

/// The message's form: flattened, with one signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

/// A public key. What there is of it beside the members that make the thumbprint is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub(super) enum Jwk {
    #[serde(rename = "EC")]
    Ec {
        crv: String,
        x: String,
        y: String,
        #[serde(default, skip_serializing)]
        d: Option<String>,
    },
    #[serde(rename = "RSA")]
    Rsa {
        e: String,
        n: String,
        #[serde(default, skip_serializing)]
        d: Option<String>,
    },
    #[serde(rename = "OKP")]
    Okp {
        crv: String,
        x: String,
        #[serde(default, skip_serializing)]
        d: Option<String>,
    },
}

impl Message {
    /// Reads a message's form; nothing is verified.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let flattened: Flattened = serde_json::from_slice(body)
            .map_err(|error| Problem::malformed(format!("the body is no flattened JWS: {error}")))?;
        let decode = |name: &str, text: &str| {
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|_| Problem::malformed(format!("'{name}' is no base64url without padding")))
        };
        let header = decode("protected", &flattened.protected)?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| Problem::malformed(format!("the protected header: {error}")))?;
        let message = Self {
            payload: decode("payload", &flattened.payload)?,
            signature: decode("signature", &flattened.signature)?,
            signed: format!("{}.{}", flattened.protected, flattened.payload),
            header,
        };
        message.check_header()?;
        Ok(message)
    }

    fn check_header(&self) -> Result<(), Problem> {
        let header = &self.header;
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(Problem::new(Kind::BadSignatureAlgorithm, ""));
        }
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Problem::malformed("extensions of the header are not supported"));
        }
        match (&header.jwk, &header.kid) {
            (Some(_), Some(_)) => Err(Problem::malformed("jwk and kid are mutually exclusive")),
            (None, None) => Err(Problem::malformed("either jwk or kid must be in the protected header")),
            (Some(jwk), None) => jwk.check(),
            (None, Some(_)) => Ok(()),
        }
    }

    /// Whether this key has signed it.
    pub(super) fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        let (message, signature) = (self.signed.as_bytes(), self.signature.as_slice());
        let unfit = || Problem::malformed("the key's type and the signature's algorithm do not match");
        let verified = match key {
            Jwk::Ec { crv, x, y, .. } => {
                let algorithm: &dyn VerificationAlgorithm = match (crv.as_str(), self.header.alg.as_str()) {
                    ("P-256", "ES256") => &ECDSA_P256_SHA256_FIXED,
                    ("P-384", "ES384") => &ECDSA_P384_SHA384_FIXED,
                    ("P-521", "ES512") => &ECDSA_P521_SHA512_FIXED,
                    _ => return Err(unfit()),
                };
                let point = [&[4][..], &decoded(x)?, &decoded(y)?].concat();
                UnparsedPublicKey::new(algorithm, point).verify(message, signature)
            }
            Jwk::Okp { x, .. } if self.header.alg == "EdDSA" => {
                UnparsedPublicKey::new(&ED25519, decoded(x)?).verify(message, signature)
            }
            Jwk::Rsa { e, n, .. } => {
                let parameters: &RsaParameters = match self.header.alg.as_str() {
                    "RS256" => &RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &RSA_PSS_2048_8192_SHA256,
                    "PS384" => &RSA_PSS_2048_8192_SHA384,
                    "PS512" => &RSA_PSS_2048_8192_SHA512,
                    _ => return Err(unfit()),
                };
                let key = RsaPublicKeyComponents { n: decoded(n)?, e: decoded(e)? };
                key.verify(parameters, message, signature)
            }
            Jwk::Okp { .. } => return Err(unfit()),
        };
        verified.map_err(|_| Problem::malformed("the signature is wrong"))
    }
}

impl Jwk {
    /// Whether it is a public key of a kind that is known.
    fn check(&self) -> Result<(), Problem> {
        let bad = |why: &str| Err(Problem::new(Kind::BadPublicKey, why));
        let (Self::Ec { d, .. } | Self::Rsa { d, .. } | Self::Okp { d, .. }) = self;
        if d.is_some() {
            return bad("it is a private key");
        }
        match self {
            Self::Ec { crv, x, y, .. } => {
                let bytes = match crv.as_str() {
                    "P-256" => 32,
                    "P-384" => 48,
                    "P-521" => 66,
                    _ => return bad("the curve is not supported"),
                };
                if decoded(x)?.len() != bytes || decoded(y)?.len() != bytes {
                    return bad("a coordinate has the wrong length");
                }
            }
            Self::Okp { crv, x, .. } => {
                if crv != "Ed25519" || decoded(x)?.len() != 32 {
                    return bad("it is no Ed25519 key");
                }
            }
            Self::Rsa { e, n, .. } => {
                let (n, e) = (decoded(n)?, decoded(e)?);
                if n.first().is_none_or(|byte| *byte == 0) || e.first().is_none_or(|byte| *byte == 0) {
                    return bad("a number has leading zeros");
                }
                if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&n.len()) || e.len() > 8 {
                    return bad("RSA keys must have between 2048 and 8192 bits");
                }
            }
        }
        Ok(())
    }

    /// The key's digest (RFC 7638).
    pub(super) fn thumbprint(&self) -> [u8; 32] {
        // The members in their order, and nothing that would have to be escaped: all is base64url or known.
        let members = match self {
            Self::Ec { crv, x, y, .. } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Rsa { e, n, .. } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Okp { crv, x, .. } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        };
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, members.as_bytes()).as_ref());
        thumbprint
    }

    /// What shows that the holder of this key wants a challenge to be met (RFC 8555 section 8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        format!("{token}.{}", URL_SAFE_NO_PAD.encode(self.thumbprint()))
    }

    /// Whether it is the key of a certificate.
    pub(super) fn is(&self, certified: &SubjectPublicKeyInfo<'_>) -> bool {
        let Ok(key) = certified.parsed() else { return false };
        match (self, key) {
            (Self::Ec { x, y, .. }, PublicKey::EC(point)) => {
                let (Ok(x), Ok(y)) = (decoded(x), decoded(y)) else { return false };
                // Curves differ in the length of their points.
                point.data() == [&[4][..], &x, &y].concat()
            }
            (Self::Rsa { n, e, .. }, PublicKey::RSA(key)) => {
                let (Ok(n), Ok(e)) = (decoded(n), decoded(e)) else { return false };
                without_zeros(key.modulus) == n && without_zeros(key.exponent) == e
            }
            (Self::Okp { x, .. }, PublicKey::Unknown(raw)) => {
                // RFC 8410.
                certified.algorithm.algorithm.to_id_string() == "1.3.101.112"
                    && decoded(x).is_ok_and(|x| x == raw)
            }
            _ => false,
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn decoded(text: &str) -> Result<Vec<u8>, Problem> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| Problem::new(Kind::BadPublicKey, "a member is no base64url without padding"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_known_by_their_digest() {
        // RFC 7638 section 3.1.
        let key: Jwk = serde_json::from_value(json!({
            "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        }))
        .unwrap();
        assert_eq!(key.key_authorization("t"), "t.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
