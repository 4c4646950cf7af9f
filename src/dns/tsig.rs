//! Messages signed with a key that both sides know (RFC 8945).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{Reader, write_name};

/// The kind of the record that signs.
const TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;
/// The clocks of both sides may differ by so many seconds (RFC 8945 section 10 recommends it).
const FUDGE: u16 = 300;
/// Where a message says how many additional records it has.
const ADDITIONAL_AT: usize = 10;
const HEADER_BYTES: usize = 12;

const ALGORITHMS: &[(&str, hmac::Algorithm)] = &[
    ("hmac-sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
    ("hmac-sha224", hmac::HMAC_SHA224),
    ("hmac-sha256", hmac::HMAC_SHA256),
    ("hmac-sha384", hmac::HMAC_SHA384),
    ("hmac-sha512", hmac::HMAC_SHA512),
];

/// A key, its name, and what it is used with.
#[derive(Clone)]
pub struct TsigKey {
    name: String,
    algorithm: &'static str,
    key: hmac::Key,
}

/// Why there is no such key.
#[derive(Debug, thiserror::Error)]
pub enum TsigKeyError {
    /// Its name is no domain name.
    #[error("invalid key name '{0}'")]
    Name(String),
    /// What it is to be used with is not known.
    #[error("unknown key algorithm '{0}': there are {known}", known = names())]
    Algorithm(String),
    /// It can't be read.
    #[error("the key is no base64, or empty")]
    Secret,
}

/// Why an answer is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// It is no message.
    #[error("malformed")]
    Malformed,
    /// Nobody has signed it.
    #[error("not signed")]
    Unsigned,
    /// The server does not accept our signature, and says why.
    #[error("the server does not accept the key: {0}")]
    Refused(&'static str),
    /// Someone else has signed it, or it has been changed.
    #[error("its signature is wrong")]
    Wrong,
    /// It was signed at another time than now.
    #[error("it was signed at another time; is the clock right?")]
    Time,
}

fn names() -> String {
    ALGORITHMS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey").field("name", &self.name).field("algorithm", &self.algorithm).finish()
    }
}

/// The fields of a signature that are signed themselves.
struct Variables<'a> {
    /// In seconds since 1970.
    time: u64,
    fudge: u16,
    error: u16,
    other: &'a [u8],
}

impl TsigKey {
    /// The key of this name. `secret` is base64.
    ///
    /// # Errors
    /// [`TsigKeyError`], which never holds the secret.
    pub fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, TsigKeyError> {
        // In digests both names are lower-case (RFC 8945 section 4.3.3).
        let name = name.to_ascii_lowercase();
        if write_name(&mut Vec::new(), &name).is_none() {
            return Err(TsigKeyError::Name(name));
        }
        let wanted = algorithm.strip_suffix('.').unwrap_or(algorithm);
        let known = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let (algorithm, hash) = known.ok_or_else(|| TsigKeyError::Algorithm(algorithm.to_owned()))?;
        let bytes = STANDARD.decode(secret).map_err(|_| TsigKeyError::Secret)?;
        if bytes.is_empty() {
            return Err(TsigKeyError::Secret);
        }
        Ok(Self { name, algorithm, key: hmac::Key::new(*hash, &bytes) })
    }

    /// Signs a message, at `now` in seconds since 1970. Gives the signature, which the answer's holds.
    pub(super) fn sign(&self, message: &mut Vec<u8>, now: u64) -> Vec<u8> {
        let id = [message[0], message[1]];
        let variables = Variables { time: now, fudge: FUDGE, error: 0, other: &[] };
        let signed = [&message[..], &self.digested(&variables)].concat();
        let mac = hmac::sign(&self.key, &signed).as_ref().to_vec();
        let mut data = Vec::new();
        self.write(&mut data, self.algorithm);
        data.extend_from_slice(&now.to_be_bytes()[2..]);
        data.extend_from_slice(&FUDGE.to_be_bytes());
        data.extend_from_slice(&length(&mac).to_be_bytes());
        data.extend_from_slice(&mac);
        data.extend_from_slice(&id);
        data.extend_from_slice(&[0; 4]);
        self.write(message, &self.name);
        message.extend_from_slice(&TSIG.to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&length(&data).to_be_bytes());
        message.extend_from_slice(&data);
        let additional = u16::from_be_bytes([message[ADDITIONAL_AT], message[ADDITIONAL_AT + 1]]) + 1;
        message[ADDITIONAL_AT..ADDITIONAL_AT + 2].copy_from_slice(&additional.to_be_bytes());
        mac
    }

