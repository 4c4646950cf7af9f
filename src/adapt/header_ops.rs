//! How changes to header fields are written: `Field value`, `+Field value`, `-Field`, and
//! `Field search replace`.

use crate::config::canonical_header_name;
use crate::config::headers::{HeaderOps, HeaderReplacement};

/// Why a change to a header field can't be made where it stands.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}: the default header modifier ('?') can only be used on response headers; for conditional manipulation of \
     request headers, use matchers"
)]
pub struct NoDefaultHere(String);

/// Adds the change that `field`, with its modifier, and its arguments ask for.
///
/// # Errors
/// [`NoDefaultHere`] for `?Field`, which only the `header` directive knows.
pub fn header_op(
    ops: &mut HeaderOps,
    field: &str,
    value: &str,
    replacement: Option<&str>,
) -> Result<(), NoDefaultHere> {
    let canonical = |field: &str| canonical_header_name(field).into_owned();
    match (field.split_at_checked(1), replacement) {
        (Some(("+", field)), _) => ops.add.entry(canonical(field)).or_default().push(value.to_owned()),
        (Some(("-", field)), _) => ops.delete.push(field.to_owned()),
        (Some(("?", _)), _) => return Err(NoDefaultHere(field.to_owned())),
        (_, Some(replacement)) => {
            let field = field.trim_start_matches(['+', '-', '?', '>']).to_owned();
            ops.replace.entry(field).or_default().push(HeaderReplacement {
                search_regexp: value.to_owned(),
                replace: replacement.to_owned(),
                ..HeaderReplacement::default()
            });
        }
        (Some((">", field)), None) => {
            ops.set.insert(canonical(field), vec![value.to_owned()]);
        }
        (_, None) => {
            ops.set.insert(canonical(field), vec![value.to_owned()]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(field: &str, value: &str, replacement: Option<&str>) -> serde_json::Value {
        let mut ops = HeaderOps::default();
        header_op(&mut ops, field, value, replacement).unwrap();
        serde_json::to_value(ops).unwrap()
    }

    #[test]
    fn the_modifier_says_what_to_do() {
        assert_eq!(change("x-a", "1", None), json!({"set": {"X-A": ["1"]}}));
        assert_eq!(change(">x-a", "1", None), json!({"set": {"X-A": ["1"]}}));
        assert_eq!(change("+x-a", "1", None), json!({"add": {"X-A": ["1"]}}));
        assert_eq!(change("-x-A*", "", None), json!({"delete": ["x-A*"]}));
        let replaced = json!({"replace": {"x-a": [{"search_regexp": "a", "replace": "b"}]}});
        assert_eq!(change("x-a", "a", Some("b")), replaced);
    }

    #[test]
    fn several_changes_add_up() {
        let mut ops = HeaderOps::default();
        for value in ["1", "2"] {
            header_op(&mut ops, "+X-A", value, None).unwrap();
            header_op(&mut ops, "X-B", value, None).unwrap();
        }
        let expected = json!({"add": {"X-A": ["1", "2"]}, "set": {"X-B": ["2"]}});
        assert_eq!(serde_json::to_value(ops).unwrap(), expected);
    }

    #[test]
    fn a_default_is_refused() {
        let error = header_op(&mut HeaderOps::default(), "?X-A", "1", None).unwrap_err().to_string();
        assert!(error.starts_with("?X-A: the default header modifier"), "{error}");
    }
}
