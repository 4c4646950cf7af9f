use serde_json::json;

use super::*;

/// The configuration after automatic HTTPS, and the names that need certificates.
fn applied(servers: Value, tls: Value, loaded: &[&str]) -> (http::App, Value, Vec<String>) {
    let json = json!({"http_port": 8080, "https_port": 8443, "servers": servers});
    let mut http: http::App = serde_json::from_value(json).unwrap();
    let mut tls: Option<tls::App> = serde_json::from_value(tls).unwrap();
    let names = apply(&mut http, &mut tls, &|name| loaded.contains(&name)).unwrap();
    (http, serde_json::to_value(tls).unwrap(), names.into_iter().collect())
}

fn site(listen: &str, hosts: &[&str]) -> Value {
    json!({"listen": [listen], "routes": [{"match": [{"host": hosts}], "handle": [{"handler": "site"}]}]})
}

/// For each route its hosts and where it leads; a handler's name if it is no redirect.
fn routes(server: &Server) -> Vec<(Vec<String>, String)> {
    let describe = |route: &http::Route| {
        let hosts = route.matcher_sets.iter().filter_map(|set| set.get("host")?.as_array()).flatten();
        let hosts = hosts.filter_map(|host| Some(host.as_str()?.to_owned())).collect();
        let json = serde_json::to_value(&route.handle[0]).unwrap();
        let leads = json["headers"]["Location"][0].as_str().or(json["handler"].as_str()).unwrap();
        (hosts, leads.to_owned())
    };
    server.routes.iter().map(describe).collect()
}

fn row(hosts: &[&str], leads: &str) -> (Vec<String>, String) {
    (hosts.iter().map(|host| (*host).to_owned()).collect(), leads.to_owned())
}

const PLAIN: &str = "https://{http.request.host}{http.request.uri}";
const PORT_9443: &str = "https://{http.request.host}:9443{http.request.uri}";

#[test]
fn a_site_gets_tls_a_certificate_and_a_redirect() {
    let (http, _, names) = applied(json!({"srv0": site(":8443", &["a.test"])}), json!(null), &[]);
    assert_eq!(names, ["a.test"]);
    assert_eq!(http.servers["srv0"].tls_connection_policies, [ConnectionPolicy::default()]);
    let redirects = &http.servers["remaining_auto_https_redirects"];
    assert_eq!(redirects.listen, [":8080"]);
    assert_eq!(routes(redirects), [row(&["a.test"], PLAIN), row(&[], PLAIN)]);
    let json = serde_json::to_value(&redirects.routes[0]).unwrap();
    assert_eq!(json["match"][0]["protocol"], "http");
    assert_eq!(json["handle"][0]["status_code"], 308);
    assert_eq!(json["handle"][0]["close"], true);
}

#[test]
fn a_server_on_the_http_port_is_left_alone() {
    let (http, tls, names) = applied(json!({"srv0": site(":8080", &["a.test"])}), json!(null), &[]);
    assert!(names.is_empty() && tls.is_null());
    assert_eq!(http.servers.len(), 1);
    assert!(http.servers["srv0"].tls_connection_policies.is_empty());
}

#[test]
fn another_port_needs_a_host_to_become_https() {
    let (http, _, names) = applied(json!({"srv0": {"listen": [":9443"]}}), json!(null), &[]);
    assert!(names.is_empty() && http.servers["srv0"].tls_connection_policies.is_empty());
    assert_eq!(http.servers.len(), 1);

    let (http, _, names) = applied(json!({"srv0": site(":9443", &["a.test"])}), json!(null), &[]);
    assert_eq!((names.len(), http.servers["srv0"].tls_connection_policies.len()), (1, 1));
    let redirects = &http.servers["remaining_auto_https_redirects"];
    assert_eq!(routes(redirects), [row(&["a.test"], PORT_9443), row(&[], PLAIN)]);
}

#[test]
fn the_https_port_without_hosts_redirects_everyone() {
    let (http, _, names) = applied(json!({"srv0": {"listen": [":8443"]}}), json!(null), &[]);
    assert!(names.is_empty());
    assert_eq!(http.servers["srv0"].tls_connection_policies.len(), 1);
    assert_eq!(routes(&http.servers["remaining_auto_https_redirects"]), [row(&[], PLAIN), row(&[], PLAIN)]);
}

#[test]
fn settings_leave_parts_out() {
    let with = |settings: Value| {
        let mut site = site(":8443", &["a.test", "b.test"]);
        site["automatic_https"] = settings;
        let (http, _, names) = applied(json!({"srv0": site}), json!(null), &["b.test"]);
        let redirects =
            http.servers.get("remaining_auto_https_redirects").map_or(0, |server| server.routes.len());
        (names.join(" "), redirects, http.servers["srv0"].tls_connection_policies.len())
    };
    assert_eq!(with(json!({})), ("a.test".into(), 2, 1));
    assert_eq!(with(json!({"disable": true})), (String::new(), 0, 0));
    assert_eq!(with(json!({"disable_redirects": true})), ("a.test".into(), 0, 1));
    assert_eq!(with(json!({"disable_certificates": true})), (String::new(), 2, 1));
    assert_eq!(with(json!({"skip": ["a.test"]})), (String::new(), 2, 1));
    assert_eq!(with(json!({"skip_certificates": ["a.test"]})), (String::new(), 2, 1));
    assert_eq!(with(json!({"ignore_loaded_certificates": true})), ("a.test b.test".into(), 2, 1));
}

