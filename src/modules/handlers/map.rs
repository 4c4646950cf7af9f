//! `map`: gives placeholders values that depend on another value.
//!
//! An input with `~` in front is a regular expression, and its outputs may hold `$1` and the like. An
//! output `-` leaves that one to the default.
//!
//! ```caddyfile
//! :8080 {
//! 	map {path} {kind} {age} {
//! 		/old/*        document 10
//! 		~^/v(\d+)/.*$ version  $1
//! 		default       unknown  0
//! 	}
//! 	respond "{kind} {age}"
//! }
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::vars::scalar_json;
use crate::adapt::{Directive, Error, Helper, Parse, Scalar, shorthand_of};
use crate::config::http::HANDLER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{ModuleJson, is_default};
use crate::http::regexp::{Regexp, Replacement};
use crate::http::{
    Exchange, Handler, HandlerType, NamedSource, Outcome, Provision, ProvisionError, Step, Template, Unknown,
};
use crate::module::Module;

const SYNTAX: &str = "map [<matcher>] <source> <destinations...> {
	[~]<input> <outputs...>
	default    <defaults...>
}";

pub(super) static MODULE: Module = Module {
    handler: Some(HandlerType { id: NAME, provision }),
    directives: &[Directive { name: NAME, syntax: SYNTAX, parse: Parse::Handler(parse) }],
    schemas: &[ModuleSchema::of::<MapJson>("http.handlers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "map";

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/handle/map/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MapJson {
    /// The text with placeholders that is looked up.
    #[serde(skip_serializing_if = "is_default")]
    source: String,
    /// The placeholders that get the outputs.
    #[serde(skip_serializing_if = "is_default")]
    destinations: Vec<String>,
    /// Inputs with their outputs; the first that matches counts.
    #[serde(skip_serializing_if = "is_default")]
    mappings: Vec<MappingJson>,
    /// Outputs where no mapping has one.
    #[serde(skip_serializing_if = "is_default")]
    defaults: Vec<String>,
}

/// An input with its outputs.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MappingJson {
    /// The input, or
    #[serde(skip_serializing_if = "is_default")]
    input: String,
    /// a regular expression for it.
    #[serde(skip_serializing_if = "is_default")]
    input_regexp: String,
    /// One output for each destination; `null` for none.
    #[serde(skip_serializing_if = "is_default")]
    outputs: Vec<Json>,
}

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    let mut map = MapJson::default();
    cursor.next();
    if !cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    cursor.val().clone_into(&mut map.source);
    map.destinations = cursor.remaining_args();
    if map.destinations.is_empty() {
        return Err(cursor.err("missing destination argument(s)"));
    }
    for destination in &map.destinations {
        if let Some(shorthand) = shorthand_of(destination) {
            return Err(cursor
                .err(format!("destination {shorthand} conflicts with a Caddyfile placeholder shorthand")));
        }
    }
    while cursor.next_block(0) {
        if cursor.val() == "default" {
            if !map.defaults.is_empty() {
                return Err(cursor.err("defaults already defined"));
            }
            map.defaults = cursor.remaining_args();
            let missing = map.destinations.len().saturating_sub(map.defaults.len());
            map.defaults.extend(std::iter::repeat_n(String::new(), missing));
            continue;
        }
        let input = cursor.val().to_owned();
        let mut outputs = Vec::new();
        while cursor.next_arg() {
            outputs.push(match cursor.scalar_val() {
                Some(Scalar::String(text)) if text == "-" => Json::Null,
                scalar => scalar.map_or(Json::Null, scalar_json),
            });
        }
        let Some(missing) = map.destinations.len().checked_sub(outputs.len()) else {
            return Err(cursor.err("too many outputs"));
        };
        outputs.extend(std::iter::repeat_n(Json::Null, missing));
        map.mappings.push(match input.strip_prefix('~') {
            Some(regexp) => MappingJson { input: String::new(), input_regexp: regexp.to_owned(), outputs },
            None => MappingJson { input, input_regexp: String::new(), outputs },
        });
    }
    Ok(ModuleJson::new(HANDLER_TAG, NAME, &map))
}

/// A provisioned map. Its outputs are worked out when they are used, from what the request is then.
struct Map {
    source: Template,
    destinations: Box<[Box<str>]>,
    mappings: Box<[Mapping]>,
    defaults: Box<[Template]>,
}

enum Mapping {
    Text(Box<str>, Box<[Option<Template>]>),
    Regexp(Regexp, Box<[Option<Replacement>]>),
}

struct MapHandler(Arc<Map>);

fn provision(json: &ModuleJson, _: &mut Provision<'_>) -> Result<Box<dyn Handler>, ProvisionError> {
    let config: MapJson = json.decode(HANDLER_TAG)?;
    validate(&config)?;
    let mut destinations = Vec::with_capacity(config.destinations.len());
    for destination in &config.destinations {
        if !destination.starts_with('{') || destination.matches('{').count() != 1 {
            return Err(ProvisionError::invalid("destination must be a placeholder and only a placeholder"));
        }
        destinations.push(destination.trim_matches(['{', '}']).into());
    }
    let mappings =
        config.mappings.iter().enumerate().map(|(index, mapping)| Mapping::compile(mapping, index));
    Ok(Box::new(MapHandler(Arc::new(Map {
        source: Template::compile(&config.source, Unknown::Empty),
        destinations: destinations.into(),
        mappings: mappings.collect::<Result<_, _>>()?,
        defaults: config.defaults.iter().map(|text| Template::compile(text, Unknown::Empty)).collect(),
    }))))
}

fn validate(config: &MapJson) -> Result<(), ProvisionError> {
    let destinations = config.destinations.len();
    let defaults = config.defaults.len();
    if defaults > 0 && defaults != destinations {
        return Err(ProvisionError::invalid(format!("{destinations} destinations != {defaults} defaults")));
    }
    let mut seen = std::collections::HashMap::new();
    for (index, mapping) in config.mappings.iter().enumerate() {
        if !mapping.input.is_empty() && !mapping.input_regexp.is_empty() {
            return Err(ProvisionError::invalid(format!(
                "mapping {index} has both input and input_regexp fields specified, which is confusing"
            )));
        }
        let input = if mapping.input_regexp.is_empty() { &mapping.input } else { &mapping.input_regexp };
        if let Some(first) = seen.insert(input, index) {
            return Err(ProvisionError::invalid(format!(
                "mapping {index} has a duplicate input '{input}' previously used with mapping {first}"
            )));
        }
        let outputs = mapping.outputs.len();
        if outputs != destinations {
            return Err(ProvisionError::invalid(format!(
                "mapping {index} has {outputs} outputs but there are {destinations} destinations defined"
            )));
        }
    }
    Ok(())
}

impl Mapping {
    fn compile(json: &MappingJson, index: usize) -> Result<Self, ProvisionError> {
        let outputs = json.outputs.iter().map(|output| match output {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        });
        if json.input_regexp.is_empty() {
            let compiled = outputs.map(|text| text.map(|text| Template::compile(&text, Unknown::Empty)));
            return Ok(Self::Text(json.input.as_str().into(), compiled.collect()));
        }
        let regexp = Regexp::new(&json.input_regexp).map_err(|error| {
            ProvisionError::invalid(format!("compiling regexp for mapping {index}: {error}"))
        })?;
        // As in Caddy, these outputs have groups but no placeholders.
        let compiled = outputs.map(|text| text.map(|text| Replacement::literal(&text)));
        Ok(Self::Regexp(regexp, compiled.collect()))
    }
}

impl Handler for MapHandler {
    fn handle<'p: 'x, 'x>(&'p self, x: &'x mut Exchange) -> Step<'p, 'x> {
        x.sources.push(self.0.clone());
        Step::Now(Outcome::Next)
    }
}

