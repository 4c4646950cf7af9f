//! Global options: what stands in the block without an address at the top of a Caddyfile.

mod acme;
mod admin;
mod automation;
mod debug;
mod events;
mod filesystem;
mod listeners;
mod metrics;
mod order;
mod pki;
mod servers;
mod shutdown;
mod storage;
mod tls;

pub(super) use acme::preferred_chains;

use crate::adapt::{Cursor, Error};
use crate::config::Duration;
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &acme::MODULE,
    &admin::MODULE,
    &automation::MODULE,
    &debug::MODULE,
    &events::MODULE,
    &filesystem::MODULE,
    &listeners::MODULE,
    &metrics::MODULE,
    &order::MODULE,
    &pki::MODULE,
    &servers::MODULE,
    &shutdown::MODULE,
    &storage::MODULE,
    &tls::MODULE,
];

/// Reads an option's name and the one word after it.
fn single(cursor: &mut Cursor) -> Result<String, Error> {
    cursor.next();
    if !cursor.next() {
        return Err(cursor.arg_err());
    }
    let value = cursor.val().to_owned();
    if cursor.next() { Err(cursor.arg_err()) } else { Ok(value) }
}

/// Reads an option's name and the duration after it.
fn duration(cursor: &mut Cursor) -> Result<Duration, Error> {
    cursor.next();
    if !cursor.next() {
        return Err(cursor.arg_err());
    }
    cursor.val().parse().map_err(|error| cursor.err(format!("{error}")))
}

/// Reads an option's name and the word `off` after it, which is all that it takes.
fn off(cursor: &mut Cursor, name: &str) -> Result<(), Error> {
    match single(cursor)?.as_str() {
        "off" => Ok(()),
        _ => Err(cursor.err(format!("{name} must be 'off'"))),
    }
}

/// Reads a share between 0 and 1, both excluded.
pub(super) fn ratio(cursor: &Cursor, text: &str, name: &str) -> Result<f64, Error> {
    let ratio: f64 = text.parse().map_err(|_| {
        cursor.err(format!("parsing {name}: strconv.ParseFloat: parsing {text:?}: invalid syntax"))
    })?;
    if ratio > 0.0 && ratio < 1.0 {
        return Ok(ratio);
    }
    Err(cursor.err(format!("{name} must be between 0 and 1 (exclusive)")))
}

/// The error for a word in a block that means nothing there.
fn unrecognized(cursor: &Cursor, what: &str, known: &[&str]) -> Error {
    cursor
        .err(format!("unrecognized {what} '{}'", cursor.val()))
        .did_you_mean(cursor.val(), known.iter().copied())
}
