//! Names of placeholders, read once at load.

use http::HeaderName;

use super::{
    CertificateField, Clock, ErrorField, FileValue, OriginalField, Placeholder, RequestField, TlsField,
};
use crate::http::UpstreamField;
use crate::http::regexp::GroupKey;
use crate::http::template::Part;

impl Part {
    /// The part for `{name}`: what does not change is looked up now. `None` if nothing can ever be
    /// known by that name.
    pub(in crate::http) fn parse(name: &str, written: &str) -> Option<Self> {
        if let Some(variable) = name.strip_prefix("env.") {
            use std::os::unix::ffi::OsStringExt as _;
            // An unset variable is known to be empty, as in Caddy.
            let value = std::env::var_os(variable).unwrap_or_default();
            return Some(Self::Known(value.into_vec().into()));
        }
        // The adapter writes a plain `*` in this way where an environment variable brought it in.
        if let Some(text) = name.strip_prefix("literal.") {
            return Some(Self::Known(text.as_bytes().into()));
        }
        if let Some(value) = system(name) {
            return Some(Self::Literal(value.into()));
        }
        Some(Self::Dynamic(Placeholder::parse(name)?, written.into()))
    }
}

/// `{system.*}`
fn system(name: &str) -> Option<String> {
    Some(match name {
        "system.hostname" => {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            name.trim_end().to_owned()
        }
        "system.slash" => std::path::MAIN_SEPARATOR.to_string(),
        "system.os" => match std::env::consts::OS {
            "macos" => "darwin",
            os => os,
        }
        .to_owned(),
        "system.arch" => match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            arch => arch,
        }
        .to_owned(),
        "system.wd" => {
            std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
        }
        _ => return None,
    })
}

impl Placeholder {
    /// The placeholder called `name`, without its braces; `None` if there can be none of that name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("http.") {
            return parse_http(rest).unwrap_or_else(|| named(name));
        }
        if let Some(path) = name.strip_prefix("file.") {
            return Some(Self::File(FileValue::new(path)));
        }
        if let Some(clock) = Clock::parse(name) {
            return Some(Self::Time(clock));
        }
        named(name)
    }
}

/// A name for handlers to fill. A brace or a backslash can't be part of one: it is text then.
fn named(name: &str) -> Option<Placeholder> {
    (!name.is_empty() && !name.contains(['{', '\\'])).then(|| Placeholder::Named(name.into()))
}

/// What is called `{http.REST}`: `None` if no such name is built in, `Some(None)` if it never exists.
fn parse_http(rest: &str) -> Option<Option<Placeholder>> {
    let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
    Some(Some(match (first, rest) {
        ("request", rest) => return parse_request(rest),
        ("vars", name) => Placeholder::Var(name.into()),
        ("error", "") => Placeholder::Error(ErrorField::Whole),
        ("error", "status_code") => Placeholder::Error(ErrorField::StatusCode),
        ("error", "status_text") => Placeholder::Error(ErrorField::StatusText),
        ("error", "message") => Placeholder::Error(ErrorField::Message),
        ("error", "trace") => Placeholder::Error(ErrorField::Trace),
        ("error", "id") => Placeholder::Error(ErrorField::Id),
        ("response", field) => header(field.strip_prefix("header.")?, Placeholder::ResponseHeader),
        ("intercept", "status_code") => Placeholder::InterceptedStatus,
        ("intercept", field) => header(field.strip_prefix("header.")?, Placeholder::InterceptedHeader),
        ("reverse_proxy", field) => Placeholder::Upstream(UpstreamField::parse(field)?),
        ("regexp", key) if !key.is_empty() => match key.split_once('.') {
            Some((name, key)) => Placeholder::Capture(Some(name.into()), GroupKey::parse(key)),
            None => Placeholder::Capture(None, GroupKey::parse(key)),
        },
        ("shutting_down", "") => Placeholder::Request(RequestField::ShuttingDown),
        ("time_until_shutdown", "") => Placeholder::Nothing,
        _ => return None,
    }))
}

/// A header placeholder; a name that can't be a header's has no value.
fn header(name: &str, make: fn(HeaderName) -> Placeholder) -> Placeholder {
    name.parse().map_or(Placeholder::Nothing, make)
}

fn parse_request(name: &str) -> Option<Option<Placeholder>> {
    if let Some(field) = request_field(name) {
        return Some(Some(Placeholder::Request(field)));
    }
    if let Some(field) = name.strip_prefix("header.") {
        // Neither is among the header fields in Go: Host is the request's own, and framing is gone.
        let gone = ["host", "transfer-encoding"].iter().any(|gone| field.eq_ignore_ascii_case(gone));
        return Some(Some(if gone { Placeholder::Nothing } else { header(field, Placeholder::Header) }));
    }
    if let Some(key) = name.strip_prefix("uri.query.") {
        return Some(Some(Placeholder::QueryKey(key.as_bytes().into())));
    }
    if let Some(index) = name.strip_prefix("uri.path.") {
        return Some(index.parse().ok().map(Placeholder::PathSegment));
    }
    if let Some(index) = name.strip_prefix("host.labels.") {
        return Some(index.parse().ok().map(Placeholder::HostLabel));
    }
    if let Some(field) = name.strip_prefix("orig_") {
        return Some(Some(Placeholder::Original(original_field(field)?)));
    }
    if let Some(cookie) = name.strip_prefix("cookie.") {
        return Some(Some(Placeholder::Cookie(cookie.into())));
    }
    if let Some(bits) = name.strip_prefix("remote.host/") {
        let (v4, v6) = bits.split_once(',').unwrap_or((bits, bits));
        return Some(Some(Placeholder::RemoteNetwork(v4.parse().ok(), v6.parse().ok())));
    }
    let field = name.strip_prefix("tls.")?;
    Some(TlsField::parse(&field.to_ascii_lowercase()).map(Placeholder::Tls))
}

