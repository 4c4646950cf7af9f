//! What holds for every configuration, however odd.

#[path = "../reading/mod.rs"]
mod reading;

use proptest::prelude::*;
use serde_json::{Value, json};

/// What means something to the adapter, with a broken bar between.
const WORDS: &str = concat!(
    "{\n¦}\n¦\n¦{¦}¦ ¦http://a¦:80¦a.localhost, ¦http://a:443¦{$HOST}¦{$KEY}¦{$EMPTY}¦respond ¦",
    "reverse_proxy ¦localhost:1 ¦handle ¦handle_path ¦route ¦header ¦handle_errors ¦log ¦tls ¦",
    "internal ¦bind ¦map ¦@m ¦@m path ¦path_regexp ¦[ ¦not ¦expression ¦`path('/')` ¦\"¦/x* ¦* ¦200 ¦",
    "-1 ¦5m ¦10MB ¦transport http ¦lb_policy ¦header_up ¦-X ¦+X ¦encode ¦basic_auth ¦import ¦(s) {\n¦",
    "import s\n¦&(r) {\n¦invoke r\n¦rewrite ¦uri strip_prefix ¦vars ¦redir ¦error ¦servers ¦order ¦",
    "respond first\n¦debug\n¦admin off\n¦auto_https ¦email ¦pki ¦file_server ¦root ¦templates ¦",
    "request_body ¦php_fastcgi ¦forward_auth ¦intercept ¦try_files ¦method ",
);

/// Texts made of what means something to the adapter, in no sensible order.
fn odd_caddyfile() -> impl Strategy<Value = String> {
    let words: Vec<&str> = WORDS.split('¦').collect();
    prop::collection::vec(prop::sample::select(words), 0..50).prop_map(|words| words.concat())
}

/// Values made of the names and kinds that a configuration has, in no sensible order.
fn odd_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1.5)),
        prop::sample::select(vec![
            "",
            "*",
            "/x",
            "static_response",
            "subroute",
            "headers",
            "vars",
            "{path}",
            "5m",
            "["
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let name = prop::sample::select(vec![
            "listen",
            "routes",
            "match",
            "handle",
            "handler",
            "path",
            "path_regexp",
            "pattern",
            "not",
            "headers",
            "response",
            "set",
            "body",
            "status_code",
            "group",
            "terminal",
            "errors",
            "named_routes",
            "expr",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_stop_the_adapter(bytes in any::<Vec<u8>>()) {
        reading::adapt_anything(&bytes);
    }

    #[test]
    fn no_odd_caddyfile_stops_the_adapter(text in odd_caddyfile()) {
        reading::adapt_anything(text.as_bytes());
        reading::adapt_anything(format!("http://a {{\n{text}\n}}\n").as_bytes());
    }

    #[test]
    fn no_bytes_stop_the_reader_of_json(bytes in any::<Vec<u8>>()) {
        reading::load_anything(&bytes);
    }

    #[test]
    fn no_odd_value_stops_the_reader_of_json(server in odd_value(), handler in odd_value(), matcher in odd_value()) {
        let servers = |server: &Value| json!({"apps": {"http": {"servers": {"s": server}}}});
        let route = json!({"routes": [{"match": [matcher], "handle": [handler]}]});
        reading::load_anything(servers(&server).to_string().as_bytes());
        reading::load_anything(servers(&route).to_string().as_bytes());
        reading::load_anything(server.to_string().as_bytes());
    }
}

/// Mistakes are looked for in bounded work, however many there are and however deep they stand.
#[test]
fn very_many_mistakes_are_counted_up_to_a_bound() {
    let many = |line: &str| format!("http://a {{\n{}}}\n", line.repeat(20_000));
    let deep = format!("http://a {{\n{}respnd\n{}}}\n", "handle {\nrespnd\n".repeat(90), "}\n".repeat(90));
    let wide = format!("http://a {{\nreverse_proxy {{\n{}}}\n}}\n", "nonsense\n".repeat(20_000));
    for text in [many("respnd x\n"), many("import nothing\n"), many("@m paht x\n"), deep, wide] {
        reading::adapt_anything(text.as_bytes());
    }
}
