//! What is asked of a responder (RFC 6960 section 4.1.1), and whether an answer may be believed.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::der::{INTEGER, Malformed, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, write};
use super::response::{Response, Single};
use super::{Answer, OcspError};
use crate::tls::provider;

/// How an authority says where things are to be had (RFC 5280 section 4.2.2.1).
const ACCESS_OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];
const ACCESS_ISSUER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];
/// What hashes may be made by. Requests use the first: every responder knows it, and nothing hangs on its strength.
const HASHES: [(&[u8], &digest::Algorithm); 4] = [
    (&[0x2b, 14, 3, 2, 0x1a], &digest::SHA1_FOR_LEGACY_USE_ONLY),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &digest::SHA256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &digest::SHA384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], &digest::SHA512),
];
/// An answer that does not say when it ends is of no use any more after this time, in seconds.
const OPEN_END: i64 = 7 * 24 * 60 * 60;
/// A responder's clock may be this far ahead of ours, in seconds.
const CLOCK_SKEW: i64 = 5 * 60;

/// Where a certificate says that more is known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) responder: Option<String>,
    pub(super) issuer: Option<String>,
}

impl Places {
    pub(super) fn of(leaf: &X509Certificate<'_>) -> Self {
        let mut places = Self::default();
        for extension in leaf.extensions() {
            let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
            for description in access.iter() {
                let GeneralName::URI(url) = &description.access_location else { continue };
                let place = match description.access_method.as_bytes() {
                    ACCESS_OCSP => &mut places.responder,
                    ACCESS_ISSUER => &mut places.issuer,
                    _ => continue,
                };
                place.get_or_insert_with(|| (*url).to_owned());
            }
        }
        places
    }
}

/// Whether a certificate names somebody who can be asked about it.
pub(in super::super) fn names_responder(leaf: &X509Certificate<'_>) -> bool {
    Places::of(leaf).responder.is_some()
}

/// A certificate of which somebody wants to know whether it is revoked, with the one that has issued it.
#[derive(Debug)]
pub(super) struct Question<'a> {
    leaf: X509Certificate<'a>,
    issuer: X509Certificate<'a>,
    issuer_der: &'a [u8],
}

impl<'a> Question<'a> {
    /// # Errors
    /// The second certificate has not issued the first.
    pub(super) fn new(
        leaf: &'a CertificateDer<'_>,
        issuer: &'a CertificateDer<'_>,
    ) -> Result<Self, OcspError> {
        let question = Self { leaf: parsed(leaf)?, issuer: parsed(issuer)?, issuer_der: issuer };
        let is_theirs = question.leaf.issuer().as_raw() == question.issuer.subject().as_raw()
            && signed_certificate(leaf, question.issuer.public_key().raw);
        if is_theirs { Ok(question) } else { Err(OcspError::NotItsIssuer) }
    }

    /// The request in DER, the same byte for byte as Caddy's, so that whatever caches answers has one of it.
    pub(super) fn request(&self) -> Vec<u8> {
        let (oid, algorithm) = HASHES[0];
        let name = digest::digest(algorithm, self.issuer.subject().as_raw());
        let key = digest::digest(algorithm, &self.issuer.public_key().subject_public_key.data);
        let hash = write(SEQUENCE, &[&write(OBJECT_IDENTIFIER, &[oid]), &write(NULL, &[])]);
        let id = write(
            SEQUENCE,
            &[
                &hash,
                &write(OCTET_STRING, &[name.as_ref()]),
                &write(OCTET_STRING, &[key.as_ref()]),
                &write(INTEGER, &[self.leaf.raw_serial()]),
            ],
        );
        // Request, requestList, tbsRequest and OCSPRequest; all else is optional.
        (0..4).fold(id, |inner, _| write(SEQUENCE, &[&inner]))
    }

