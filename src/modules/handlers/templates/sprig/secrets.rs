//! Passwords that are hashed, and texts that are encrypted.

use aws_lc_rs::cipher::{
    AES_256, AES_CBC_IV_LEN, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Function, bounded, int, text};
use crate::gotemplate::{Error, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("bcrypt", |a| Ok(hashed(&text(a, 0)?).into())),
    ("htpasswd", |a| {
        let (user, password) = (text(a, 0)?, text(a, 1)?);
        if let [_, _, third, ..] = a {
            return Err(Error::new(format!("wrong number of args: want 2, got {} too", third.text())));
        }
        Ok(match user.contains(':') {
            true => format!("invalid username: {user}").into(),
            false => format!("{user}:{}", hashed(&password)).into(),
        })
    }),
    ("randBytes", |a| {
        let count = usize::try_from(int(a, 0)?).map_err(|_| Error::new("a number of bytes below 0"))?;
        let mut bytes = vec![0; bounded(count)?];
        getrandom::fill(&mut bytes).map_err(|error| Error::new(error.to_string()))?;
        Ok(STANDARD.encode(bytes).into())
    }),
    ("encryptAES", |a| encrypted(&text(a, 0)?, text(a, 1)?.as_bytes())),
    ("decryptAES", |a| decrypted(&text(a, 0)?, &text(a, 1)?)),
];

/// As sprig and htpasswd do it.
const BCRYPT_COST: u32 = 10;
/// It looks at no further bytes of a password.
const BCRYPT_BYTES_MAX: usize = 72;

/// A password's hash. Why there is none stands in its place, as in sprig.
fn hashed(password: &str) -> String {
    let failed = |why: &str| format!("failed to encrypt string with bcrypt: {why}");
    if password.len() > BCRYPT_BYTES_MAX {
        return failed("bcrypt: password length exceeds 72 bytes");
    }
    match bcrypt::hash_with_result(password, BCRYPT_COST) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(error) => failed(&error.to_string()),
    }
}

/// A password as a key: cut or filled with zeros.
fn cipher_key(password: &str) -> Result<UnboundCipherKey, Error> {
    let mut key = [0; 32];
    key.iter_mut().zip(password.bytes()).for_each(|(place, byte)| *place = byte);
    UnboundCipherKey::new(&AES_256, &key).map_err(broken)
}

fn broken(_: aws_lc_rs::error::Unspecified) -> Error {
    Error::new("the text can't be encrypted or decrypted")
}

/// A text in AES-256 with CBC, behind its random start, in base64.
fn encrypted(password: &str, plain: &[u8]) -> Result<Value, Error> {
    if plain.is_empty() {
        return Ok("".into());
    }
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(cipher_key(password)?).map_err(broken)?;
    let mut buffer = plain.to_vec();
    let DecryptionContext::Iv128(start) = key.encrypt(&mut buffer).map_err(broken)? else {
        return Err(broken(aws_lc_rs::error::Unspecified));
    };
    Ok(STANDARD.encode([&start.as_ref()[..], &buffer].concat()).into())
}

fn decrypted(password: &str, text: &str) -> Result<Value, Error> {
    let bytes = STANDARD.decode(text).map_err(|error| Error::new(format!("illegal base64 data: {error}")))?;
    if bytes.is_empty() {
        return Ok("".into());
    }
    let Some((start, rest)) = bytes.split_first_chunk::<AES_CBC_IV_LEN>() else {
        return Err(Error::new("the encrypted text is too short"));
    };
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(cipher_key(password)?).map_err(broken)?;
    let mut buffer = rest.to_vec();
    let plain =
        key.decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(start))).map_err(broken)?;
    Ok(Value::bytes(&*plain))
}
