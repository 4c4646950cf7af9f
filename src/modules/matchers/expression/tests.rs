use super::*;
use crate::modules::testing::{matcher, routes, site};

fn value(expression: &str) -> Result<bool, String> {
    let mut x = Exchange::get("/cel/a?n=abcd&i=12", &[("x-n", "7"), ("host", "list.example")]);
    let matcher = matcher(NAME, &json!(expression)).map_err(|error| error.to_string())?;
    matcher.matches(&mut x).map_err(|error| error.message())
}

#[test]
fn it_is_written_as_in_caddy() {
    let json = |line: &str| routes(&format!("{line}\nrespond @m ok"))[0]["match"].take();
    for line in ["@m expression `{method} == \"GET\"`", "@m `{method} == \"GET\"`"] {
        let expected = json!([{NAME: {"expr": "{http.request.method} == \"GET\"", "name": "m"}}]);
        assert_eq!(json(line), expected, "{line}");
    }
    assert_eq!(
        json("@m expression {method} == \"GET\""),
        json!([{NAME: "{http.request.method} == \"GET\""}])
    );
}

// What cel-go makes of them.
#[test]
fn expressions_have_values() {
    for (expression, expected) in [
        ("{http.request.method} == 'GET' && {http.request.uri.path}.startsWith('/cel')", true),
        ("{http.request.header.X-N} == '8' || {http.request.uri.query.n}.size() > 3", true),
        ("{http.request.uri.path}.matches('^/cel/[a-z]+$')", true),
        ("int({http.request.uri.query.i}) > 10 && int({http.request.uri.query.i}) % 2 == 0", true),
        ("{http.request.host} in ['list.example', 'other.example']", true),
        ("{http.request.uri.query.none} != '' ? true : false", false),
        ("{nope.nope} == null", true),
        ("{http.request.remote.port} == 1234", true),
        ("{http.request.remote.port} == '1234'", false),
        ("{http.request.remote.port} in [1234.0]", true),
        ("'abc'.contains('b') && 'abc'.endsWith('c') && size('né') == 2", true),
        ("1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1", true),
        ("'a' + 'b' == 'ab' && [1] + [2] == [1, 2]", true),
        ("{'a': 1}['a'] == 1 && {'a': 1}.a == 1 && 'a' in {'a': 1} && has({'a': 1}.a)", true),
        ("[1, 2, 3].exists(n, n > 2) && ![1, 2].all(n, n > 1) && [1, 2].exists_one(n, n == 1)", true),
        ("[1, 2, 3].filter(n, n > 1).map(n, n * 2) == [4, 6]", true),
        ("[1, 2].map(n, n > 1, [3].map(m, n + m)) == [[5]]", true),
        ("'A,B'.lowerAscii().split(',').join('-') == 'a-b'", true),
        ("'tacocat'.substring(0, 4) == 'taco' && 'tacocat'.indexOf('c') == 2", true),
        ("'tacocat'.lastIndexOf('c') == 4 && 'taco'.charAt(1) == 'a' && ' a '.trim() == 'a'", true),
        ("'a.b.c'.replace('.', '', 1) == 'ab.c'", true),
        ("string(1) == '1' && double('1.5') == 1.5 && bool('true') && uint(1) == 1u", true),
        ("1.5 < 2.5 && dyn(1u) <= 1 && 'a' < 'b'", true),
        ("!(false || false)", true),
        // The other side decides, whatever went wrong on this one.
        ("int('x') == 1 || true", true),
        ("!(int('x') == 1 && false)", true),
        ("[1, 'x'].exists(n, int(n) == 1)", true),
    ] {
        assert_eq!(value(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn matchers_are_functions() {
    for (expression, expected) in [
        ("path('/cel/*', '/x') && method('get', 'HEAD')", true),
        ("header({'X-N': ['6', '7*']}) && !header({'X-N': '8'})", true),
        ("query({'n': 'abcd', 'i': ['1', '12']})", true),
        ("host('list.example') && protocol('HTTP') && remote_ip('192.0.2.0/24')", true),
        ("client_ip('10.0.0.0/8')", false),
        ("path_regexp('^/cel/(.)$') && {http.regexp.1} == 'a'", true),
        ("header_regexp('n', 'X-N', '^([0-9])$') && {http.regexp.n.1} == '7'", true),
        ("vars({'{http.request.method}': ['GET']}) && vars_regexp('{http.request.method}', '^G')", true),
        ("path('/' + {http.request.uri.path.0} + '/*')", true),
    ] {
        assert_eq!(value(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn what_has_no_value_is_an_error() {
    for (expression, says) in [
        ("int({http.request.uri.query.none}) == 1", "type conversion error"),
        ("{http.request.method} > 1", "no such overload"),
        ("{http.request.method}.foo == 1", "no such overload"),
        ("[1][2] == 1", "index out of bounds: 2"),
        ("{'a': 1}.b == 1", "no such key"),
        ("1 / 0 == 1", "division by zero"),
        ("'a'.substring(2) == ''", "index out of range: 2"),
        ("{nope.nope}.size() == 0", "no such overload"),
    ] {
        let error = value(expression).unwrap_err();
        assert!(error.contains(says), "{expression}: {error}");
    }
    let site = site("@m `int({query.i}) == 1`\nrespond @m one\nrespond other");
    assert_eq!(site.get("/?i=1", &[]), (200, "one".into()));
    assert_eq!(site.get("/?i=x", &[]).0, 500);
}

#[test]
fn what_can_never_have_one_is_refused() {
    for (expression, says) in [
        ("", "Syntax error"),
        ("1 + ", "Syntax error"),
        ("{http.request.method}", "expects return type of bool, not dyn"),
        ("1 + 1", "expects return type of bool, not int"),
        ("foo == 1", "undeclared reference to 'foo'"),
        ("foo('a')", "undeclared reference to 'foo'"),
        ("1 == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("1 < 2.5", "found no matching overload for '_<_' applied to '(int, double)'"),
        ("!1", "found no matching overload for '!_' applied to '(int)'"),
        ("true && 1", "found no matching overload for '_&&_'"),
        ("(1).contains('a')", "found no matching overload for 'contains'"),
        ("path(1)", "matcher arguments must be string constants"),
        ("header('a')", "matcher requires a map literal argument"),
        ("path_regexp('(')", "error parsing regexp"),
        ("'a'.matches('(')", "error parsing regexp"),
        ("remote_ip('x')", "invalid IP address: 'x'"),
    ] {
        let error = value(expression).unwrap_err();
        assert!(error.contains(says), "{expression}: {error}");
    }
}

#[test]
fn error_routes_are_chosen_by_status() {
    let site = site(
        "error /404 404\nerror /503 503\nerror 418\nhandle_errors 404 5xx {\nrespond \"{err.status_code}\"\n}",
    );
    assert_eq!(site.get("/404", &[]), (404, "404".into()));
    assert_eq!(site.get("/503", &[]), (503, "503".into()));
    assert_eq!(site.get("/", &[]), (418, String::new()));
}

#[test]
fn what_is_compared_with_the_environment_is_kept_out_of_logs() {
    let registry = crate::modules::registry();
    let mut ctx = Provision::new(&registry.handlers, &registry.matchers);
    for text in [
        "{http.request.header.X-Key} == {env.PATH} || {http.request.uri.query.key} == {env.PATH}",
        "{http.request.header.X-Plain} == 'a' && {http.request.uri.query.q} == 'b'",
    ] {
        let set = serde_json::Map::from_iter([(NAME.to_owned(), json!(text))]);
        ctx.matcher_set(&set).map(drop).unwrap();
    }
    let names = ctx.sensitive_names();
    assert!(names.is_header(&"x-key".parse().unwrap()) && names.is_query_key(b"key"));
    assert!(!names.is_header(&"x-plain".parse().unwrap()) && !names.is_query_key(b"q"));
}
