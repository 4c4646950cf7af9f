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
        ("int({http.request.method}) == 1 || true", true),
        ("!(int({http.request.method}) == 1 && false)", true),
        ("[1, 'x'].exists(n, int(n) == 1)", true),
    ] {
        assert_eq!(value(expression), Ok(expected), "{expression}");
    }
}

// What cel-go makes of them.
#[test]
fn times_and_spans_are_values() {
    for expression in [
        "timestamp('2023-01-01T00:00:00Z') < timestamp('2024-01-01T00:00:00Z')",
        "{time.now} > timestamp('2020-01-01T00:00:00Z') && {time.now} - duration('1h') < {time.now}",
        "timestamp('2023-01-02T03:04:05.678Z').getHours() == 3 && timestamp(0).getFullYear() == 1970",
        "timestamp('2023-01-01T03:04:05Z').getFullYear('America/New_York') == 2022",
        "timestamp('2023-01-01T00:30:00Z').getHours('-08:00') == 16",
        "timestamp('2023-01-02T03:04:05.678Z').getMilliseconds() == 678",
        "timestamp('2023-03-05T00:00:00Z').getMonth() == 2 && timestamp('2023-03-05T00:00:00Z').getDate() == 5",
        "timestamp('2023-03-05T00:00:00Z').getDayOfMonth() == 4 && timestamp('2023-03-05T00:00:00Z').getDayOfWeek() == 0",
        "timestamp('2023-02-01T00:00:00Z').getDayOfYear() == 31",
        "timestamp('2023-01-01T00:00:00Z') + duration('1h') == timestamp('2023-01-01T01:00:00Z')",
        "timestamp('2023-01-01T01:00:00Z') - timestamp('2023-01-01T00:00:00Z') == duration('60m')",
        "duration('1h') + duration('30m') == duration('90m') && duration('1h') > duration('59m')",
        "duration('90s').getMinutes() == 1 && duration('90s').getSeconds() == 90",
        "int(timestamp('2023-01-01T00:00:00Z')) == 1672531200 && string(duration('90s')) == '90s'",
        "string(timestamp('2023-01-01T00:00:00Z')) == '2023-01-01T00:00:00Z'",
        "type({http.request.method}) == string && type(1) == int && type(1) != uint && type([]) == list && type(timestamp(0)) == google.protobuf.Timestamp",
        "type(type(1)) == type && type(null) == null_type",
    ] {
        assert_eq!(value(expression), Ok(true), "{expression}");
    }
}

// What cel-go makes of them.
#[test]
fn there_are_cel_gos_extensions() {
    for expression in [
        "cel.bind(path, {http.request.uri.path}, path == '/cel/a' && path.size() == 6)",
        "math.greatest(1, 2.5, 2u) == 2.5 && math.least([3, 1, 2]) == 1",
        "math.abs(-1) == 1 && math.sign(-2.5) == -1.0 && math.ceil(1.2) == 2.0 && math.round(-1.5) == -2.0",
        "math.bitAnd(6, 3) == 2 && math.bitOr(6, 3) == 7 && math.bitXor(6, 3) == 5 && math.bitNot(0) == -1",
        "math.bitShiftLeft(1, 4) == 16 && math.bitShiftRight(-1, 63) == 1 && math.bitShiftLeft(1, 64) == 0",
        "math.sqrt(9) == 3.0 && !math.isNaN(1.0) && math.isFinite(1.0) && !math.isInf(1.0)",
        "strings.quote('a\"b\\n') == '\"a\\\\\"b\\\\n\"'",
        "'%s-%d %.2f %e %x %X %b %o 100%%'.format(['a', 1, 1.005, 1500.0, 255, 'k', 5, 8]) \
         == 'a-1 1.00 1.500000e+03 ff 6B 101 10 100%'",
        "'%s %s'.format([{'b': [1, null], 'a': true}, duration('1500ms')]) == '{a: true, b: [1, null]} 1.5s'",
        "lists.range(64).map(n, n % 3 == 0 ? double('nan') : double(63 - n)).sort()[0] == 1.0",
        "lists.range(3000).map(n, string(n % 2)).distinct() == ['0', '1']",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b'] && [].sort() == []",
        "[{'n': 2}, {'n': 1}].sortBy(m, m.n)[0].n == 1",
        "[1, [2, [3]]].flatten() == [1, 2, [3]] && [1, [2, [3]]].flatten(2) == [1, 2, 3]",
        "[1, 1.0, 2].distinct() == [1, 2] && lists.range(3) == [0, 1, 2]",
        // A variable may be called as an extension is.
        "[{'abs': 1}].exists(math, math.abs == 1)",
    ] {
        assert_eq!(value(expression), Ok(true), "{expression}");
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
        ("timestamp({http.request.method}) == timestamp(0)", "google.protobuf.Timestamp"),
        ("timestamp({http.request.remote.port} * 1000000000) == timestamp(0)", "timestamp overflow"),
        ("duration({http.request.method}) == duration(0)", "google.protobuf.Duration"),
        ("lists.range(10001) == []", "at most 10000"),
        ("lists.range(1001).distinct() == []", "at most 1000"),
        ("[1, 'a'].sort() == []", "same type"),
        ("[[1], [2]].sort() == []", "comparable"),
        ("'%d'.format([{http.request.method}]) == ''", "can't be used on string"),
        ("math.greatest([]) == 1", "must not be empty"),
        ("math.bitShiftLeft(1, -1) == 1", "negative offset"),
        (
            "cel.bind(a, ['x'], cel.bind(b, lists.range(10000).map(i, 'x'), b + b + a == b.foo))",
            "no such overload",
        ),
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
        ("timestamp(0).getHours('No/Where') == 1", "unknown time zone No/Where"),
        ("timestamp(0).getHours({http.request.method}) == 1", "must be a string literal"),
        ("duration('1d') == duration('1s')", "google.protobuf.Duration"),
        ("timestamp('2023-01-01') == timestamp(0)", "google.protobuf.Timestamp"),
        ("int('x') == 1", "type conversion error"),
        ("'%d'.format(['a']) == ''", "can't be used on string"),
        ("'%s'.format([]) == ''", "not enough arguments"),
        ("math.ceil(1) == 1.0", "found no matching overload for 'math.ceil'"),
        ("duration('1s') == 1", "found no matching overload"),
        ("timestamp(0) + timestamp(0) == 1", "found no matching overload"),
        ("math.nope(1) == 1", "undeclared reference to 'math.nope'"),
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
