//! `hash`: the beginning of the text's SHA-256 in its place, so that equal values can be told from
//! others without being known.

use std::fmt::Write as _;

use serde_json::json;

use super::{NAMESPACE, change_texts};
use crate::adapt::SubmoduleSyntax;
use crate::config::logging::FILTER_TAG;
use crate::config::schema::ModuleSchema;
use crate::log::{FieldFilter, FilterType, Value, Visitor};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_filters: &[FilterType {
        id: "hash",
        provision: |json| Ok(Box::new(json.decode::<Hash>(FILTER_TAG)?)),
    }],
    submodules: &[SubmoduleSyntax {
        namespace: NAMESPACE,
        name: "hash",
        syntax: "<field> hash",
        parse: |_| Ok(json!({})),
    }],
    schemas: &[ModuleSchema::of::<Hash>("caddy.logging.encoders.filter", "hash")],
    ..Module::EMPTY
};

/// How many bytes of the digest are shown.
const SHOWN_BYTES: usize = 4;

/// Nothing can be said of it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hash {}

impl FieldFilter for Hash {
    fn filter(&self, key: &str, value: Value<'_>, next: &mut dyn Visitor) {
        change_texts(key, value, next, |text| hash(text).into_bytes());
    }
}

/// The beginning of the SHA-256 of `text`, in hexadecimal.
pub(super) fn hash(text: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    let mut hex = String::with_capacity(2 * SHOWN_BYTES);
    for byte in &digest.as_ref()[..SHOWN_BYTES] {
        // Writing to a `String` can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
