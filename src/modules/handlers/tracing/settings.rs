//! Where spans go, by the environment variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::http::{PRODUCT, ProvisionError};

/// Where a collector on this machine listens.
const ENDPOINT: &str = "http://localhost:4318";
/// The same for gRPC.
const GRPC_ENDPOINT: &str = "http://localhost:4317";
/// So long spans are gathered if nothing else is said, and at the most.
const GATHER: Duration = Duration::from_secs(5);
const GATHER_MAX: Duration = Duration::from_secs(60);
/// Where spans go below an endpoint for all signals.
const TRACES: &str = "/v1/traces";
/// What gRPC calls at an endpoint, whatever its path is.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

/// Where and how spans are sent.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) protocol: Protocol,
    pub(super) endpoint: Uri,
    /// How long spans are gathered before they are sent.
    pub(super) gather: Duration,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What is told of this process, `service.name` among it.
    pub(super) resource: Vec<(String, String)>,
}

impl Settings {
    /// What the environment says; none if nothing is to be sent.
    ///
    /// # Errors
    /// It asks for what there isn't.
    pub(super) fn read(variable: &dyn Fn(&str) -> String) -> Result<Option<Self>, ProvisionError> {
        let refused = |name: &str, value: &str| {
            Err(ProvisionError::invalid(format!("{name}: '{value}' is not supported")))
        };
        if variable("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true") {
            return Ok(None);
        }
        match variable("OTEL_TRACES_EXPORTER").as_str() {
            "" | "otlp" => {}
            "none" => return Ok(None),
            other => return refused("OTEL_TRACES_EXPORTER", other),
        }
        let own_or_common = |name: &str| {
            let own = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            if own.is_empty() { variable(&format!("OTEL_EXPORTER_OTLP_{name}")) } else { own }
        };
        let protocol = match own_or_common("PROTOCOL").as_str() {
            "" | "http/protobuf" => Protocol::Http,
            "grpc" => Protocol::Grpc,
            other => return refused("OTEL_EXPORTER_OTLP_PROTOCOL", other),
        };
        match own_or_common("COMPRESSION").as_str() {
            "" | "none" => {}
            other => return refused("OTEL_EXPORTER_OTLP_COMPRESSION", other),
        }
        for name in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            let said = own_or_common(name);
            if !said.is_empty() {
                return refused(&format!("OTEL_EXPORTER_OTLP_{name}"), &said);
            }
        }
        match variable("OTEL_TRACES_SAMPLER").as_str() {
            "" | "parentbased_always_on" => {}
            other => return refused("OTEL_TRACES_SAMPLER", other),
        }
        Ok(Some(Self {
            protocol,
            endpoint: endpoint(variable, protocol)?,
            gather: match variable("OTEL_BSP_SCHEDULE_DELAY").as_str() {
                "" => GATHER,
                said => match said.parse() {
                    Ok(milliseconds) => Duration::from_millis(milliseconds).min(GATHER_MAX),
                    Err(_) => return refused("OTEL_BSP_SCHEDULE_DELAY", said),
                },
            },
            headers: headers(&own_or_common("HEADERS"))?,
            resource: resource(variable),
        }))
    }
}

fn endpoint(variable: &dyn Fn(&str) -> String, protocol: Protocol) -> Result<Uri, ProvisionError> {
    let own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let common = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let text = match (protocol, own.is_empty(), common.is_empty()) {
        (_, false, _) => own,
        (Protocol::Grpc, _, false) => common,
        (Protocol::Grpc, _, true) => GRPC_ENDPOINT.to_owned(),
        (Protocol::Http, _, false) => format!("{}{TRACES}", common.trim_end_matches('/')),
        (Protocol::Http, _, true) => format!("{ENDPOINT}{TRACES}"),
    };
    let mut uri: Option<Uri> = text.parse().ok();
    if protocol == Protocol::Grpc {
        uri = uri.and_then(|uri| {
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static(EXPORT));
            Uri::from_parts(parts).ok()
        });
    }
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    uri.filter(is_web).ok_or_else(|| {
        ProvisionError::invalid(format!("OTEL_EXPORTER_OTLP_ENDPOINT: '{text}' is no web address"))
    })
}

/// `name=value,name=value`, with values percent-encoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    text.split(',').filter_map(move |pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name), decoded(value)))
    })
}

fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, ProvisionError> {
    let one = |(name, value): (String, String)| {
        // The value may be a key, so it is not shown.
        let bad = || ProvisionError::invalid(format!("OTEL_EXPORTER_OTLP_HEADERS: bad field '{name}'"));
        let mut field = HeaderValue::from_str(&value).map_err(|_| bad())?;
        field.set_sensitive(true);
        Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, field))
    };
    pairs(text).map(one).collect()
}

fn resource(variable: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    let service = variable("OTEL_SERVICE_NAME");
    let mut resource: Vec<_> = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES")).collect();
    if !service.is_empty() {
        resource.retain(|(name, _)| name != "service.name");
        resource.push(("service.name".into(), service));
    } else if !resource.iter().any(|(name, _)| name == "service.name") {
        resource.push(("service.name".into(), format!("unknown_service:{}", PRODUCT.to_lowercase())));
    }
    resource.push(("webengine.name".into(), PRODUCT.into()));
    resource.push(("webengine.version".into(), env!("CARGO_PKG_VERSION").into()));
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let variable = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
                .unwrap_or_default()
        };
        Settings::read(&variable).map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_on_this_machine_is_assumed() {
        let settings = read(&[]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://localhost:4318/v1/traces");
        assert!(settings.resource.contains(&("service.name".into(), "unknown_service:tollgate".into())));
    }

    #[test]
    fn what_is_said_of_traces_alone_counts_first() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.test:1/base/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other = c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=first,team=gate"),
            ("OTEL_SERVICE_NAME", "second"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint, "https://collector.test:1/base/v1/traces");
        assert_eq!(settings.headers[0], (HeaderName::from_static("x-key"), HeaderValue::from_static("a b")));
        assert_eq!(settings.headers[1].1, "c");
        assert_eq!(settings.resource[0], ("team".into(), "gate".into()));
        assert_eq!(settings.resource[1], ("service.name".into(), "second".into()));
        let own = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a.test"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b.test/here"),
        ]);
        assert_eq!(own.unwrap().unwrap().endpoint, "http://b.test/here");
    }

    #[test]
    fn grpc_has_a_port_of_its_own_and_one_path() {
        let endpoint = |address: &str| {
            let environment =
                [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", address)];
            let settings = read(&environment).unwrap().unwrap();
            assert_eq!(settings.protocol, Protocol::Grpc);
            settings.endpoint.to_string()
        };
        assert_eq!(endpoint(""), format!("http://localhost:4317{EXPORT}"));
        assert_eq!(endpoint("https://c.test:1/ignored"), format!("https://c.test:1{EXPORT}"));
    }

    #[test]
    fn what_is_not_wanted_is_not_sent_and_what_is_not_there_is_refused() {
        assert!(read(&[("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(read(&[("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        let error = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=\u{1}secret")]).unwrap_err();
        assert!(error.contains("x-key") && !error.contains("secret"), "{error}");
    }
}
