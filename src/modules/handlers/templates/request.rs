//! The request, as templates see it: Go's `http.Request`, as far as it makes sense here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Version};

use super::sprig;
use crate::config::canonical_header_name;
use crate::gotemplate::{Error, Map, Object, Value};
use crate::http::{Exchange, target};

/// What a rendering knows of its request.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) path: Vec<u8>,
    /// Method and target before the first change.
    pub(super) original: (String, String),
    pub(super) version: Version,
    pub(super) host: String,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) remote: String,
    pub(super) remote_ip: String,
    pub(super) client_ip: String,
    length: i64,
}

impl Snapshot {
    pub(super) fn of(x: &Exchange) -> Self {
        let target = String::from_utf8_lossy(&x.request_uri()).into_owned();
        let original = match &x.original {
            Some(original) => (original.method.to_string(), original.uri.to_string()),
            None => (x.method.to_string(), target.clone()),
        };
        let peer = x.conn.peer.map(|peer| std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        let length = http_body::Body::size_hint(&x.body).exact();
        Self {
            method: x.method.to_string(),
            path: x.path().into_owned(),
            target,
            original,
            version: x.version,
            host: x.host().to_owned(),
            headers: Arc::new(x.headers.clone()),
            remote: peer.map_or_else(|| "@".into(), |peer| peer.to_string()),
            remote_ip: peer.map_or_else(|| "@".into(), |peer| peer.ip().to_string()),
            client_ip: x.client_ip.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
            length: length.map_or(-1, |length| i64::try_from(length).unwrap_or(-1)),
        }
    }

    /// The first cookie of this name.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(http::header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        Some(unquoted.unwrap_or(value).to_owned())
    }

    /// The host without its port.
    pub(super) fn hostname(&self) -> Result<&str, Error> {
        match crate::config::split_host_port(&self.host) {
            Ok((host, _)) => Ok(host),
            Err(_) if !self.host.contains(':') => Ok(&self.host),
            Err(_) => Err(Error::new(format!("address {}: too many colons in address", self.host))),
        }
    }
}

/// The only argument, which must be text.
fn text(arguments: &[Value]) -> Result<String, Error> {
    match arguments {
        [_] => sprig::text(arguments, 0).map(Cow::into_owned),
        _ => Err(Error::new(format!("wrong number of args: got {}", arguments.len()))),
    }
}

/// `.Req`
#[derive(Debug)]
pub(super) struct Request(pub(super) Rc<Snapshot>);

impl Request {
    /// The request as it was before the first change.
    pub(super) fn original(snapshot: &Snapshot) -> Self {
        let (method, target) = snapshot.original.clone();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let path = percent_encoding::percent_decode_str(&path).collect();
        Self(Rc::new(Snapshot { method, target, path, ..snapshot.clone() }))
    }
}

impl Object for Request {
    fn type_name(&self) -> &'static str {
        "*http.Request"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let request = &*self.0;
        let header = |name: &str| {
            let value =
                request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            value.unwrap_or_default().into()
        };
        let (major, minor) = match request.version {
            Version::HTTP_10 => (1, 0),
            Version::HTTP_2 => (2, 0),
            Version::HTTP_3 => (3, 0),
            _ => (1, 1),
        };
        Some(Ok(match (name, arguments) {
            ("Method", []) => request.method.as_str().into(),
            ("URL", []) => Value::Object(Rc::new(Url(self.0.clone()))),
            ("Header", []) => Value::Object(Rc::new(Fields(request.headers.clone()))),
            ("Host", []) => request.host.as_str().into(),
            ("RemoteAddr", []) => request.remote.as_str().into(),
            ("RequestURI", []) => request.target.as_str().into(),
            ("Proto", []) => format!("HTTP/{major}.{minor}").into(),
            ("ProtoMajor", []) => Value::Int(major),
            ("ProtoMinor", []) => Value::Int(minor),
            ("ContentLength", []) => Value::Int(request.length),
            ("UserAgent", []) => header("user-agent"),
            ("Referer", []) => header("referer"),
            ("FormValue", arguments) => match text(arguments) {
                Ok(key) => query(&request.target)
                    .get(&key)
                    .and_then(|values| values.first().cloned())
                    .unwrap_or_else(|| "".into()),
                Err(error) => return Some(Err(error)),
            },
            ("Cookie", arguments) => match text(arguments) {
                Ok(name) => match request.cookie(&name) {
                    Some(value) => {
                        Map::from([("Name".into(), name.into()), ("Value".into(), value.into())]).into()
                    }
                    None => return Some(Err(Error::new("http: named cookie not present"))),
                },
                Err(error) => return Some(Err(error)),
            },
            _ => return None,
        }))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The arguments of a target's query; pairs that are malformed are left out, as in Go.
fn query(whole: &str) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, value) in target::query_pairs(whole.split_once('?').map_or("", |(_, query)| query)).flatten() {
        found
            .entry(String::from_utf8_lossy(&key).into_owned())
            .or_default()
            .push(Value::bytes(value.into_owned()));
    }
    found
}

