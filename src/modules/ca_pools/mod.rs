//! Which authorities are trusted: modules of `tls.ca_pool.source`.

mod combined;
mod file;
mod http;
mod inline;
mod pki;
mod storage;
mod system;

use crate::adapt::{Cursor, Error};
use crate::module::Module;

/// One row for each file.
pub(super) static TABLE: &[&Module] = &[
    &combined::MODULE,
    &file::MODULE,
    &http::MODULE,
    &inline::MODULE,
    &pki::MODULE,
    &storage::MODULE,
    &system::MODULE,
];

/// Caddy's namespace.
pub(super) const NAMESPACE: &str = "tls.ca_pool.source";

/// The tag under which a pool's name stands.
pub(super) const TAG: &str = "provider";

/// The error for a word that means nothing here.
fn unrecognized(cursor: &Cursor, known: &[&str]) -> Error {
    let word = cursor.val();
    cursor.err(format!("unrecognized directive: {word}")).did_you_mean(word, known.iter().copied())
}

/// Reads a list that may stand on the first line, and in a block on lines that begin with `word`.
fn list(cursor: &mut Cursor, word: &str) -> Result<Vec<String>, Error> {
    cursor.next();
    let mut list = cursor.remaining_args();
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        if cursor.val() != word {
            return Err(unrecognized(cursor, &[word]));
        }
        list.extend(cursor.remaining_args());
    }
    Ok(list)
}