#[test]
fn redirects_join_the_users_own_server() {
    let own = json!({"listen": [":8080"], "routes": [
        {"match": [{"host": ["c.test"]}], "handle": [{"handler": "own_host"}]},
        {"handle": [{"handler": "own_rest"}]},
    ]});
    let servers = json!({"a": site(":8443", &["a.test", "*.test"]), "own": own});
    let (http, _, _) = applied(servers.clone(), json!(null), &[]);
    assert_eq!(
        routes(&http.servers["own"]),
        [
            row(&["c.test"], "own_host"),
            row(&["*.test", "a.test"], PLAIN),
            row(&[], "own_rest"),
            row(&[], PLAIN)
        ]
    );
    // All certificates are given: what the user wrote comes first.
    let (http, _, _) = applied(servers, json!(null), &["a.test", "*.test"]);
    assert_eq!(
        routes(&http.servers["own"]),
        [row(&["c.test"], "own_host"), row(&[], "own_rest"), row(&[], PLAIN)]
    );
}

#[test]
fn a_host_on_two_ports_goes_to_the_https_port() {
    let servers = json!({
        "a": site(":8443", &["a.test", "*.b.test"]),
        "b": site(":9443", &["a.test", "x.b.test", "c.test"]),
    });
    let (http, _, _) = applied(servers, json!(null), &[]);
    assert_eq!(
        routes(&http.servers["remaining_auto_https_redirects"]),
        [row(&["c.test", "x.b.test"], PORT_9443), row(&["*.b.test", "a.test"], PLAIN), row(&[], PLAIN)]
    );
}

#[test]
fn each_interface_has_its_redirects() {
    let mut site = site("127.0.0.1:8443", &["a.test"]);
    site["listen"] = json!(["127.0.0.1:8443", "[::1]:8443"]);
    let (http, _, _) = applied(json!({"a": site}), json!(null), &[]);
    let redirects = &http.servers["remaining_auto_https_redirects"];
    assert_eq!(redirects.listen, ["127.0.0.1:8080", "[::1]:8080"]);
    assert_eq!(redirects.routes.len(), 3);
}

#[test]
fn names_of_this_machine_are_for_our_own_authority() {
    let servers = json!({"a": site(":8443", &["localhost", "10.0.0.1", "a.example.com", "x.internal"])});
    let (_, tls, _) = applied(servers.clone(), json!(null), &[]);
    let expected = json!([{
        "subjects": ["10.0.0.1", "localhost", "x.internal"],
        "issuers": [{"module": "internal"}],
    }]);
    assert_eq!(tls["automation"]["policies"], expected);

    let policies = json!([
        {"subjects": ["x.internal"], "key_type": "p384"},
        {"subjects": ["*.local", "localhost"]},
        {"key_type": "rsa2048"},
    ]);
    let (_, tls, _) = applied(servers, json!({"automation": {"policies": policies}}), &[]);
    let inserted =
        json!({"subjects": ["10.0.0.1"], "issuers": [{"module": "internal"}], "key_type": "rsa2048"});
    assert_eq!(tls["automation"]["policies"][2], inserted);
}

#[test]
fn names_of_tailscale_are_for_its_client() {
    let servers = json!({"a": site(":8443", &["X.tail.ts.net", "y.tail.ts.net", "a.example.com"])});
    let (_, tls, names) = applied(servers.clone(), json!(null), &[]);
    // They are not managed, but had at handshakes.
    assert_eq!(names, ["a.example.com"]);
    let subjects = json!(["X.tail.ts.net", "y.tail.ts.net"]);
    let expected = json!([{"subjects": subjects, "get_certificate": [{"via": "tailscale"}]}]);
    assert_eq!(tls["automation"]["policies"], expected);

    let policies = json!([
        {"subjects": ["y.tail.ts.net"], "key_type": "p384"},
        {"key_type": "rsa2048", "issuers": [{"module": "internal"}], "get_certificate": [{"via": "http", "url": "http://a"}]},
    ]);
    let (_, tls, names) = applied(servers, json!({"automation": {"policies": policies}}), &[]);
    assert_eq!(names, ["a.example.com", "y.tail.ts.net"]);
    let inserted = json!({
        "subjects": ["X.tail.ts.net"], "key_type": "rsa2048",
        "get_certificate": [{"url": "http://a", "via": "http"}, {"via": "tailscale"}],
    });
    assert_eq!(tls["automation"]["policies"][1], inserted);
}

#[test]
fn placeholders_in_hosts_must_have_a_value() {
    let json = json!({"servers": {"a": site(":443", &["{env.SURELY_NOT_SET}.test"])}});
    let mut http: http::App = serde_json::from_value(json).unwrap();
    let error = apply(&mut http, &mut None, &|_| false).unwrap_err().to_string();
    assert!(error.starts_with("a: route 0: host matcher: evaluated placeholder"), "{error}");
}

#[test]
fn an_address_that_makes_no_sense_is_named() {
    let json =
        json!({"servers": {"a": {"listen": [":443", ":x"], "routes": [{"match": [{"host": ["a"]}]}]}}});
    let mut http: http::App = serde_json::from_value(json).unwrap();
    let error = apply(&mut http, &mut None, &|_| false).unwrap_err().to_string();
    assert!(error.starts_with("a: invalid listener address: "), "{error}");
}

#[test]
fn names_are_certified_as_they_are_on_the_wire() {
    let servers = json!({"a": site(":8443", &["b\u{fc}cher.localhost"])});
    let policies = json!([{"subjects": ["b\u{fc}cher.localhost"], "key_type": "p384"}]);
    let (_, tls, names) = applied(servers, json!({"automation": {"policies": policies}}), &[]);
    assert_eq!(names, ["xn--bcher-kva.localhost"]);
    assert_eq!(tls["automation"]["policies"].as_array().map(Vec::len), Some(1));
}
