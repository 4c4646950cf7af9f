//! What a responder answers (RFC 6960 section 4.2.1), taken apart. Nothing is believed here yet.

use super::der::{
    ENUMERATED, INTEGER, Malformed, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, context,
};

/// `id-pkix-ocsp-basic`, the only kind of answer that there is.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// So many certificates may be spoken of in one answer.
const SINGLES_MAX: usize = 64;
const DER_TRUE: u8 = 0xff;

/// What is known of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Status {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked {
        /// Why, as RFC 5280 section 5.3.1 numbers it.
        reason: Option<u8>,
    },
    /// The responder does not know it.
    Unknown,
}

/// An answer as it is written.
#[derive(Debug)]
pub(super) struct Response<'a> {
    /// What is signed.
    pub(super) data: &'a [u8],
    /// By which algorithm, without its tag and length.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// The first certificate that comes with it.
    pub(super) certificate: Option<&'a [u8]>,
    pub(super) singles: Vec<Single<'a>>,
}

/// What an answer says of one certificate.
#[derive(Debug)]
pub(super) struct Single<'a> {
    /// The object identifier of what the two hashes are made by.
    pub(super) hash: &'a [u8],
    pub(super) issuer_name: &'a [u8],
    pub(super) issuer_key: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) status: Status,
    /// Seconds since 1970, as all times.
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
}

/// Why there is nothing in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Unusable {
    /// It is no answer.
    #[error("the answer is malformed")]
    Malformed,
    /// The responder has nothing to say.
    #[error("the responder refuses: {0}")]
    Refused(&'static str),
    /// It has something in it that must be understood, and isn't.
    #[error("the answer has an unknown critical extension")]
    Critical,
}

impl From<Malformed> for Unusable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl<'a> Response<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unusable> {
        let mut outer = Reader::new(bytes);
        let mut response = outer.parts(SEQUENCE)?;
        outer.end()?;
        refusal(response.content(ENUMERATED)?)?;
        let mut explicit = response.parts(context(0))?;
        let mut typed = explicit.parts(SEQUENCE)?;
        if typed.content(OBJECT_IDENTIFIER)? != BASIC {
            return Err(Unusable::Malformed);
        }
        let mut octets = Reader::new(typed.content(OCTET_STRING)?);
        let mut basic = octets.parts(SEQUENCE)?;
        octets.end()?;
        let data = basic.item(SEQUENCE)?;
        let algorithm = basic.content(SEQUENCE)?;
        let signature = basic.bits()?;
        let certificate = match basic.optional(context(0))? {
            Some(certificates) => {
                let mut certificates = Reader::new(certificates).parts(SEQUENCE)?;
                if certificates.is_empty() { None } else { Some(certificates.item(SEQUENCE)?.whole) }
            }
            None => None,
        };
        basic.end()?;
        let singles = singles(data.content)?;
        Ok(Self { data: data.whole, algorithm, signature, certificate, singles })
    }
}

/// What the numbers of RFC 6960 section 4.2.1 mean.
fn refusal(status: &[u8]) -> Result<(), Unusable> {
    Err(Unusable::Refused(match status {
        [0] => return Ok(()),
        [1] => "malformed request",
        [2] => "internal error",
        [3] => "try later",
        [5] => "the request must be signed",
        [6] => "unauthorized",
        _ => return Err(Unusable::Malformed),
    }))
}

fn singles(data: &[u8]) -> Result<Vec<Single<'_>>, Unusable> {
    let mut data = Reader::new(data);
    // The version, which there is but one of.
    data.optional(context(0))?;
    let responder = data.any()?;
    if responder.tag != context(1) && responder.tag != context(2) {
        return Err(Unusable::Malformed);
    }
    data.time()?;
    let mut list = data.parts(SEQUENCE)?;
    if let Some(extensions) = data.optional(context(1))? {
        refuse_critical(extensions)?;
    }
    data.end()?;
    let mut singles = Vec::new();
    while !list.is_empty() {
        if singles.len() == SINGLES_MAX {
            return Err(Unusable::Malformed);
        }
        singles.push(single(list.parts(SEQUENCE)?)?);
    }
    if singles.is_empty() { Err(Unusable::Malformed) } else { Ok(singles) }
}

fn single(mut of: Reader<'_>) -> Result<Single<'_>, Unusable> {
    let mut id = of.parts(SEQUENCE)?;
    let mut algorithm = id.parts(SEQUENCE)?;
    let hash = algorithm.content(OBJECT_IDENTIFIER)?;
    algorithm.optional(NULL)?;
    algorithm.end()?;
    let (issuer_name, issuer_key) = (id.content(OCTET_STRING)?, id.content(OCTET_STRING)?);
    let serial = id.content(INTEGER)?;
    id.end()?;
    let status = of.any()?;
    let status = match (status.tag, status.content) {
        (0x80, []) => Status::Good,
        (0x82, []) => Status::Unknown,
        (0xa1, revoked) => Status::Revoked { reason: reason(Reader::new(revoked))? },
        _ => return Err(Unusable::Malformed),
    };
    let this_update = of.time()?;
    let next_update = match of.optional(context(0))? {
        Some(time) => Some(Reader::new(time).time()?),
        None => None,
    };
    if let Some(extensions) = of.optional(context(1))? {
        refuse_critical(extensions)?;
    }
    of.end()?;
    Ok(Single { hash, issuer_name, issuer_key, serial, status, this_update, next_update })
}

fn reason(mut revoked: Reader<'_>) -> Result<Option<u8>, Malformed> {
    revoked.time()?;
    let Some(reason) = revoked.optional(context(0))? else { return Ok(None) };
    match Reader::new(reason).content(ENUMERATED)? {
        [reason] => Ok(Some(*reason)),
        _ => Err(Malformed),
    }
}

fn refuse_critical(extensions: &[u8]) -> Result<(), Unusable> {
    const BOOLEAN: u8 = 0x01;
    let mut extensions = Reader::new(extensions).parts(SEQUENCE)?;
    while !extensions.is_empty() {
        let mut extension = extensions.parts(SEQUENCE)?;
        extension.content(OBJECT_IDENTIFIER)?;
        if extension.optional(BOOLEAN)? == Some(&[DER_TRUE]) {
            return Err(Unusable::Critical);
        }
    }
    Ok(())
}
