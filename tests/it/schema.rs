//! What `tollgate schema` prints: it takes every configuration that the adapter writes, and no wrong one.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{gateway_binary, repository, repository_text};

/// What the adapter writes and the gateway refuses when it is loaded, and so does the schema.
const WRITTEN_ONLY: &[&str] = &["acme", "events", "timeouts", "url_pattern"];

fn printed() -> String {
    let output = Command::new(gateway_binary()).arg("schema").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn schema() -> Value {
    serde_json::from_str(&printed()).expect("JSON")
}

/// Checks values against a schema, as far as the schema's own keywords go; any other is an error.
struct Checker<'a> {
    root: &'a Value,
    complaints: Vec<String>,
}

impl Checker<'_> {
    /// What the schema has against `value`: the path and what is wrong there.
    fn complaints(root: &Value, value: &Value) -> Vec<String> {
        let mut checker = Checker { root, complaints: Vec::new() };
        checker.check(root, value, "");
        checker.complaints
    }

    /// The same for a part of the schema.
    fn complaints_of(root: &Value, part: &Value, value: &Value) -> Vec<String> {
        let mut checker = Checker { root, complaints: Vec::new() };
        checker.check(part, value, "");
        checker.complaints
    }

    fn check(&mut self, schema: &Value, value: &Value, path: &str) {
        let Value::Object(keywords) = schema else {
            assert_eq!(*schema, Value::Bool(true));
            return;
        };
        for (keyword, operand) in keywords {
            let fits = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "format" | "then" => true,
                "additionalProperties" | "properties" => true,
                "$ref" => {
                    let name = operand.as_str().and_then(|to| to.strip_prefix("#/$defs/")).expect("a name");
                    self.check(&self.root["$defs"][name], value, path);
                    true
                }
                "type" => is_of(operand, value),
                "enum" => operand.as_array().unwrap().contains(value),
                "const" => operand == value,
                "minimum" => value.as_f64().is_none_or(|it| it >= operand.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|it| it <= operand.as_f64().unwrap()),
                "pattern" => {
                    let pattern = regex::Regex::new(operand.as_str().unwrap()).unwrap();
                    value.as_str().is_none_or(|text| pattern.is_match(text))
                }
                "required" => {
                    let names = operand.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    value.as_object().is_none_or(|fields| names.into_iter().all(|n| fields.contains_key(n)))
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(operand, item, &format!("{path}.{index}"));
                    }
                    true
                }
                "allOf" => {
                    operand.as_array().unwrap().iter().for_each(|part| self.check(part, value, path));
                    true
                }
                "anyOf" | "oneOf" => operand.as_array().unwrap().iter().any(|one| {
                    let mut choice = Checker { root: self.root, complaints: Vec::new() };
                    choice.check(one, value, path);
                    choice.complaints.is_empty()
                }),
                "if" => {
                    let mut condition = Checker { root: self.root, complaints: Vec::new() };
                    condition.check(operand, value, path);
                    if condition.complaints.is_empty() {
                        self.check(&schema["then"], value, path);
                    }
                    true
                }
                other => panic!("{path}: the checker does not know `{other}`"),
            };
            if !fits {
                self.complaints.push(format!("{path}: {keyword}: {value}"));
            }
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(own), _) => self.check(own, field, &path),
                (None, Value::Null) => {}
                (None, Value::Bool(false)) => self.complaints.push(format!("{path}: unknown")),
                (None, other) => self.check(other, field, &path),
            }
        }
    }
}

/// Whether `value` is of a type, or of one of them.
fn is_of(types: &Value, value: &Value) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|one| is_of(one, value)),
        one => match one.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("no type: {other}"),
        },
    }
}