    /// Whether an answer to the message that was signed with `request_mac` is signed with the same key.
    pub(super) fn verify(&self, answer: &[u8], request_mac: &[u8], now: u64) -> Result<(), TsigError> {
        let signature = Signature::find(answer).ok_or(TsigError::Malformed)?.ok_or(TsigError::Unsigned)?;
        // Whoever does not know our key can't sign (RFC 8945 section 5.3.2).
        if signature.mac.is_empty() && signature.variables.error != 0 {
            return Err(TsigError::Refused(error_name(signature.variables.error)));
        }
        let names = [(&signature.name, self.name.as_str()), (&signature.algorithm, self.algorithm)];
        let same = |(said, own): (&String, &str)| {
            said.trim_end_matches('.').eq_ignore_ascii_case(own.trim_end_matches('.'))
        };
        if !names.into_iter().all(same) {
            return Err(TsigError::Wrong);
        }
        let mut signed = length(request_mac).to_be_bytes().to_vec();
        signed.extend_from_slice(request_mac);
        let head = signed.len();
        signed.extend_from_slice(&answer[..signature.start]);
        signed[head..head + 2].copy_from_slice(&signature.original_id);
        let additional = u16::from_be_bytes([answer[ADDITIONAL_AT], answer[ADDITIONAL_AT + 1]]) - 1;
        signed[head + ADDITIONAL_AT..head + HEADER_BYTES].copy_from_slice(&additional.to_be_bytes());
        signed.extend_from_slice(&self.digested(&signature.variables));
        hmac::verify(&self.key, &signed, signature.mac).map_err(|_| TsigError::Wrong)?;
        match signature.variables {
            Variables { error, .. } if error != 0 => Err(TsigError::Refused(error_name(error))),
            Variables { time, fudge, .. } if time.abs_diff(now) > u64::from(fudge) => Err(TsigError::Time),
            _ => Ok(()),
        }
    }

    /// What is digested after the message (RFC 8945 section 4.3.3).
    fn digested(&self, variables: &Variables<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, &self.name);
        out.extend_from_slice(&CLASS_ANY.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        self.write(&mut out, self.algorithm);
        out.extend_from_slice(&variables.time.to_be_bytes()[2..]);
        out.extend_from_slice(&variables.fudge.to_be_bytes());
        out.extend_from_slice(&variables.error.to_be_bytes());
        out.extend_from_slice(&length(variables.other).to_be_bytes());
        out.extend_from_slice(variables.other);
        out
    }

    fn write(&self, out: &mut Vec<u8>, name: &str) {
        write_name(out, name).expect("invariant: it has been written before");
    }
}

/// The signature of a message.
struct Signature<'a> {
    /// Where its record begins.
    start: usize,
    name: String,
    algorithm: String,
    mac: &'a [u8],
    original_id: [u8; 2],
    variables: Variables<'a>,
}

impl<'a> Signature<'a> {
    /// The last record of a message, if it is a signature. `None` if the message is malformed.
    #[expect(clippy::option_option, reason = "a malformed message is not the same as an unsigned one")]
    fn find(bytes: &'a [u8]) -> Option<Option<Self>> {
        let mut reader = Reader { bytes, at: 4 };
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = reader.number()?;
        }
        for _ in 0..counts[0] {
            reader.name()?;
            reader.take(4)?;
        }
        let records = counts[1..].iter().map(|count| u32::from(*count)).sum::<u32>();
        let mut found = None;
        for _ in 0..records {
            let start = reader.at;
            let name = reader.name()?;
            let (kind, class) = (reader.number()?, reader.number()?);
            reader.take(4)?;
            let length = usize::from(reader.number()?);
            let mut data = Reader { at: reader.at, ..reader };
            reader.take(length)?;
            // It counts only as the last one of the message.
            let is_last = reader.at == bytes.len();
            if kind == TSIG && class == CLASS_ANY && is_last && counts[3] > 0 {
                found = Some(Self::read(&mut data, start, name)?);
            }
        }
        Some(found)
    }

    fn read(data: &mut Reader<'a>, start: usize, name: String) -> Option<Self> {
        let algorithm = data.name()?;
        let mut time = [0; 8];
        time[2..].copy_from_slice(data.take(6)?);
        let (fudge, mac_length) = (data.number()?, data.number()?);
        let mac = data.take(usize::from(mac_length))?;
        let original_id = data.take(2)?.try_into().ok()?;
        let (error, other_length) = (data.number()?, data.number()?);
        let other = data.take(usize::from(other_length))?;
        let variables = Variables { time: u64::from_be_bytes(time), fudge, error, other };
        Some(Self { start, name, algorithm, mac, original_id, variables })
    }
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("invariant: what is signed is short")
}

