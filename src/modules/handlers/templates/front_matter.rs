//! What stands in front of a document: keys and values in YAML, TOML or JSON.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use saphyr_parser::{Event, Parser};

use super::sprig::from_json;
use crate::gotemplate::{Error, Map, Value};

/// What stands in front may have so many bytes.
const BYTES_MAX: usize = 64 * 1024;
/// So many places of it may repeat another one (YAML's aliases), which multiplies what is read.
const ALIASES_MAX: usize = 16;

/// Lists and maps of it may be nested this deep.
const NESTING_MAX: usize = 50;

/// Opening fence, closing ones, and how to read what is between.
type Form = (&'static str, &'static [&'static str], fn(&str) -> Result<Map, Error>);

const FORMS: [Form; 3] = [("---", &["---", "..."], yaml), ("+++", &["+++"], toml), ("{", &["}"], json)];

/// A document as `Meta` and `Body`.
pub(super) fn split(document: &str) -> Result<Value, Error> {
    let (meta, body) = parts(document)?;
    let meta = meta.map_or_else(|| Value::from(Map::new()), Value::from);
    Ok(Map::from([("Meta".to_owned(), meta), ("Body".to_owned(), body.into())]).into())
}

fn parts(document: &str) -> Result<(Option<Map>, &str), Error> {
    let mut start = 0;
    let mut end = 0;
    for line in document.split_inclusive('\n') {
        (start, end) = (end, end + line.len());
        if !line.trim().is_empty() {
            break;
        }
    }
    let first = &document[start..end];
    // Without a line end there is nothing behind the fence.
    let form = FORMS.iter().find(|(open, ..)| first.trim() == *open && first.ends_with('\n'));
    let Some((_, fences, read)) = form else { return Ok((None, document)) };
    let line_end = end - 1;
    let rest = &document[line_end..];
    let found = fences.iter().find_map(|fence| Some((rest.find(&format!("\n{fence}"))?, fence)));
    let Some((at, fence)) = found else { return Err(Error::new("unterminated front matter")) };
    let inner = &rest[..=at];
    if inner.len() > BYTES_MAX {
        return Err(Error::new("front matter too long"));
    }
    Ok((Some(read(inner)?), &rest[at + 1 + fence.len()..]))
}

/// Looks through a text before it is read: reading calls itself for what is nested, and copies what is
/// repeated.
fn check_yaml(text: &str) -> Result<(), Error> {
    let (mut depth, mut aliases) = (0_usize, 0_usize);
    for event in Parser::new_from_str(text) {
        match event.map_err(|error| Error::new(format!("yaml: {error}")))?.0 {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            Event::Alias(_) => aliases += 1,
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(Error::new("yaml: nested too deeply"));
        }
        if aliases > ALIASES_MAX {
            return Err(Error::new("yaml: too many aliases"));
        }
    }
    Ok(())
}

fn yaml(text: &str) -> Result<Map, Error> {
    check_yaml(text)?;
    let documents = Yaml::load_from_str(text).map_err(|error| Error::new(format!("yaml: {error}")))?;
    match documents.first().map(from_yaml) {
        None | Some(Value::Nil) => Ok(Map::new()),
        Some(Value::Map(map)) => Ok(map.take()),
        Some(_) => Err(Error::new("yaml: cannot unmarshal into a map")),
    }
}

fn from_yaml(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Boolean(truth)) => (*truth).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::FloatingPoint(number)) => number.into_inner().into(),
        Yaml::Value(Scalar::String(text)) | Yaml::Representation(text, ..) => Value::from(&**text),
        Yaml::Sequence(items) => items.iter().map(from_yaml).collect::<Vec<_>>().into(),
        Yaml::Mapping(entries) => {
            let entries =
                entries.iter().map(|(key, value)| (from_yaml(key).text().into_owned(), from_yaml(value)));
            entries.collect::<Map>().into()
        }
        Yaml::Tagged(_, inner) => from_yaml(inner),
        _ => Value::Nil,
    }
}

fn toml(text: &str) -> Result<Map, Error> {
    let table: toml::Table = text.parse().map_err(|error| Error::new(format!("toml: {error}")))?;
    match from_toml(&toml::Value::Table(table)) {
        Value::Map(map) => Ok(map.take()),
        _ => Ok(Map::new()),
    }
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(from_toml).collect::<Vec<_>>().into(),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), from_toml(value))).collect::<Map>().into()
        }
    }
}

fn json(text: &str) -> Result<Map, Error> {
    let whole =
        serde_json::from_str(&format!("{{{text}}}")).map_err(|error| Error::new(error.to_string()))?;
    match from_json(&whole) {
        Value::Map(map) => Ok(map.take()),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(document: &str) -> String {
        match parts(document) {
            Ok((meta, body)) => {
                format!("{}|{body}", meta.map_or("none".into(), |meta| Value::from(meta).text().into_owned()))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn front_matter_is_told_by_its_fence() {
        for (document, expected) in [
            ("---\ntitle: A b\nn: 3\ntags: [x, y]\n---\nbody", "map[n:3 tags:[x y] title:A b]|\nbody"),
            ("\n\n---\na: true\n...\nbody", "map[a:true]|\nbody"),
            ("+++\na = 1.5\n[b]\nc = \"x\"\n+++\nbody", "map[a:1.5 b:map[c:x]]|\nbody"),
            ("{\n\"a\": [1]\n}\nbody", "map[a:[1]]|\nbody"),
            ("no front\n---\n", "none|no front\n---\n"),
            ("---", "none|---"),
            ("---\na: 1\n", "unterminated front matter"),
            ("---\r\na: 1\r\n---\r\nb", "map[a:1]|\r\nb"),
        ] {
            assert_eq!(shown(document), expected, "{document:?}");
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let block = format!("---\n{}x\n---\n", "- ".repeat(30_000));
        let flow = format!("---\na: {}\n---\n", "[".repeat(60_000));
        let maps = format!("---\n{}x\n---\n", "? ".repeat(30_000));
        let json = format!("{{\n\"a\": {}\n}}\n", "[".repeat(60_000));
        let toml = format!("+++\na = {}\n+++\n", "[".repeat(60_000));
        let dotted = format!("+++\na{} = 1\n+++\n", ".a".repeat(30_000));
        for (document, says) in [
            (block, "yaml"),
            (flow, "yaml"),
            (maps, "yaml"),
            (json, "recursion"),
            (toml, "toml"),
            (dotted, "toml"),
        ] {
            let shown = shown(&document);
            assert!(shown.starts_with(says), "{says}: {}", &shown[..shown.len().min(200)]);
        }
    }

    #[test]
    fn what_multiplies_is_refused() {
        let bomb = format!("---\na: &a x\nb: [{}*a]\n---\n", "*a, ".repeat(20));
        assert_eq!(shown(&bomb), "yaml: too many aliases");
        assert!(shown("---\n: : :\n  - [\n---\n").starts_with("yaml: "));
    }
}