#[test]
fn it_is_the_same_each_time_and_has_what_it_points_at() {
    let text = printed();
    assert_eq!(text, printed());
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let pointed = text.split("\"#/$defs/").skip(1).map(|rest| rest.split('"').next().unwrap());
    let missing: Vec<&str> = pointed.filter(|name| schema["$defs"].get(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn it_takes_what_the_adapter_writes() {
    let schema = schema();
    let (mut taken, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(repository("tests/adapt")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let Some((_, json)) = text.split_once("\n----------\n") else { continue };
        let json = json.split("\nwarning: ").next().unwrap();
        let Ok(json) = serde_json::from_str::<Value>(json) else { continue };
        taken += 1;
        let written_only = |complaint: &String| {
            WRITTEN_ONLY.iter().any(|name| {
                complaint.ends_with(&format!(": enum: \"{name}\""))
                    || complaint.ends_with(&format!(".{name}: unknown"))
            })
        };
        let complaints = Checker::complaints(&schema, &json);
        let complaints = complaints.into_iter().filter(|complaint| !written_only(complaint));
        wrong.extend(complaints.map(|complaint| format!("{}: {complaint}", path.display())));
    }
    assert!(taken > 40, "the files were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A configuration with one server.
fn with_server(server: Value) -> Value {
    json!({"apps": {"http": {"servers": {"srv0": server}}}})
}

#[test]
fn it_takes_no_wrong_configuration() {
    let schema = schema();
    let handler = |handler: Value| with_server(json!({"routes": [{"handle": [handler]}]}));
    let server = ".apps.http.servers.srv0";
    let first = ".apps.http.servers.srv0.routes.0.handle.0";
    for (config, complaint) in [
        (json!({"apss": {}}), ".apss: unknown".to_owned()),
        (json!({"apps": {"htpp": {}}}), ".apps.htpp: unknown".into()),
        (json!({"apps": []}), ".apps: type: []".into()),
        (with_server(json!({"listne": [":80"]})), format!("{server}.listne: unknown")),
        (with_server(json!({"listen": ":80"})), format!("{server}.listen: type: \":80\"")),
        (with_server(json!({"listen": [80]})), format!("{server}.listen.0: type: 80")),
        (with_server(json!({"idle_timeout": "5 min"})), format!("{server}.idle_timeout: pattern: \"5 min\"")),
        (with_server(json!({"idle_timeout": 1.5})), format!("{server}.idle_timeout: type: 1.5")),
        (json!({"apps": {"http": {"http_port": 65_536}}}), ".apps.http.http_port: maximum: 65536".into()),
        (handler(json!({"body": "hi"})), format!("{first}: required: {{\"body\":\"hi\"}}")),
        (handler(json!({"handler": "respond"})), format!("{first}.handler: enum: \"respond\"")),
        (handler(json!({"handler": "subroute", "route": []})), format!("{first}.route: unknown")),
        (
            handler(json!({"handler": "subroute", "routes": [{"handle": [{"handler": "x"}]}]})),
            format!("{first}.routes.0.handle.0.handler: enum: \"x\""),
        ),
        (
            with_server(json!({"routes": [{"match": [{"not": [{"paht": ["/"]}]}]}]})),
            format!("{server}.routes.0.match.0.not.0.paht: unknown"),
        ),
        (
            json!({"logging": {"logs": {"default": {"writer": {"output": "paper"}}}}}),
            ".logging.logs.default.writer.output: enum: \"paper\"".into(),
        ),
        (handler(json!({"handler": "static_response", "boddy": "x"})), format!("{first}.boddy: unknown")),
        (
            handler(
                json!({"handler": "reverse_proxy", "transport": {"protocol": "http", "dial_timeout": "5 s"}}),
            ),
            format!("{first}.transport.dial_timeout: pattern: \"5 s\""),
        ),
        (
            handler(
                json!({"handler": "reverse_proxy", "load_balancing": {"selection_policy": {"policy": "first", "a": 1}}}),
            ),
            format!("{first}.load_balancing.selection_policy.a: unknown"),
        ),
        (
            handler(json!({"handler": "encode", "encodings": {"gzip": {"level": "5"}}})),
            format!("{first}.encodings.gzip.level: type: \"5\""),
        ),
        (
            with_server(json!({"routes": [{"match": [{"path": "/a"}]}]})),
            format!("{server}.routes.0.match.0.path: type: \"/a\""),
        ),
        (
            json!({"logging": {"logs": {"a": {"encoder": {"format": "filter", "fields": {"x": {"filter": "hash", "y": 1}}}}}}}),
            ".logging.logs.a.encoder.fields.x.y: unknown".into(),
        ),
        (json!({"storage": {"module": "memory"}}), ".storage.module: enum: \"memory\"".into()),
    ] {
        assert_eq!(Checker::complaints(&schema, &config), [complaint], "{config}");
    }
}

/// Modules that take any field: variables have any name.
const OPEN: &[&str] = &["vars"];

#[test]
fn each_module_takes_its_own_fields_only() {
    let schema = schema();
    let mut modules = 0;
    let mut open = Vec::new();
    for (namespace, choice) in schema["$defs"].as_object().unwrap() {
        let own = choice["allOf"].as_array().into_iter().flatten();
        for tag in choice["required"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap()) {
            let Some(names) = choice["properties"][tag]["enum"].as_array() else { continue };
            for name in names {
                modules += 1;
                let complaints =
                    Checker::complaints_of(&schema, choice, &json!({tag: name, "no_such_field": 1}));
                let told = complaints.iter().any(|complaint| complaint.contains(".no_such_field: unknown"));
                if !told {
                    open.push(format!("{namespace}.{}", name.as_str().unwrap()));
                }
                assert!(own.clone().any(|one| one["if"]["properties"][tag]["const"] == *name), "{name}");
            }
        }
        if choice.get("required").is_none() && namespace.contains('.') {
            for (name, own) in choice["properties"].as_object().into_iter().flatten() {
                modules += usize::from(name != "@id");
                assert_ne!(*own, json!(true), "{namespace}.{name} is not described");
            }
        }
    }
    let expected: Vec<String> = OPEN.iter().map(|name| format!("http.handlers.{name}")).collect();
    assert_eq!(open, expected);
    assert!(modules > 90, "{modules}");
}

#[test]
fn the_page_s_example_is_taken() {
    let page = repository_text("docs/schema.md");
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.expect("an example");
    let json: Value = serde_json::from_str(example).expect("JSON");
    assert_eq!(Checker::complaints(&schema(), &json), [""; 0]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gate.json");
    std::fs::write(&file, example).unwrap();
    let output = Command::new(gateway_binary()).args(["validate", "--config"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