impl NamedSource for Map {
    fn value<'a>(&'a self, name: &str, x: &'a Exchange) -> Option<Cow<'a, [u8]>> {
        let index = self.destinations.iter().position(|destination| **destination == *name)?;
        let input = self.source.render(x);
        for mapping in &self.mappings {
            match mapping {
                Mapping::Text(expected, outputs) => {
                    if let Some(output) = &outputs[index]
                        && *input == *expected.as_bytes()
                    {
                        return Some(output.render(x));
                    }
                }
                Mapping::Regexp(regexp, outputs) => {
                    if let Some(output) = &outputs[index]
                        && let Some(text) = regexp.expand_first(&input, output, x)
                    {
                        return Some(Cow::Owned(text));
                    }
                }
            }
        }
        Some(self.defaults.get(index).map_or(Cow::Borrowed(b""), |default| default.render(x)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::modules::testing::{adapt, routes, site, try_site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = routes("map {path} {a} {b} {\n/x 1 -\n~^/y(.) y$1\ndefault d\n}")[0]["handle"][0].take();
        let expected = json!({
            "handler": NAME,
            "source": "{http.request.uri.path}",
            "destinations": ["{a}", "{b}"],
            "mappings": [
                {"input": "/x", "outputs": [1, null]},
                {"input_regexp": "^/y(.)", "outputs": ["y$1", null]},
            ],
            "defaults": ["d", ""],
        });
        assert_eq!(json, expected);
        for (line, says) in [
            ("map", "wrong argument count"),
            ("map {path}", "missing destination"),
            ("map {path} {host} {\nx 1\n}", "conflicts with a Caddyfile placeholder shorthand"),
            ("map {path} {a} {\nx 1 2\n}", "too many outputs"),
            ("map {path} {a} {\ndefault 1\ndefault 2\n}", "defaults already defined"),
        ] {
            let error = adapt(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn outputs_are_worked_out_when_they_are_used() {
        let site = site(
            "map {path} {a} {b} {\n/x {method} -\n~^/y(.) y$1\ndefault d \"{query.q}\"\n}\nmap {a} {c} {\nd deep\n}\n\
             rewrite /late /x\nrespond \"{a} {b} [{c}] {unknown}\"",
        );
        for (target, expected) in [
            ("/x?q={host}", "GET {host} [] {unknown}"),
            ("/yz", "yz  [] {unknown}"),
            ("/none", "d  [deep] {unknown}"),
            ("/late", "GET  [] {unknown}"),
        ] {
            assert_eq!(site.get(target, &[]).1, expected, "{target}");
        }
    }

    #[test]
    fn a_map_of_itself_ends() {
        assert_eq!(site("map {a} {a} {\nx 1\ndefault 2\n}\nrespond \"{a}\"").get("/", &[]).1, "2");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, says) in [
            ("map {path} a {\nx 1\n}", "destination must be a placeholder"),
            ("map {path} {a} {\nx 1\nx 2\n}", "mapping 1 has a duplicate input 'x'"),
            ("map {path} {a} {\n~( 1\n}", "compiling regexp for mapping 0: "),
        ] {
            let error = try_site(line).err().unwrap();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
