//! What the query and cookie filters can do to one of the values in a text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hash::hash;
use crate::adapt::{Cursor, Error};

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A fixed text takes its place.
    Replace,
    /// Its hash takes its place.
    Hash,
    /// It vanishes, name and all.
    Delete,
}

/// An action as it is written.
pub(super) struct Action {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads a block of actions. The cursor stands before the filter's name.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    cursor.next();
    while cursor.next_block(0) {
        let kind = match cursor.val() {
            "replace" => Kind::Replace,
            "hash" => Kind::Hash,
            "delete" => Kind::Delete,
            other => return Err(cursor.err(format!("unrecognized subdirective {other}"))),
        };
        let [name] = cursor.args()?;
        let value = match kind {
            Kind::Replace => cursor.args::<1>()?.concat(),
            Kind::Hash | Kind::Delete => String::new(),
        };
        actions.push(Action { kind, name, value });
    }
    Ok(actions)
}

impl Kind {
    /// What becomes of `value`; `None` if it vanishes.
    pub(super) fn apply(self, value: &[u8], replacement: &str) -> Option<Vec<u8>> {
        match self {
            Self::Replace => Some(replacement.into()),
            Self::Hash => Some(hash(value).into_bytes()),
            Self::Delete => None,
        }
    }
}
