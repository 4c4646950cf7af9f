//! Keys and certificates.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Function, int, list, text, value};
use crate::gotemplate::{Error, Object, Value};
use crate::tls::by_hand::{self, MadeFor, MadePair};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("genPrivateKey", |a| {
        // What can't be made is told in its place, as in sprig.
        Ok(by_hand::private_key(&text(a, 0)?).unwrap_or_else(|error| error.to_string()).into())
    }),
    ("genCA", |a| made(a, 2, |wish| by_hand::self_signed(wish, None))),
    ("genCAWithKey", |a| {
        let key = text(a, 2)?;
        made(a, 3, |wish| by_hand::self_signed(wish, Some(&key)))
    }),
    ("genSelfSignedCert", |a| made(a, 4, |wish| by_hand::self_signed(wish, None))),
    ("genSelfSignedCertWithKey", |a| {
        let key = text(a, 4)?;
        made(a, 5, |wish| by_hand::self_signed(wish, Some(&key)))
    }),
    ("genSignedCert", |a| {
        let by = pair(a, 4)?;
        made(a, 5, |wish| by_hand::signed(wish, &by, None))
    }),
    ("genSignedCertWithKey", |a| {
        let (by, key) = (pair(a, 4)?, text(a, 5)?);
        made(a, 6, |wish| by_hand::signed(wish, &by, Some(&key)))
    }),
    ("buildCustomCert", |a| {
        let decoded = |index, what: &str| {
            let bytes = STANDARD.decode(text(a, index)?.as_bytes()).ok();
            let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.ok_or_else(|| Error::new(format!("unable to decode base64 {what}")))
        };
        let pair = MadePair { certificate: decoded(0, "certificate")?, key: decoded(1, "private key")? };
        let pair = by_hand::given(pair).map_err(|error| Error::new(error.to_string()))?;
        Ok(Value::Object(Rc::new(Certificate(pair))))
    }),
];

/// A certificate with its key.
#[derive(Debug)]
struct Certificate(MadePair);

impl Object for Certificate {
    fn type_name(&self) -> &'static str {
        "sprig.certificate"
    }

    fn member(&self, name: &str, _: &[Value]) -> Option<Result<Value, Error>> {
        match name {
            "Cert" => Some(Ok(self.0.certificate.as_str().into())),
            "Key" => Some(Ok(self.0.key.as_str().into())),
            _ => None,
        }
    }

    fn text(&self) -> String {
        format!("{{{} {}}}", self.0.certificate, self.0.key)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An argument that must be a certificate.
fn pair(arguments: &[Value], index: usize) -> Result<MadePair, Error> {
    let value = value(arguments, index)?;
    if let Value::Object(object) = value
        && let Some(Certificate(pair)) = object.as_any().downcast_ref()
    {
        return Ok(pair.clone());
    }
    Err(Error::new(format!("wrong type for value; expected sprig.certificate; got {}", value.type_name())))
}

/// Makes a certificate as the first of `count` arguments wish: a name and days, and between them, unless it
/// is an authority's, addresses and further names.
fn made(
    arguments: &[Value],
    count: usize,
    make: impl FnOnce(&MadeFor<'_>) -> Result<MadePair, crate::tls::TlsError>,
) -> Result<Value, Error> {
    if arguments.len() != count {
        return Err(Error::new(format!("wrong number of args: want {count} got {}", arguments.len())));
    }
    let common_name = text(arguments, 0)?;
    let is_authority = count < 4;
    let mut wish = MadeFor { common_name: &common_name, is_authority, ..MadeFor::default() };
    if is_authority {
        wish.days = int(arguments, 1)?;
    } else {
        wish.ips = items(arguments, 1, "error parsing ip", |text| text.parse::<IpAddr>().ok())?;
        wish.names =
            items(arguments, 2, "error processing alternate dns name", |text| Some(text.to_owned()))?;
        wish.days = int(arguments, 3)?;
    }
    let pair = make(&wish).map_err(|error| Error::new(error.to_string()))?;
    Ok(Value::Object(Rc::new(Certificate(pair))))
}

/// An argument that must be a list of texts, or nothing.
fn items<T>(
    arguments: &[Value],
    index: usize,
    complaint: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    if let Value::Nil = value(arguments, index)? {
        return Ok(Vec::new());
    }
    let read = |item: &Value| {
        let Value::Str(_) = item else {
            return Err(Error::new(format!("{complaint}: {} is not a string", item.text())));
        };
        read(&item.text()).ok_or_else(|| Error::new(format!("{complaint}: {}", item.text())))
    };
    list(arguments, index)?.iter().map(read).collect()
}
