//! The typed configuration as a JSON Schema (draft 2020-12), for editors that check and complete Caddy's JSON.
//!
//! The types describe themselves. Where a module stands they name its namespace only, since nothing here knows a
//! module; which ones there are is said when the schema is made.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::http::{App, HANDLER_TAG, Subroute};
use super::logging::{CORE_TAG, ENCODER_TAG, FILTER_TAG, WRITER_TAG};
use super::tls::{AcmeIssuer, ISSUER_TAG, InternalIssuer};
use super::{Apps, Config, pki, tls};

/// How the modules of a namespace are chosen where one can stand.
#[derive(Clone, Copy)]
enum Choice {
    /// An object that says under this tag which module it is.
    Tag(&'static str),
    /// An object of any number of modules by their names.
    Names,
}

macro_rules! slots {
    ($($slot:ident: $namespace:literal, $choice:expr;)*) => {
        $(
            #[doc = concat!("Where modules of `", $namespace, "` stand.")]
            pub struct $slot;

            impl JsonSchema for $slot {
                fn schema_name() -> Cow<'static, str> {
                    $namespace.into()
                }

                // What stands here is put in when the modules are known.
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({"type": "object"})
                }
            }
        )*

        /// All namespaces.
        const SLOTS: &[(&str, Choice)] = &[$(($namespace, $choice)),*];
    };
}

slots! {
    AuthenticationProviders: "http.authentication.providers", Choice::Names;
    CaPool: "tls.ca_pool.source", Choice::Tag("provider");
    CircuitBreaker: "http.reverse_proxy.circuit_breakers", Choice::Tag("type");
    CertificateLoaders: "tls.certificates", Choice::Names;
    CertificateManager: "tls.get_certificate", Choice::Tag("via");
    ClientVerifier: "tls.client_auth.verifier", Choice::Tag("verifier");
    ConfigLoader: "caddy.config_loaders", Choice::Tag("module");
    DnsProvider: "dns.providers", Choice::Tag("name");
    EchPublishers: "tls.ech.publishers", Choice::Names;
    Encoders: "http.encoders", Choice::Names;
    Handler: "http.handlers", Choice::Tag(HANDLER_TAG);
    HandshakeContext: "tls.context", Choice::Tag("module");
    HandshakeMatcherSet: "tls.handshake_match", Choice::Names;
    IpSource: "http.ip_sources", Choice::Tag("source");
    Issuer: "tls.issuance", Choice::Tag(ISSUER_TAG);
    LeafLoader: "tls.leaf_cert_loader", Choice::Tag("loader");
    ListenerWrapper: "caddy.listeners", Choice::Tag("wrapper");
    LogCore: "caddy.logging.cores", Choice::Tag(CORE_TAG);
    LogEncoder: "caddy.logging.encoders", Choice::Tag(ENCODER_TAG);
    LogFilter: "caddy.logging.encoders.filter", Choice::Tag(FILTER_TAG);
    LogWriter: "caddy.logging.writers", Choice::Tag(WRITER_TAG);
    Matchers: "http.matchers", Choice::Names;
    NetworkProxy: "caddy.network_proxy", Choice::Tag("from");
    PacketConnWrapper: "caddy.packetconns", Choice::Tag("wrapper");
    Permission: "tls.permission", Choice::Tag("module");
    SelectionPolicy: "http.reverse_proxy.selection_policies", Choice::Tag("policy");
    Storage: "caddy.storage", Choice::Tag("module");
    TicketKeys: "tls.stek", Choice::Tag("provider");
    Transport: "http.reverse_proxy.transport", Choice::Tag("protocol");
    UpstreamSource: "http.reverse_proxy.upstreams", Choice::Tag("source");
}

/// Makes the schema of one type.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What can be said of a module in JSON, besides the tag with its name.
#[derive(Clone, Copy)]
pub struct ModuleSchema {
    namespace: &'static str,
    name: &'static str,
    schema: SchemaOf,
}

impl ModuleSchema {
    /// The module of this name, which is read as a `T`.
    pub const fn of<T: JsonSchema>(namespace: &'static str, name: &'static str) -> Self {
        Self { namespace, name, schema: T::json_schema }
    }

    /// The module's full name.
    pub fn id(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }
}

/// The JSON form of a module of which nothing can be said.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Modules whose types are known here.
const TYPED: &[ModuleSchema] = &[
    ModuleSchema::of::<Nothing>("caddy.logging.cores", "mock"),
    ModuleSchema::of::<Nothing>("tls.stek", "standard"),
    ModuleSchema::of::<Subroute>("http.handlers", Subroute::NAME),
    ModuleSchema::of::<Vec<Matchers>>("http.matchers", "not"),
    ModuleSchema::of::<AcmeIssuer>("tls.issuance", AcmeIssuer::NAME),
    ModuleSchema::of::<InternalIssuer>("tls.issuance", InternalIssuer::NAME),
];