/// `.Req.URL`
#[derive(Debug)]
struct Url(Rc<Snapshot>);

impl Object for Url {
    fn type_name(&self) -> &'static str {
        "*url.URL"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        if !arguments.is_empty() {
            return None;
        }
        let whole = self.0.target.as_str();
        let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
        Some(Ok(match name {
            "Path" => Value::bytes(&*self.0.path),
            "RawPath" => if path.as_bytes() == self.0.path { "" } else { path }.into(),
            "EscapedPath" => path.into(),
            "RawQuery" => query.into(),
            "Query" => Value::Object(Rc::new(Query(self.0.clone()))),
            "String" | "RequestURI" | "Redacted" => whole.into(),
            "Scheme" | "Host" | "Fragment" | "RawFragment" | "Opaque" | "Hostname" | "Port" => "".into(),
            "IsAbs" => false.into(),
            _ => return None,
        }))
    }

    fn text(&self) -> String {
        self.0.target.clone()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// `.Req.URL.Query`
#[derive(Debug)]
struct Query(Rc<Snapshot>);

impl Object for Query {
    fn type_name(&self) -> &'static str {
        "url.Values"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let values = || Ok(query(&self.0.target).remove(&text(arguments)?).unwrap_or_default());
        match name {
            "Get" => Some(values().map(|values| values.into_iter().next().unwrap_or_else(|| "".into()))),
            "Has" => Some(values().map(|values| (!values.is_empty()).into())),
            _ => None,
        }
    }

    fn as_plain(&self) -> Option<Value> {
        let values = query(&self.0.target);
        Some(values.into_iter().map(|(key, values)| (key, Value::from(values))).collect::<Map>().into())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Header fields, `.Req.Header`
#[derive(Debug)]
pub(super) struct Fields(pub(super) Arc<HeaderMap>);

/// What can be read from header fields in any case.
pub(super) fn field_member(
    headers: &HeaderMap,
    name: &str,
    arguments: &[Value],
) -> Option<Result<Value, Error>> {
    let values = || {
        let name = text(arguments)?;
        let values = headers.get_all(name.as_str()).iter();
        Ok(values.map(|value| Value::bytes(value.as_bytes())).collect::<Vec<_>>())
    };
    match name {
        "Get" => Some(values().map(|values| values.into_iter().next().unwrap_or_else(|| "".into()))),
        "Values" => Some(values().map(Value::from)),
        _ => None,
    }
}

/// Header fields as a map by Go's spelling of their names.
pub(super) fn field_map(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    // In Go the host is not among them.
    for name in headers.keys().filter(|name| **name != http::header::HOST) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| Value::bytes(value.as_bytes())).collect();
        map.insert(canonical_header_name(name.as_str()).into_owned(), values.into());
    }
    map.into()
}

impl Object for Fields {
    fn type_name(&self) -> &'static str {
        "http.Header"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        match arguments {
            [Value::Str(field)] if field.eq_ignore_ascii_case(b"host") && name == "Get" => {
                Some(Ok("".into()))
            }
            _ => field_member(&self.0, name, arguments),
        }
    }

    fn as_plain(&self) -> Option<Value> {
        Some(field_map(&self.0))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
