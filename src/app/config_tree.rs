//! The configuration in force as a tree that the admin API reads and edits by paths such as
//! `/config/apps/http/servers/srv0/listen/0`.
//!
//! What may be done where, and what it means, are Caddy's rules (<https://caddyserver.com/docs/api>):
//! POST sets a key or appends to an array, PUT inserts, PATCH replaces, DELETE removes.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};

use serde_json::{Map, Value};

use crate::config::{DEPTH_MAX, sort_keys};

/// The key under which the configuration stands in the tree, and the first part of every path.
const ROOT: &str = "config";
/// The field that gives an object a name of its own, for `/id/` paths.
const ID: &str = "@id";
/// The last part of a path whose array is to take all elements of another.
const ELLIPSIS: &str = "...";

/// What to do at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Set the key, or append to the array (POST).
    Put(Value),
    /// Insert into the array, or make the key with all that leads to it (PUT).
    Insert(Value),
    /// Replace what is there (PATCH).
    Replace(Value),
    /// Remove what is there (DELETE).
    Remove,
}

/// Why a path can't be read or edited.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The path is empty, or isn't one of the configuration.
    #[error("no traversable path")]
    NoPath,
    /// What stands before this part is neither object nor array.
    #[error("invalid traversal path at: {0}")]
    NotWalkable(String),
    /// An array needs a number here.
    #[error("[{path}] invalid array index '{index}'")]
    NoIndex {
        /// The path up to here.
        path: String,
        /// What was given.
        index: String,
    },
    /// The array has no such element.
    #[error("[{path}] array index out of bounds: {index}")]
    OutOfBounds {
        /// The path up to here.
        path: String,
        /// What was given.
        index: String,
    },
    /// PUT of a key that is there.
    #[error("[{path}] key already exists: {key}")]
    Exists {
        /// The whole path.
        path: String,
        /// Its last part.
        key: String,
    },
    /// PATCH or DELETE of a key that isn't.
    #[error("[{path}] key does not exist: {key}")]
    Missing {
        /// The whole path.
        path: String,
        /// Its last part.
        key: String,
    },
    /// The configuration would be nested more deeply than one that is read may be.
    #[error("more than {DEPTH_MAX} objects and arrays inside one another")]
    TooDeep,
    /// Elements to append must come as an array.
    #[error("final element is not an array")]
    NotArray,
    /// An `@id` that is neither text nor number.
    #[error("{0}: {ID} field must be a string or number")]
    OddId(String),
    /// Two objects of the same name.
    #[error("duplicate ID '{id}' found at {first} and {second}")]
    DuplicateId {
        /// The name.
        id: String,
        /// Where it stands first.
        first: String,
        /// Where it stands again.
        second: String,
    },
}

/// The configuration, and where its named objects stand.
#[derive(Clone, Debug)]
pub struct ConfigTree {
    root: Map<String, Value>,
    ids: BTreeMap<String, String>,
}

impl Default for ConfigTree {
    fn default() -> Self {
        Self { root: Map::from_iter([(ROOT.to_owned(), Value::Null)]), ids: BTreeMap::new() }
    }
}

impl ConfigTree {
    /// The whole configuration; null if there is none.
    pub fn config(&self) -> &Value {
        self.root.get(ROOT).unwrap_or(&Value::Null)
    }

    /// The configuration as it is to be run: without the names of its objects.
    pub fn without_ids(&self) -> Value {
        without_ids(self.config())
    }

    /// The value at a path that begins with `/config`. A last key that is absent is null.
    ///
    /// # Errors
    /// The path can't be walked.
    pub fn get(&self, path: &str) -> Result<&Value, TreeError> {
        let (parts, _) = split(path)?;
        let (first, rest) = parts.split_first().ok_or(TreeError::NoPath)?;
        let mut value = self.root.get(*first).unwrap_or(&Value::Null);
        for (index, part) in rest.iter().enumerate() {
            let walked = || format!("/{}", parts[..index + 2].join("/"));
            value = match value {
                Value::Object(fields) => fields.get(*part).unwrap_or(&Value::Null),
                Value::Array(items) => &items[element(items.len(), part, &walked())?],
                _ => return Err(TreeError::NotWalkable(parts[..index + 2].join("/"))),
            };
        }
        Ok(value)
    }

    /// What this tree becomes by an edit at a path. The objects' names are looked up anew.
    ///
    /// # Errors
    /// The edit isn't possible there, or two objects would have the same name.
    pub fn edited(&self, path: &str, edit: Edit) -> Result<Self, TreeError> {
        let mut root = Value::Object(self.root.clone());
        apply(&mut root, path, edit)?;
        if is_too_deep(&root) {
            return Err(TreeError::TooDeep);
        }
        // Sorted, as Caddy prints it.
        let Value::Object(root) = sort_keys(root) else { return Err(TreeError::NoPath) };
        let mut ids = BTreeMap::new();
        if let Some(config) = root.get(ROOT) {
            index_ids(config, &format!("/{ROOT}"), &mut ids)?;
        }
        Ok(Self { root, ids })
    }