/// RFC 8945 section 3, errors of signatures.
fn error_name(error: u16) -> &'static str {
    match error {
        16 => "BADSIG, its secret or its algorithm is another",
        17 => "BADKEY, there is none of this name",
        18 => "BADTIME, the clocks differ",
        22 => "BADTRUNC, the signature is too short",
        _ => "for an unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn key(secret: &str) -> TsigKey {
        TsigKey::new("Key.test.", "HMAC-SHA256.", secret).unwrap()
    }

    /// A header, and a question for `a.test`.
    fn message(flags: u8) -> Vec<u8> {
        let mut message = vec![7, 8, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        write_name(&mut message, "a.test").unwrap();
        message.extend_from_slice(&[0, 6, 0, 1]);
        message
    }

    /// An answer, signed as a server does: with the request's signature before it.
    fn answered(key: &TsigKey, request_mac: &[u8], now: u64) -> Vec<u8> {
        let plain = message(0xa8);
        let mut prefixed = length(request_mac).to_be_bytes().to_vec();
        prefixed.extend_from_slice(request_mac);
        let variables = Variables { time: now, fudge: FUDGE, error: 0, other: &[] };
        let signed = [&prefixed[..], &plain, &key.digested(&variables)].concat();
        let mac = hmac::sign(&key.key, &signed);
        let mut answer = plain;
        let own = key.sign(&mut answer, now);
        let at = answer.windows(own.len()).position(|part| part == own).unwrap();
        answer[at..at + own.len()].copy_from_slice(mac.as_ref());
        answer
    }

    #[test]
    fn keys_are_what_their_texts_say_and_tell_nothing() {
        let error = |name, algorithm, secret| TsigKey::new(name, algorithm, secret).unwrap_err().to_string();
        assert_eq!(error("", "hmac-sha256", "AAAA"), "invalid key name ''");
        assert!(
            error("a", "hmac-md5", "AAAA")
                .starts_with("unknown key algorithm 'hmac-md5': there are hmac-sha1, ")
        );
        for secret in ["", "s%cret"] {
            assert_eq!(error("a", "hmac-sha512", secret), "the key is no base64, or empty");
        }
        assert_eq!(
            format!("{:?}", key("c2VjcmV0")),
            r#"TsigKey { name: "key.test.", algorithm: "hmac-sha256" }"#
        );
    }

    #[test]
    fn an_answer_is_believed_if_the_same_key_has_signed_it_now() {
        let own = key("c2VjcmV0");
        let mac = own.sign(&mut message(0x28), NOW);
        let answer = answered(&own, &mac, NOW);
        assert_eq!(own.verify(&answer, &mac, NOW + 299), Ok(()));
        // Who passes it on may change its number.
        let mut passed_on = answer.clone();
        passed_on[0] ^= 0xff;
        assert_eq!(own.verify(&passed_on, &mac, NOW), Ok(()));
        assert_eq!(own.verify(&answer, &mac, NOW + 301), Err(TsigError::Time));
        assert_eq!(own.verify(&answer, &mac, NOW - 301), Err(TsigError::Time));
        assert_eq!(own.verify(&answer, b"another", NOW), Err(TsigError::Wrong));
        assert_eq!(key("b3RoZXI=").verify(&answer, &mac, NOW), Err(TsigError::Wrong));
        let other_name = TsigKey::new("other.test", "hmac-sha256", "c2VjcmV0").unwrap();
        assert_eq!(other_name.verify(&answer, &mac, NOW), Err(TsigError::Wrong));
        assert_eq!(own.verify(&message(0xa8), &mac, NOW), Err(TsigError::Unsigned));
        let mut changed = answer.clone();
        changed[3] ^= 1;
        assert_eq!(own.verify(&changed, &mac, NOW), Err(TsigError::Wrong));
        for cut in 0..answer.len() {
            assert_eq!(own.verify(&answer[..cut], &mac, NOW), Err(TsigError::Malformed), "{cut}");
        }
    }

    #[test]
    fn what_the_server_has_against_the_key_is_told() {
        let own = key("c2VjcmV0");
        let mut answer = message(0xa8);
        let mac = own.sign(&mut answer, NOW);
        // The record without a signature, and with an error.
        let at = answer.windows(mac.len()).position(|part| part == mac).unwrap();
        answer.splice(at..at + mac.len(), []);
        answer[at - 2..at].copy_from_slice(&[0, 0]);
        let end = answer.len();
        answer[end - 4..end - 2].copy_from_slice(&[0, 17]);
        let data_length = at - 2 - 2 - 6 - 13;
        let whole = u16::try_from(end - data_length).unwrap();
        answer[data_length - 2..data_length].copy_from_slice(&whole.to_be_bytes());
        let error = own.verify(&answer, &mac, NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server does not accept the key: BADKEY, there is none of this name"
        );
    }
}