/// The modules of these full names that stand in some namespace of [`SLOTS`], and that nothing is known of.
#[cfg(test)]
pub(crate) fn open_modules(ids: &[String], schemas: &[ModuleSchema]) -> Vec<String> {
    let is_known = |id: &str| schemas.iter().chain(TYPED).any(|schema| schema.id() == id);
    let stands =
        |id: &str| id.rsplit_once('.').is_some_and(|(of, _)| SLOTS.iter().any(|(slot, _)| *slot == of));
    ids.iter().filter(|id| stands(id) && !is_known(id)).cloned().collect()
}

impl JsonSchema for Apps {
    fn schema_name() -> Cow<'static, str> {
        "Apps".into()
    }

    // An app that isn't typed is read, and refused when it is provisioned: to an editor it is unknown.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What runs.",
            "type": "object",
            "properties": {
                "http": generator.subschema_for::<Option<App>>(),
                "pki": generator.subschema_for::<Option<pki::Pki>>(),
                "tls": generator.subschema_for::<Option<tls::App>>(),
            },
            "additionalProperties": false,
        })
    }
}

/// The schema of a configuration in which modules of these full names can stand, such as
/// `http.handlers.static_response`; what can be said of them is told by `schemas`. It depends on them alone, and not on
/// their order.
pub fn of_config(ids: &[String], schemas: &[ModuleSchema]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let typed: Vec<(&str, &str, Value)> = TYPED
        .iter()
        .chain(schemas)
        .map(|row| (row.namespace, row.name, (row.schema)(&mut generator).to_value()))
        .collect();
    let mut root = generator.into_root_schema_for::<Config>().to_value();
    if let Some(definitions) = root.get_mut("$defs").and_then(Value::as_object_mut) {
        for (namespace, choice) in SLOTS {
            let typed = typed.iter().filter(|(of, ..)| of == namespace);
            let typed: Vec<(&str, &Value)> = typed.map(|(_, name, schema)| (*name, schema)).collect();
            let schema = of_modules(namespace, *choice, &names(ids, namespace), &typed);
            definitions.insert((*namespace).to_owned(), schema);
        }
        definitions.sort_keys();
    }
    root["title"] = "Tollgate's configuration: Caddy's JSON".into();
    finish(&mut root);
    root
}

/// The names of the modules of a namespace, sorted.
fn names<'a>(ids: &'a [String], namespace: &str) -> Vec<&'a str> {
    let of = |id: &'a String| id.rsplit_once('.').filter(|(of, _)| *of == namespace).map(|(_, name)| name);
    let mut names: Vec<&str> = ids.iter().filter_map(of).collect();
    names.sort_unstable();
    names
}

/// What can stand where modules of a namespace do.
fn of_modules(namespace: &str, choice: Choice, names: &[&str], typed: &[(&str, &Value)]) -> Value {
    let own = |name: &str| typed.iter().find(|(of, _)| *of == name).map(|(_, schema)| (*schema).clone());
    match choice {
        // With no module at all, whatever is said is refused by its name when it is loaded.
        _ if names.is_empty() => {
            json!({"description": format!("{namespace}: there is no such module yet."), "type": "object"})
        }
        Choice::Names => {
            let fields =
                names.iter().map(|name| ((*name).to_owned(), own(name).unwrap_or(Value::Bool(true))));
            json!({
                "description": format!("Modules of {namespace}, by name."),
                "type": "object",
                "properties": fields.collect::<Map<_, _>>(),
                "additionalProperties": false,
            })
        }
        Choice::Tag(tag) => {
            let own = names.iter().filter_map(|name| own(name).map(|schema| (name, schema)));
            let own: Vec<Value> = own
                .map(|(name, mut schema)| {
                    schema["properties"][tag] = json!(true);
                    json!({"if": {"required": [tag], "properties": {tag: {"const": name}}}, "then": schema})
                })
                .collect();
            let mut schema = json!({
                "description": format!("A module of {namespace}."),
                "type": "object",
                "required": [tag],
                "properties": {tag: {"enum": names}},
            });
            if !own.is_empty() {
                schema["allOf"] = own.into();
            }
            schema
        }
    }
}

/// What no type says of itself: any object can have an `@id`, by which the admin API finds it. Links between the types'
/// descriptions lead nowhere, so they are plain. An object that is optional is that object: editors then tell what is
/// wrong in it, and not that it is neither that nor `null`.
fn finish(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("additionalProperties") == Some(&Value::Bool(false))
                && let Some(Value::Object(properties)) = fields.get_mut("properties")
            {
                properties.insert("@id".to_owned(), json!({"type": ["string", "number"]}));
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            if let Some([Value::Object(own), null]) =
                fields.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
                && let Some(own) = own.get("$ref").filter(|_| *null == json!({"type": "null"})).cloned()
            {
                fields.shift_remove("anyOf");
                fields.insert("$ref".to_owned(), own);
            }
            fields.values_mut().for_each(finish);
        }
        Value::Array(items) => items.iter_mut().for_each(finish),
        _ => {}
    }
}