    /// Where the object of that name stands.
    pub fn path_of_id(&self, id: &str) -> Option<&str> {
        self.ids.get(id).map(String::as_str)
    }

    /// A tag that changes whenever the value at `path` does: the path and a hash, in quotes.
    ///
    /// # Errors
    /// The path can't be walked.
    pub fn etag(&self, path: &str) -> Result<String, TreeError> {
        Ok(format!("\"{path} {:016x}\"", hash(self.get(path)?)))
    }
}

/// A hash of a value whose keys are sorted.
fn hash(value: &Value) -> u64 {
    fn feed(value: &Value, hasher: &mut std::hash::DefaultHasher) {
        match value {
            Value::Object(fields) => {
                3_u8.hash(hasher);
                fields.len().hash(hasher);
                for (key, value) in fields {
                    key.hash(hasher);
                    feed(value, hasher);
                }
            }
            Value::Array(items) => {
                2_u8.hash(hasher);
                items.len().hash(hasher);
                items.iter().for_each(|item| feed(item, hasher));
            }
            Value::String(text) => (1_u8, text).hash(hasher),
            Value::Number(_) | Value::Bool(_) | Value::Null => (0_u8, value.to_string()).hash(hasher),
        }
    }
    let mut hasher = std::hash::DefaultHasher::new();
    feed(value, &mut hasher);
    hasher.finish()
}

/// The parts of a path, and whether it ended in `...`.
fn split(path: &str) -> Result<(Vec<&str>, bool), TreeError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Err(TreeError::NoPath);
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    let many = parts.last() == Some(&ELLIPSIS);
    if many {
        parts.pop();
    }
    // Looked at here too, since each part of a path may become an object.
    if parts.len() > DEPTH_MAX + 1 {
        return Err(TreeError::TooDeep);
    }
    Ok((parts, many))
}

