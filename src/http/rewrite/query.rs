//! Changes to the query, key by key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::regexp::{Regexp, Replacement};
use super::super::target::{escape_query, query_pairs, replace};
use super::super::template::{Template, Unknown};
use super::super::{Exchange, HandlerError, ProvisionError};
use crate::config::rewrite as config;

/// Changes to the query.
#[derive(Debug)]
pub(super) struct QueryChange {
    rename: Vec<(Template, Template)>,
    set: Vec<(Template, Template)>,
    add: Vec<(Template, Template)>,
    replace: Vec<(Template, Replace)>,
    delete: Vec<Template>,
}

#[derive(Debug)]
enum Replace {
    Text(Template, Template),
    Regexp(Regexp, Replacement),
}

/// A query by its keys, in order of their names as Go writes them.
type Keys = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

impl QueryChange {
    pub(super) fn compile(config: &config::QueryOps) -> Result<Self, ProvisionError> {
        let compile = |text: &String| Template::compile(text, Unknown::Empty);
        let arguments = |arguments: &[config::QueryArgument]| {
            arguments.iter().map(|argument| (compile(&argument.key), compile(&argument.val))).collect()
        };
        let mut replace = Vec::new();
        for one in &config.replace {
            replace.push((compile(&one.key), Replace::compile(one)?));
        }
        Ok(Self {
            rename: arguments(&config.rename),
            set: arguments(&config.set),
            add: arguments(&config.add),
            replace,
            delete: config.delete.iter().map(compile).collect(),
        })
    }

    pub(super) fn apply(&self, x: &mut Exchange) -> Result<(), HandlerError> {
        let mut keys = Keys::new();
        for (key, value) in query_pairs(x.uri.query().unwrap_or_default()).flatten() {
            keys.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        self.change(&mut keys, x);
        let path = x.uri.path().as_bytes().to_vec();
        let query = written(&keys);
        x.set_target(&path, (!query.is_empty()).then_some(&query))
    }

    fn change(&self, keys: &mut Keys, x: &Exchange) {
        let pairs = |pairs: &[(Template, Template)]| {
            let render = |(key, value): &(Template, Template)| {
                (key.render(x).into_owned(), value.render(x).into_owned())
            };
            pairs.iter().map(render).filter(|(key, _)| !key.is_empty()).collect::<Vec<_>>()
        };
        for (old, new) in pairs(&self.rename) {
            if !new.is_empty()
                && let Some(values) = keys.remove(&old)
            {
                keys.insert(new, values);
            }
        }
        for (key, value) in pairs(&self.set) {
            keys.insert(key, vec![value]);
        }
        for (key, value) in pairs(&self.add) {
            keys.entry(key).or_default().push(value);
        }
        for (key, replace) in &self.replace {
            let key = key.render(x);
            let meant = keys.iter_mut().filter(|(name, _)| *key == *b"*" || ***name == *key);
            for value in meant.flat_map(|(_, values)| values) {
                if let Cow::Owned(replaced) = replace.replace(value, x) {
                    *value = replaced;
                }
            }
        }
        for key in &self.delete {
            keys.remove(&*key.render(x));
        }
    }
}

impl Replace {
    fn compile(config: &config::QueryReplacement) -> Result<Self, ProvisionError> {
        if config.search_regexp.is_empty() {
            let [search, replace] =
                [&config.search, &config.replace].map(|text| Template::compile(text, Unknown::Keep));
            return Ok(Self::Text(search, replace));
        }
        let regexp = Regexp::new(&config.search_regexp).map_err(|error| {
            ProvisionError::invalid(format!(
                "compiling regular expression {} in query rewrite replace operation: replacement for query field \
                 '{}': {error}",
                config.search_regexp, config.key
            ))
        })?;
        Ok(Self::Regexp(regexp, Replacement::compile(&config.replace, Unknown::Keep)))
    }

    fn replace<'v>(&self, value: &'v [u8], x: &Exchange) -> Cow<'v, [u8]> {
        match self {
            Self::Text(search, with) => replace(value, &search.render(x), &with.render(x), usize::MAX),
            Self::Regexp(regexp, with) => regexp.replace_all(value, with, x),
        }
    }
}

/// The query as text (Go's `Values.Encode`).
fn written(keys: &Keys) -> Vec<u8> {
    let mut query = Vec::new();
    for (key, values) in keys {
        for value in values {
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend_from_slice(&escape_query(key));
            query.push(b'=');
            query.extend_from_slice(&escape_query(value));
        }
    }
    query
}
