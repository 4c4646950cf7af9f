//! JSON, base64, sums and ids.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Function, bounded, int, text, value};
use crate::gotemplate::{Error, Map, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("b64enc", |a| Ok(STANDARD.encode(raw(a)?).into())),
    ("b64dec", |a| {
        Ok(match STANDARD.decode(raw(a)?) {
            Ok(bytes) => Value::bytes(bytes),
            Err(error) => error.to_string().into(),
        })
    }),
    ("b32enc", |a| Ok(base32(&raw(a)?).into())),
    ("b32dec", |a| {
        let decoded = from_base32(&text(a, 0)?);
        Ok(decoded.map_or_else(|| "illegal base32 data".into(), Value::bytes))
    }),
    ("sha1sum", |a| Ok(sum(&digest::SHA1_FOR_LEGACY_USE_ONLY, &raw(a)?).into())),
    ("sha256sum", |a| Ok(sum(&digest::SHA256, &raw(a)?).into())),
    ("sha512sum", |a| Ok(sum(&digest::SHA512, &raw(a)?).into())),
    ("adler32sum", |a| Ok(adler32(&raw(a)?).to_string().into())),
    ("uuidv4", |_| uuid().map(Value::from)),
    ("randAlphaNum", |a| random(int(a, 0)?, |byte| byte.is_ascii_alphanumeric())),
    ("randAlpha", |a| random(int(a, 0)?, |byte| byte.is_ascii_alphabetic())),
    ("randNumeric", |a| random(int(a, 0)?, |byte| byte.is_ascii_digit())),
    ("randAscii", |a| random(int(a, 0)?, |byte| matches!(byte, 32..=126))),
    ("shuffle", |a| shuffled(&text(a, 0)?).map(Value::from)),
    ("fromJson", |a| Ok(serde_json::from_str(&text(a, 0)?).map(|json| from_json(&json)).unwrap_or_default())),
    ("mustFromJson", |a| {
        serde_json::from_str(&text(a, 0)?)
            .map(|json| from_json(&json))
            .map_err(|error| Error::new(error.to_string()))
    }),
    ("toJson", |a| Ok(escaped(&to_json(value(a, 0)?).to_string()).into())),
    ("mustToJson", |a| Ok(escaped(&to_json(value(a, 0)?).to_string()).into())),
    ("toRawJson", |a| Ok(to_json(value(a, 0)?).to_string().into())),
    ("mustToRawJson", |a| Ok(to_json(value(a, 0)?).to_string().into())),
    ("toPrettyJson", |a| Ok(escaped(&format!("{:#}", to_json(value(a, 0)?))).into())),
    ("mustToPrettyJson", |a| Ok(escaped(&format!("{:#}", to_json(value(a, 0)?))).into())),
];

fn raw(arguments: &[Value]) -> Result<std::rc::Rc<[u8]>, Error> {
    match value(arguments, 0)? {
        Value::Str(text) => Ok(text.clone()),
        other => Err(Error::new(format!("wrong type for value; expected string; got {}", other.type_name()))),
    }
}

fn sum(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> String {
    digest::digest(algorithm, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut bits = 0_u64;
        for index in 0..5 {
            bits = bits << 8 | u64::from(group.get(index).copied().unwrap_or(0));
        }
        let digits = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = BASE32[(bits >> (35 - 5 * index) & 31) as usize];
            out.push(if index < digits { char::from(digit) } else { '=' });
        }
    }
    out
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let (mut bits, mut count, mut out) = (0_u64, 0_u32, Vec::with_capacity(digits.len() * 5 / 8));
    for digit in digits.bytes() {
        let value = BASE32.iter().position(|known| *known == digit)?;
        bits = (bits << 5 | value as u64) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    text.len().is_multiple_of(8).then_some(out)
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let step = |(one, two): (u32, u32), byte: &u8| {
        let one = (one + u32::from(*byte)) % MODULUS;
        (one, (two + one) % MODULUS)
    };
    let (one, two) = bytes.iter().fold((1, 0), step);
    two << 16 | one
}

fn uuid() -> Result<String, Error> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|error| Error::new(error.to_string()))?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn random(count: i64, may: fn(&u8) -> bool) -> Result<Value, Error> {
    let count = bounded(usize::try_from(count).unwrap_or(0))?;
    let mut out = Vec::with_capacity(count);
    let mut bytes = [0; 256];
    while out.len() < count {
        getrandom::fill(&mut bytes).map_err(|error| Error::new(error.to_string()))?;
        out.extend(bytes.iter().map(|byte| byte & 0x7f).filter(may).take(count - out.len()));
    }
    Ok(Value::bytes(out))
}

/// A text's letters in an order of chance.
fn shuffled(text: &str) -> Result<String, Error> {
    let mut letters: Vec<char> = text.chars().collect();
    let mut chance = vec![0; letters.len() * size_of::<u32>()];
    getrandom::fill(&mut chance).map_err(|error| Error::new(error.to_string()))?;
    for (at, bytes) in chance.as_chunks().0.iter().enumerate().skip(1) {
        letters.swap(at, u32::from_le_bytes(*bytes) as usize % (at + 1));
    }
    Ok(letters.into_iter().collect())
}

/// JSON as values; whole numbers become floats, as in Go.
pub(in super::super) fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(truth) => (*truth).into(),
        serde_json::Value::Number(number) => number.as_f64().unwrap_or(0.0).into(),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect::<Vec<_>>().into(),
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(key, inner)| (key.clone(), from_json(inner))).collect::<Map>().into()
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers that fit")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => (*number as i64).into(),
        Value::Float(number) => (*number).into(),
        Value::Str(text) => String::from_utf8_lossy(text).into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => {
            let entries = map.borrow();
            entries.iter().map(|(key, inner)| (key.clone(), to_json(inner))).collect()
        }
        Value::Object(object) => match object.as_plain() {
            Some(plain) => to_json(&plain),
            None => object.text().into(),
        },
        _ => serde_json::Value::Null,
    }
}

/// What could end a script is escaped, as Go does.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