    /// What an answer says, if it is about this certificate, from somebody who may say so, and of now.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub(super) fn believe(&self, bytes: &[u8], now: i64) -> Result<Answer, OcspError> {
        let response = Response::read(bytes)?;
        let single = response.singles.iter().find(|single| self.is_about(single));
        let single = single.ok_or(OcspError::AboutAnother)?;
        let delegate_ends = self.signer_ends(&response, now)?;
        let ends = single.next_update.unwrap_or(single.this_update.saturating_add(OPEN_END));
        let answer = Answer {
            status: single.status,
            this_update: single.this_update,
            next_update: single.next_update,
            ends: Some(delegate_ends.map_or(ends, |delegate| delegate.min(ends))),
        };
        if answer.this_update > now + CLOCK_SKEW || answer.has_ended(now) {
            return Err(OcspError::NotOfNow);
        }
        // Clients have refused certificates over such answers.
        if answer.next_update.is_some_and(|next| next > self.leaf.validity().not_after.timestamp() + 1) {
            return Err(OcspError::BeyondCertificate);
        }
        Ok(answer)
    }

    fn is_about(&self, single: &Single<'_>) -> bool {
        let Some((_, algorithm)) = HASHES.iter().find(|(oid, _)| *oid == single.hash) else { return false };
        let is_hash_of = |hash: &[u8], of: &[u8]| digest::digest(algorithm, of).as_ref() == hash;
        single.serial == self.leaf.raw_serial()
            && is_hash_of(single.issuer_name, self.issuer.subject().as_raw())
            && is_hash_of(single.issuer_key, &self.issuer.public_key().subject_public_key.data)
    }

    /// When whoever has signed an answer ends, if that is somebody whom the issuer lets do so.
    ///
    /// # Errors
    /// It is signed by neither the issuer nor such a one.
    fn signer_ends(&self, response: &Response<'_>, now: i64) -> Result<Option<i64>, OcspError> {
        let is_signed_by =
            |key: &[u8]| is_signature(key, response.algorithm, response.signature, response.data);
        if is_signed_by(self.issuer.public_key().raw) {
            return Ok(None);
        }
        let der = response.certificate.filter(|der| *der != self.issuer_der).ok_or(OcspError::Signature)?;
        let delegate = parsed(der)?;
        if !is_signed_by(delegate.public_key().raw) {
            return Err(OcspError::Signature);
        }
        let may_sign =
            delegate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
        let validity = delegate.validity();
        let is_valid = (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
        let is_theirs = delegate.issuer().as_raw() == self.issuer.subject().as_raw()
            && signed_certificate(der, self.issuer.public_key().raw);
        match may_sign && is_valid && is_theirs {
            true => Ok(Some(validity.not_after.timestamp())),
            false => Err(OcspError::Delegate),
        }
    }
}

pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, OcspError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| OcspError::Certificate(error.to_string()))
}

/// Whether a certificate is signed by this key.
fn signed_certificate(certificate: &[u8], key: &[u8]) -> bool {
    let read = || -> Result<_, Malformed> {
        let mut parts = Reader::new(certificate).parts(SEQUENCE)?;
        Ok((parts.item(SEQUENCE)?.whole, parts.content(SEQUENCE)?, parts.bits()?))
    };
    read().is_ok_and(|(data, algorithm, signature)| is_signature(key, algorithm, signature, data))
}

/// Whether a signature by this algorithm is that of this key (`SubjectPublicKeyInfo`) over `data`.
fn is_signature(key: &[u8], algorithm: &[u8], signature: &[u8], data: &[u8]) -> bool {
    let read = || -> Result<_, Malformed> {
        let mut parts = Reader::new(key).parts(SEQUENCE)?;
        Ok((parts.content(SEQUENCE)?, parts.bits()?))
    };
    let Ok((kind, key)) = read() else { return false };
    provider().signature_verification_algorithms.all.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm
            && known.public_key_alg_id().as_ref() == kind
            && known.verify_signature(key, data, signature).is_ok()
    })
}
