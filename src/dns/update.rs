//! Changing a zone at its server (RFC 2136), with signed messages.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::{CLASS_IN, Kind, write_name};
use super::random;
use super::server::{Server, exchange_tcp};
use super::tsig::{TsigError, TsigKey};

/// An update must be done within this time.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(20);
/// The class of a record that is to go (RFC 2136 section 2.5.4).
const CLASS_NONE: u16 = 254;
/// An update's code of operation, in its place among the flags.
const UPDATE: u16 = 5 << 11;
const IS_ANSWER: u16 = 0x8000;
/// A text consists of strings of so many bytes at most.
const STRING_BYTES_MAX: usize = 255;

/// What a record of a zone says of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    /// A text (`TXT`).
    Text(String),
    /// That it is another name for this one (`CNAME`).
    Alias(String),
}

impl RecordData {
    /// Its type as zones have it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "TXT",
            Self::Alias(_) => "CNAME",
        }
    }

    /// As it stands in a message.
    fn write(&self, out: &mut Vec<u8>) -> Result<Kind, UpdateError> {
        match self {
            Self::Text(text) => {
                for string in text.as_bytes().chunks(STRING_BYTES_MAX) {
                    out.push(u8::try_from(string.len()).expect("invariant: a string is so long at most"));
                    out.extend_from_slice(string);
                }
                Ok(Kind::Txt)
            }
            Self::Alias(target) => {
                write_name(out, target).ok_or_else(|| UpdateError::Name(target.clone()))?;
                Ok(Kind::Cname)
            }
        }
    }
}

/// A change of one zone's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// One more of this name; the others stay. It may be kept in caches for as many seconds.
    Add(&'a str, &'a RecordData, u32),
    /// This one of this name goes; the others stay. It need not be there.
    Remove(&'a str, &'a RecordData),
}

/// Changes zones at their server.
#[derive(Clone, Debug)]
pub struct Updater {
    server: Server,
    key: TsigKey,
}

/// Why a zone has not been changed, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A name that is none.
    #[error("invalid name '{0}'")]
    Name(String),
    /// The server can't be reached, or the exchange broke off.
    #[error("asking {server}: {source}")]
    Io {
        /// Which one.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("asking {0}: no answer within {1:?}")]
    Timeout(String, Duration),
    /// The answer can't be believed.
    #[error("the answer of {0}: {1}")]
    Answer(String, TsigError),
    /// The server doesn't.
    #[error("{server} does not change the zone: {code}")]
    Refused {
        /// Which one.
        server: String,
        /// Its reason.
        code: &'static str,
    },
}

impl Updater {
    /// One that changes zones at this server, whose port is 53 unless it says another.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn new(server: &str, key: TsigKey) -> Result<Self, String> {
        Ok(Self { server: Server::parse(server)?, key })
    }

    /// Makes a change, over TCP.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub async fn change(&self, zone: &str, change: &Change<'_>) -> Result<(), UpdateError> {
        let server = || self.server.to_string();
        let mut message = message(random(), zone, change)?;
        let mac = self.key.sign(&mut message, now());
        let exchange = async { exchange_tcp(self.server.address().await?, &message).await };
        let answer = tokio::time::timeout(UPDATE_TIMEOUT, exchange)
            .await
            .map_err(|_| UpdateError::Timeout(server(), UPDATE_TIMEOUT))?
            .map_err(|source| UpdateError::Io { server: server(), source })?;
        let unbelieved = |error| UpdateError::Answer(server(), error);
        let code = code(&message, &answer).ok_or_else(|| unbelieved(TsigError::Malformed))?;
        let verified = self.key.verify(&answer, &mac, now());
        // Servers need not sign that they refuse what they do not understand.
        if code != 0 && matches!(verified, Ok(()) | Err(TsigError::Unsigned)) {
            return Err(UpdateError::Refused { server: server(), code: code_name(code) });
        }
        verified.map_err(unbelieved)
    }
}

/// The message that asks for a change (RFC 2136 section 2).
fn message(id: u16, zone: &str, change: &Change<'_>) -> Result<Vec<u8>, UpdateError> {
    let write = |out: &mut Vec<u8>, name: &str| {
        write_name(out, name).ok_or_else(|| UpdateError::Name(name.to_owned()))
    };
    let (name, record, class, ttl) = match *change {
        Change::Add(name, record, ttl) => (name, record, CLASS_IN, ttl),
        Change::Remove(name, record) => (name, record, CLASS_NONE, 0),
    };
    let mut data = Vec::new();
    let kind = record.write(&mut data)?;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&UPDATE.to_be_bytes());
    // One zone, no conditions, one change.
    out.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    write(&mut out, zone)?;
    out.extend_from_slice(&Kind::Soa.number().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    write(&mut out, name)?;
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    let length = u16::try_from(data.len()).map_err(|_| UpdateError::Name(name.to_owned()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&data);
    Ok(out)
}

/// What an answer comes to; `None` if it is none to this message.
fn code(message: &[u8], answer: &[u8]) -> Option<u16> {
    let flags = u16::from_be_bytes([*answer.get(2)?, *answer.get(3)?]);
    let is_one = answer[..2] == message[..2] && flags & 0xf800 == IS_ANSWER | UPDATE;
    is_one.then_some(flags & 0xf)
}

/// RFC 2136 section 2.2.
fn code_name(code: u16) -> &'static str {
    match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => "an unknown code",
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_zone_and_the_change() {
        let (owner, text) = ("_acme-challenge.a.test", RecordData::Text("x".repeat(256)));
        let added = message(0x0102, "a.test.", &Change::Add(owner, &text, 60)).unwrap();
        assert_eq!(added[..12], [1, 2, 0x28, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(added[12..24], *b"\x01a\x04test\0\0\x06\0\x01");
        let name = b"\x0f_acme-challenge\x01a\x04test\0";
        assert_eq!(added[24..24 + name.len()], name[..]);
        let rest = &added[24 + name.len()..];
        assert_eq!(rest[..11], [0, 16, 0, 1, 0, 0, 0, 60, 1, 2, 255]);
        assert_eq!(rest[11 + 255..], [1, b'x']);
        let removed = message(1, "a.test", &Change::Remove(owner, &text)).unwrap();
        assert_eq!(removed[24 + name.len()..][..8], [0, 16, 0, 254, 0, 0, 0, 0]);
        let alias = RecordData::Alias("x.b.test.".into());
        let added = message(1, "a.test", &Change::Add(owner, &alias, 1)).unwrap();
        assert_eq!(added[24 + name.len()..], *b"\0\x05\0\x01\0\0\0\x01\0\x0a\x01x\x01b\x04test\0");
        assert!(message(1, "", &Change::Remove(owner, &text)).is_err());
        assert!(message(1, "a.test", &Change::Remove("a b", &text)).is_err());
        assert!(message(1, "a.test", &Change::Remove(owner, &RecordData::Alias("a b".into()))).is_err());
    }

    #[test]
    fn only_an_answer_to_the_message_has_a_code() {
        let asked = [1, 2, 0x28, 0];
        assert_eq!(code(&asked, &[1, 2, 0xa8, 5]), Some(5));
        for other in [&[1, 3, 0xa8, 5][..], &[1, 2, 0x28, 0], &[1, 2, 0x80, 0], &[1, 2, 0xa8]] {
            assert_eq!(code(&asked, other), None);
        }
    }
}
