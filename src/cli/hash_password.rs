//! `hash-password`: a hash for `basic_auth`.

use std::io::{BufRead as _, IsTerminal as _};

use argon2::{Algorithm, Argon2, Params};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Command, Failure, print};

/// The flags of `hash-password`. The costs are Caddy's.
#[derive(clap::Args)]
pub(super) struct HashPassword {
    /// The plaintext password; without it, it is asked for or read from stdin
    #[arg(long, short, value_name = "password")]
    plaintext: Option<String>,
    /// Name of the hash algorithm: bcrypt or argon2id
    #[arg(long, short, value_name = "name", default_value = "bcrypt")]
    algorithm: String,
    /// Cost of bcrypt, from 4 to 31; each step doubles the time
    #[arg(long, value_name = "cost", default_value_t = BCRYPT_COST)]
    bcrypt_cost: i64,
    /// Passes that argon2id makes over its memory
    #[arg(long, value_name = "passes", default_value_t = 1)]
    argon2id_time: u32,
    /// Memory that argon2id uses, in KiB
    #[arg(long, value_name = "KiB", default_value_t = 46 * 1024)]
    argon2id_memory: u32,
    /// Lanes that argon2id computes at once
    #[arg(long, value_name = "lanes", default_value_t = 1)]
    argon2id_threads: u8,
    /// Length of argon2id's result in bytes
    #[arg(long, value_name = "bytes", default_value_t = 32)]
    argon2id_keylen: u32,
}

const BCRYPT_COST: i64 = 14;
/// bcrypt looks at this many bytes of a password and no further.
const BCRYPT_BYTES_MAX: usize = 72;
const ARGON2ID_SALT_BYTES: usize = 16;
/// A line on stdin that is longer is no password.
const LINE_BYTES_MAX: u64 = 64 * 1024;

impl Command for HashPassword {
    const NAME: &'static str = "hash-password";
    const ABOUT: &'static str = "Hashes a password for basic_auth";
    const DETAILS: &'static str = "\
Prints the hash of a password, as the basic_auth directive takes it.

The password comes from --plaintext, else from one line of stdin. On a terminal it is asked for twice, \
and not shown. A password on the command line can be seen by others on the machine.";

    fn run(self) -> Result<(), Failure> {
        let password = match &self.plaintext {
            Some(password) if !password.is_empty() => password.clone().into_bytes(),
            _ if std::io::stdin().is_terminal() => ask()?,
            _ => read_line()?,
        };
        if password.is_empty() {
            return Err(Failure::other("a password is required"));
        }
        print(&match self.algorithm.as_str() {
            "bcrypt" => bcrypt_hash(&password, self.bcrypt_cost)?,
            "argon2id" => self.argon2id_hash(&password)?,
            other => {
                return Err(Failure::other(format!(
                    "unrecognized hash algorithm: {other} (there are bcrypt and argon2id)"
                )));
            }
        })
    }
}

/// Asks for the password on the terminal, twice, without showing it.
fn ask() -> Result<Vec<u8>, Failure> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| Failure::io("reading the password", error))
    };
    let password = ask("Enter password: ")?;
    if password.is_empty() {
        return Err(Failure::other("a password is required"));
    }
    if ask("Confirm password: ")? != password {
        return Err(Failure::other("the passwords differ"));
    }
    Ok(password.into_bytes())
}

/// Reads one line of stdin. As in Caddy it must end in a line break, so that a password that was cut
/// off is not taken.
fn read_line() -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let stdin = std::io::stdin().lock();
    std::io::Read::take(stdin, LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::io("reading the password from stdin", error))?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        Some(_) => Err(Failure::other("the password on stdin must be a line, with a line break at its end")),
        None => Err(Failure::other("no password: give --plaintext, or a line on stdin")),
    }
}

/// A cost that bcrypt doesn't have means the default, as in Caddy.
fn bcrypt_hash(password: &[u8], cost: i64) -> Result<String, Failure> {
    if password.len() > BCRYPT_BYTES_MAX {
        return Err(Failure::other(format!(
            "the password is {} bytes long, and bcrypt looks at {BCRYPT_BYTES_MAX} only; take argon2id",
            password.len()
        )));
    }
    let cost = if (4..=31).contains(&cost) { cost } else { BCRYPT_COST };
    let cost = u32::try_from(cost).expect("invariant: from 4 to 31");
    let parts = bcrypt::hash_with_result(password, cost)
        .map_err(|error| Failure::other(format!("hashing with bcrypt: {error}")))?;
    Ok(parts.format_for_version(bcrypt::Version::TwoA))
}

impl HashPassword {
    /// The hash as a PHC string (<https://github.com/P-H-C/phc-string-format>).
    fn argon2id_hash(&self, password: &[u8]) -> Result<String, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::other(format!("hashing with argon2id: {error}"));
        let (memory, time, lanes) =
            (self.argon2id_memory, self.argon2id_time, u32::from(self.argon2id_threads));
        let key_bytes = usize::try_from(self.argon2id_keylen).map_err(|error| failed(&error))?;
        let params = Params::new(memory, time, lanes, Some(key_bytes)).map_err(|error| failed(&error))?;
        let mut salt = [0; ARGON2ID_SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        let mut key = vec![0; key_bytes];
        Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(password, &salt, &mut key)
            .map_err(|error| failed(&error))?;
        Ok(format!(
            "$argon2id$v=19$m={memory},t={time},p={lanes}${}${}",
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(key),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcrypt_hashes_verify_and_are_salted() {
        let one = bcrypt_hash(b"open sesame", 4).unwrap();
        assert!(one.starts_with("$2a$04$"), "{one}");
        assert!(bcrypt::verify("open sesame", &one).unwrap());
        assert!(!bcrypt::verify("open sesam", &one).unwrap());
        assert_ne!(one, bcrypt_hash(b"open sesame", 4).unwrap());
    }

    #[test]
    fn what_bcrypt_would_cut_off_is_refused() {
        assert!(bcrypt_hash(&[b'x'; 72], 4).is_ok());
        let error = bcrypt_hash(&[b'x'; 73], 4).unwrap_err().to_string();
        assert!(error.contains("73 bytes"), "{error}");
    }

    #[test]
    fn argon2id_hashes_verify() {
        use argon2::password_hash::{PasswordHash, PasswordVerifier as _};
        let flags = HashPassword {
            plaintext: None,
            algorithm: String::new(),
            bcrypt_cost: 0,
            argon2id_time: 2,
            argon2id_memory: 64,
            argon2id_threads: 2,
            argon2id_keylen: 24,
        };
        let hash = flags.argon2id_hash(b"open sesame").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=2$"), "{hash}");
        let parsed = PasswordHash::new(&hash).unwrap();
        assert_eq!(parsed.hash.unwrap().len(), 24);
        assert!(Argon2::default().verify_password(b"open sesame", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"open sesamE", &parsed).is_err());
    }
}