/// Whether a tree, whose root stands around the configuration, is too deep for all that goes down by recursion.
fn is_too_deep(root: &Value) -> bool {
    let mut left = vec![(root, 0)];
    while let Some((value, depth)) = left.pop() {
        match value {
            Value::Object(_) | Value::Array(_) if depth > DEPTH_MAX => return true,
            Value::Object(fields) => left.extend(fields.values().map(|value| (value, depth + 1))),
            Value::Array(items) => left.extend(items.iter().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    false
}

/// Reads an index that must be of an element that is there; `01` and `+1` are none.
fn element(len: usize, part: &str, path: &str) -> Result<usize, TreeError> {
    let index = index(part, path)?;
    if index < len {
        return Ok(index);
    }
    Err(TreeError::OutOfBounds { path: path.to_owned(), index: part.to_owned() })
}

fn index(part: &str, path: &str) -> Result<usize, TreeError> {
    let index: Option<i64> = part.parse().ok().filter(|index: &i64| index.to_string() == part);
    let index = index.ok_or_else(|| TreeError::NoIndex { path: path.to_owned(), index: part.to_owned() })?;
    usize::try_from(index)
        .map_err(|_| TreeError::OutOfBounds { path: path.to_owned(), index: part.to_owned() })
}

fn apply(root: &mut Value, path: &str, edit: Edit) -> Result<(), TreeError> {
    let (parts, many) = split(path)?;
    let (last, leading) = parts.split_last().ok_or(TreeError::NoPath)?;
    let mut value = root;
    for (at, part) in leading.iter().enumerate() {
        let walked = parts[..=at].join("/");
        value = match value {
            Value::Object(fields) => {
                if matches!(edit, Edit::Insert(_)) && fields.get(*part).is_none_or(Value::is_null) {
                    fields.insert((*part).to_owned(), Value::Object(Map::new()));
                }
                fields.get_mut(*part).ok_or(TreeError::NotWalkable(walked))?
            }
            Value::Array(items) => {
                let index = element(items.len(), part, &format!("/{walked}"))?;
                &mut items[index]
            }
            _ => return Err(TreeError::NotWalkable(walked)),
        };
    }
    match value {
        Value::Object(fields) => edit_key(fields, last, edit, many, path),
        Value::Array(items) => edit_element(items, last, edit, many, path),
        _ => Err(TreeError::NotWalkable(parts.join("/"))),
    }
}

fn edit_key(
    fields: &mut Map<String, Value>,
    key: &str,
    edit: Edit,
    many: bool,
    path: &str,
) -> Result<(), TreeError> {
    let missing = || TreeError::Missing { path: path.to_owned(), key: key.to_owned() };
    match edit {
        Edit::Put(value) => match fields.get_mut(key) {
            Some(Value::Array(items)) => return append(items, value, many),
            _ => {
                fields.insert(key.to_owned(), value);
            }
        },
        Edit::Insert(value) => {
            if fields.contains_key(key) {
                return Err(TreeError::Exists { path: path.to_owned(), key: key.to_owned() });
            }
            fields.insert(key.to_owned(), value);
        }
        Edit::Replace(value) => *fields.get_mut(key).ok_or_else(missing)? = value,
        Edit::Remove => drop(fields.shift_remove(key).ok_or_else(missing)?),
    }
    Ok(())
}

fn edit_element(
    items: &mut Vec<Value>,
    part: &str,
    edit: Edit,
    many: bool,
    path: &str,
) -> Result<(), TreeError> {
    match edit {
        // As in Caddy this appends, whatever the index.
        Edit::Put(value) => append(items, value, many)?,
        Edit::Insert(value) => {
            let index = index(part, path)?;
            if index > items.len() {
                return Err(TreeError::OutOfBounds { path: path.to_owned(), index: part.to_owned() });
            }
            items.insert(index, value);
        }
        Edit::Replace(value) => {
            let index = element(items.len(), part, path)?;
            items[index] = value;
        }
        Edit::Remove => drop(items.remove(element(items.len(), part, path)?)),
    }
    Ok(())
}

fn append(items: &mut Vec<Value>, value: Value, many: bool) -> Result<(), TreeError> {
    match value {
        Value::Array(more) if many => items.extend(more),
        _ if many => return Err(TreeError::NotArray),
        one => items.push(one),
    }
    Ok(())
}

fn index_ids(value: &Value, path: &str, ids: &mut BTreeMap<String, String>) -> Result<(), TreeError> {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key != ID {
                    index_ids(value, &format!("{path}/{key}"), ids)?;
                    continue;
                }
                let id = match value {
                    Value::String(id) => id.clone(),
                    Value::Number(id) => id.to_string(),
                    _ => return Err(TreeError::OddId(path.to_owned())),
                };
                if let Some(first) = ids.insert(id.clone(), path.to_owned()) {
                    return Err(TreeError::DuplicateId { id, first, second: path.to_owned() });
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| index_ids(item, &format!("{path}/{index}"), ids)),
        _ => Ok(()),
    }
}

/// A configuration as it is to be run: without the names (`@id`) of its objects.
pub fn without_ids(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, _)| *key != ID)
                .map(|(key, value)| (key.clone(), without_ids(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_ids).collect()),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree() -> ConfigTree {
        let config = json!({"list": ["a", "b"], "deep": {"key": 1}, "nested": [["x"]]});
        ConfigTree::default().edited("/config/", Edit::Put(config)).unwrap()
    }

    #[track_caller]
    fn edited(path: &str, edit: Edit, at: &str, expected: Value) {
        let tree = tree().edited(path, edit).unwrap();
        assert_eq!(tree.get(at).unwrap(), &expected);
    }

    #[track_caller]
    fn refused(path: &str, edit: Edit, expected: &str) {
        assert_eq!(tree().edited(path, edit).unwrap_err().to_string(), expected);
    }

    #[test]
    fn no_edit_makes_it_too_deep() {
        let try_out = || {
            let nested = |levels| (0..levels).fold(json!(1), |value, _| json!([value]));
            let keys = |count| format!("/config/{}", vec!["a"; count].join("/"));
            assert!(tree().edited(&keys(500), Edit::Insert(nested(499))).is_ok());
            for (keys_count, levels) in [(500, 501), (1001, 0), (30_000, 0)] {
                let refused = tree().edited(&keys(keys_count), Edit::Insert(nested(levels)));
                assert_eq!(refused.unwrap_err(), TreeError::TooDeep, "{keys_count} {levels}");
            }
        };
        // With as much room as the threads have that do it.
        let thread = std::thread::Builder::new().stack_size(32 << 20).spawn(try_out);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn reading() {
        let tree = tree();
        assert_eq!(tree.get("/config/list/1").unwrap(), &json!("b"));
        assert_eq!(tree.get("config/nested/0/0/").unwrap(), &json!("x"));
        assert_eq!(tree.get("/config/absent").unwrap(), &Value::Null);
        assert_eq!(ConfigTree::default().get("/config/").unwrap(), &Value::Null);
        let error = |path: &str| tree.get(path).unwrap_err().to_string();
        assert_eq!(error("/config/absent/x"), "invalid traversal path at: config/absent/x");
        assert_eq!(error("/config/list/2"), "[/config/list/2] array index out of bounds: 2");
        assert_eq!(error("/config/list/-1"), "[/config/list/-1] array index out of bounds: -1");
        assert_eq!(error("/config/list/01"), "[/config/list/01] invalid array index '01'");
    }

    #[test]
    fn posting_sets_or_appends() {
        edited("/config/list", Edit::Put(json!("c")), "/config/list", json!(["a", "b", "c"]));
        edited("/config/list/0", Edit::Put(json!("c")), "/config/list", json!(["a", "b", "c"]));
        edited("/config/list/...", Edit::Put(json!(["c", "d"])), "/config/list", json!(["a", "b", "c", "d"]));
        edited("/config/deep/key", Edit::Put(json!(2)), "/config/deep", json!({"key": 2}));
        edited("/config/deep/new", Edit::Put(json!(2)), "/config/deep", json!({"key": 1, "new": 2}));
        refused("/config/list/...", Edit::Put(json!("c")), "final element is not an array");
        refused("/config/absent/x", Edit::Put(json!(1)), "invalid traversal path at: config/absent");
    }

    #[test]
    fn putting_inserts_and_makes_the_way() {
        edited("/config/list/1", Edit::Insert(json!("c")), "/config/list", json!(["a", "c", "b"]));
        edited("/config/list/2", Edit::Insert(json!("c")), "/config/list", json!(["a", "b", "c"]));
        edited("/config/new/er/key", Edit::Insert(json!(1)), "/config/new", json!({"er": {"key": 1}}));
        refused("/config/list/3", Edit::Insert(json!("c")), "[/config/list/3] array index out of bounds: 3");
        refused("/config/deep/key", Edit::Insert(json!(2)), "[/config/deep/key] key already exists: key");
    }

    #[test]
    fn patching_and_deleting_want_something_there() {
        edited("/config/list/0", Edit::Replace(json!("c")), "/config/list", json!(["c", "b"]));
        edited("/config/nested/0/0", Edit::Replace(json!("y")), "/config/nested", json!([["y"]]));
        edited("/config/list/0", Edit::Remove, "/config/list", json!(["b"]));
        edited("/config/", Edit::Remove, "/config/", Value::Null);
        refused("/config/deep/x", Edit::Replace(json!(1)), "[/config/deep/x] key does not exist: x");
        refused("/config/deep/x", Edit::Remove, "[/config/deep/x] key does not exist: x");
        refused("/config/list/2", Edit::Remove, "[/config/list/2] array index out of bounds: 2");
    }

    #[test]
    fn an_edit_that_fails_leaves_no_trace() {
        let before = tree();
        assert!(before.edited("/config/new/list/x", Edit::Remove).is_err());
        assert_eq!(before.config(), tree().config());
    }

    #[test]
    fn objects_have_names() {
        let named = json!([{"@id": "one", "v": {"@id": 7}}]);
        let tree = tree().edited("/config/named", Edit::Put(named)).unwrap();
        assert_eq!(tree.path_of_id("one"), Some("/config/named/0"));
        assert_eq!(tree.path_of_id("7"), Some("/config/named/0/v"));
        assert_eq!(tree.path_of_id("two"), None);
        assert_eq!(tree.without_ids()["named"], json!([{"v": {}}]));
        let twice = tree.edited("/config/deep/x", Edit::Put(json!({"@id": "one"}))).unwrap_err();
        assert!(matches!(twice, TreeError::DuplicateId { .. }), "{twice}");
        let odd = tree.edited("/config/deep/x", Edit::Put(json!({"@id": []}))).unwrap_err();
        assert_eq!(odd, TreeError::OddId("/config/deep/x".to_owned()));
    }

    #[test]
    fn etags_follow_the_value_alone() {
        let tree = tree();
        let tag = tree.etag("/config/list").unwrap();
        assert!(tag.starts_with("\"/config/list ") && tag.ends_with('"'), "{tag}");
        let elsewhere = tree.edited("/config/deep/key", Edit::Put(json!(5))).unwrap();
        assert_eq!(elsewhere.etag("/config/list").unwrap(), tag);
        assert_ne!(elsewhere.etag("/config/").unwrap(), tree.etag("/config/").unwrap());
        let here = tree.edited("/config/list/0", Edit::Replace(json!("c"))).unwrap();
        assert_ne!(here.etag("/config/list").unwrap(), tag);
        let order = |text: &str| {
            let value = serde_json::from_str(text).unwrap();
            ConfigTree::default().edited("/config", Edit::Put(value)).unwrap().etag("/config").unwrap()
        };
        assert_eq!(order(r#"{"a":1,"b":2}"#), order(r#"{"b":2,"a":1}"#));
    }
}