fn request_field(name: &str) -> Option<RequestField> {
    use RequestField as Field;
    Some(match name {
        "method" => Field::Method,
        "scheme" => Field::Scheme,
        "proto" => Field::Proto,
        "proto_name" => Field::ProtoName,
        "host" => Field::Host,
        "port" => Field::Port,
        "hostport" => Field::HostPort,
        "local" => Field::Local,
        "local.host" => Field::LocalHost,
        "local.port" => Field::LocalPort,
        "remote" => Field::Remote,
        "remote.host" => Field::RemoteHost,
        "remote.port" => Field::RemotePort,
        "uri" => Field::Uri,
        "uri_escaped" => Field::UriEscaped,
        "uri.path" => Field::Path,
        "uri.path_escaped" => Field::PathEscaped,
        "uri.path.file" => Field::File,
        "uri.path.dir" => Field::Dir,
        "uri.path.file.base" => Field::FileBase,
        "uri.path.file.ext" => Field::FileExtension,
        "uri.query" => Field::Query,
        "uri.query_escaped" => Field::QueryEscaped,
        "uri.prefixed_query" => Field::PrefixedQuery,
        "duration" => Field::Duration,
        "duration_ms" => Field::DurationMs,
        "uuid" => Field::Uuid,
        "body" => Field::Body,
        "body_base64" => Field::BodyBase64,
        _ => return None,
    })
}

fn original_field(name: &str) -> Option<OriginalField> {
    use OriginalField as Field;
    Some(match name {
        "method" => Field::Method,
        "uri" => Field::Uri,
        "uri.path" => Field::Path,
        "uri.path.file" => Field::File,
        "uri.path.dir" => Field::Dir,
        "uri.query" => Field::Query,
        "uri.prefixed_query" => Field::PrefixedQuery,
        _ => Field::PathSegment(name.strip_prefix("uri.path.")?.parse().ok()?),
    })
}

impl TlsField {
    /// The field called `name`, in lower case and without `http.request.tls.`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "version" => Self::Version,
            "cipher_suite" => Self::CipherSuite,
            "resumed" => Self::Resumed,
            "proto" => Self::Proto,
            "proto_mutual" => Self::Mutual,
            "server_name" => Self::ServerName,
            "ech" => Self::Ech,
            _ => Self::Client(CertificateField::parse(name.strip_prefix("client.")?)?),
        })
    }
}

impl CertificateField {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "fingerprint" => Self::Fingerprint,
            "public_key" => Self::PublicKey,
            "public_key_sha256" => Self::PublicKeySha256,
            "issuer" => Self::Issuer,
            "subject" => Self::Subject,
            "serial" => Self::Serial,
            "certificate_pem" => Self::Pem,
            "certificate_der_base64" => Self::DerBase64,
            _ => {
                let (kind, index) = match name.strip_prefix("san.")?.split_once('.') {
                    Some((kind, index)) => (kind, Some(index.parse().ok()?)),
                    None => (name.strip_prefix("san.")?, None),
                };
                match kind {
                    "dns_names" => Self::DnsNames(index),
                    "emails" => Self::Emails(index),
                    "ips" => Self::Ips(index),
                    "uris" => Self::Uris(index),
                    _ => return None,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_finds_its_field() {
        let debug = |name| Placeholder::parse(name).map(|placeholder| format!("{placeholder:?}"));
        for (name, found) in [
            ("http.request.method", "Request(Method)"),
            ("http.request.uri.path.2", "PathSegment(2)"),
            ("http.request.uri.path.file.ext", "Request(FileExtension)"),
            ("http.request.header.x-a", "Header(\"x-a\")"),
            ("http.request.header.HOST", "Nothing"),
            ("http.request.orig_uri.path.0", "Original(PathSegment(0))"),
            ("http.request.remote.host/24,64", "RemoteNetwork(Some(24), Some(64))"),
            ("http.request.tls.Client.SAN.dns_names.0", "Tls(Client(DnsNames(Some(0))))"),
            ("http.reverse_proxy.upstream.hostport", "Upstream(Hostport)"),
            ("http.regexp.login.1", "Capture(Some(\"login\"), Index(1))"),
            ("http.regexp.year", "Capture(None, Name(\"year\"))"),
            ("http.auth.user.id", "Named(\"http.auth.user.id\")"),
            ("http.matchers.file.relative", "Named(\"http.matchers.file.relative\")"),
            ("time.now.unix", "Time(Unix)"),
        ] {
            assert_eq!(debug(name).as_deref(), Some(found), "{name}");
        }
        for name in
            ["", "a{b", "http.request.host.labels.x", "http.request.uri.path.-1", "http.request.tls.x"]
        {
            assert_eq!(debug(name), None, "{name}");
        }
    }

    #[test]
    fn what_never_changes_is_looked_up_once() {
        assert!(
            matches!(Part::parse("env.PATH", "{env.PATH}"), Some(Part::Known(value)) if !value.is_empty())
        );
        assert!(
            matches!(Part::parse("env.NOT_SET", "{env.NOT_SET}"), Some(Part::Known(value)) if value.is_empty())
        );
        assert!(
            matches!(Part::parse("system.slash", "{system.slash}"), Some(Part::Literal(text)) if &*text == "/")
        );
    }
}
