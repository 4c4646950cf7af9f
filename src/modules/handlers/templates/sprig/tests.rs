//! What sprig answers.

use super::*;

fn call(name: &str, arguments: &[Value]) -> String {
    match find(name).unwrap_or_else(|| panic!("no {name}"))(arguments) {
        Ok(value) => value.text().into_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn v(text: &str) -> Value {
    text.into()
}

fn l(items: &[i64]) -> Value {
    items.iter().copied().map(Value::Int).collect::<Vec<_>>().into()
}

#[test]
fn text_functions() {
    for (name, arguments, expected) in [
        ("upper", vec![v("aé")], "AÉ"),
        ("title", vec![v("hello wide-world")], "Hello Wide-World"),
        ("untitle", vec![v("Hello World")], "hello world"),
        ("trimAll", vec![v("$"), v("$5$")], "5"),
        ("trimSuffix", vec![v("-"), v("a-")], "a"),
        ("repeat", vec![Value::Int(3), v("ab")], "ababab"),
        ("substr", vec![Value::Int(0), Value::Int(3), v("abcdef")], "abc"),
        ("substr", vec![Value::Int(3), Value::Int(-1), v("abcdef")], "def"),
        ("trunc", vec![Value::Int(3), v("abcdef")], "abc"),
        ("trunc", vec![Value::Int(-2), v("abcdef")], "ef"),
        ("abbrev", vec![Value::Int(5), v("hello world")], "he..."),
        ("abbrevboth", vec![Value::Int(5), Value::Int(10), v("1234 5678 9123")], "...5678..."),
        ("quote", vec![v("a\"b"), Value::Int(1)], "\"a\\\"b\" \"1\""),
        ("indent", vec![Value::Int(2), v("a\nb")], "  a\n  b"),
        ("plural", vec![v("one"), v("many"), Value::Int(1)], "one"),
        ("snakecase", vec![v("FirstName")], "first_name"),
        ("kebabcase", vec![v("FirstName")], "first-name"),
        ("camelcase", vec![v("http_server")], "HttpServer"),
        ("wrap", vec![Value::Int(5), v("aa bb cc")], "aa bb\ncc"),
        ("initials", vec![v("First Try")], "FT"),
        ("split", vec![v("$"), v("a$b")], "map[_0:a _1:b]"),
        ("splitList", vec![v(","), v("a,b")], "[a b]"),
        ("join", vec![v("-"), l(&[1, 2])], "1-2"),
        ("replace", vec![v(" "), v("-"), v("a b c")], "a-b-c"),
        ("regexReplaceAll", vec![v("a(x*)b"), v("-ab-axxb-"), v("${1}W")], "-W-xxW-"),
        ("regexFindAll", vec![v("[2,4,6,8]"), v("123456789"), Value::Int(-1)], "[2 4 6 8]"),
        ("regexMatch", vec![v("^a+$"), v("aaa")], "true"),
        ("upper", vec![Value::Int(1)], "error: wrong type for value; expected string; got int"),
        ("upper", vec![], "error: wrong number of args: got 0"),
    ] {
        assert_eq!(call(name, &arguments), expected, "{name} {arguments:?}");
    }
}

#[test]
fn numbers_lists_and_maps() {
    let dict = || find("dict").unwrap()(&[v("a"), Value::Int(1), v("b"), v("x")]).unwrap();
    for (name, arguments, expected) in [
        ("add", vec![Value::Int(1), v("2"), Value::Float(3.9)], "6"),
        ("div", vec![Value::Int(7), Value::Int(2)], "3"),
        ("div", vec![Value::Int(7), Value::Int(0)], "error: integer divide by zero"),
        ("round", vec![Value::Float(123.5555), Value::Int(3)], "123.556"),
        ("max", vec![Value::Int(1), Value::Int(5), Value::Int(3)], "5"),
        ("until", vec![Value::Int(3)], "[0 1 2]"),
        ("untilStep", vec![Value::Int(3), Value::Int(9), Value::Int(2)], "[3 5 7]"),
        ("seq", vec![Value::Int(0), Value::Int(2), Value::Int(5)], "0 2 4"),
        ("until", vec![Value::Int(1 << 60)], "error: the result would be too long"),
        ("first", vec![l(&[1, 2, 3])], "1"),
        ("rest", vec![l(&[1, 2, 3])], "[2 3]"),
        ("initial", vec![l(&[1, 2, 3])], "[1 2]"),
        ("reverse", vec![l(&[1, 2, 3])], "[3 2 1]"),
        ("uniq", vec![l(&[1, 1, 2])], "[1 2]"),
        ("without", vec![l(&[1, 2, 3]), Value::Int(2)], "[1 3]"),
        ("has", vec![Value::Int(2), l(&[1, 2])], "true"),
        ("slice", vec![l(&[1, 2, 3, 4]), Value::Int(1), Value::Int(3)], "[2 3]"),
        ("chunk", vec![Value::Int(2), l(&[1, 2, 3])], "[[1 2] [3]]"),
        ("get", vec![dict(), v("a")], "1"),
        ("set", vec![dict(), v("c"), Value::Int(3)], "map[a:1 b:x c:3]"),
        ("keys", vec![dict()], "[a b]"),
        ("omit", vec![dict(), v("a")], "map[b:x]"),
        (
            "merge",
            vec![dict(), find("dict").unwrap()(&[v("a"), v("no"), v("z"), v("new")]).unwrap()],
            "map[a:1 b:x z:new]",
        ),
        ("default", vec![v("d"), v("")], "d"),
        ("ternary", vec![v("y"), v("n"), true.into()], "y"),
        ("coalesce", vec![Value::Nil, v(""), v("x")], "x"),
        ("kindOf", vec![l(&[])], "slice"),
        ("clean", vec![v("/a/../b//c/.")], "/b/c"),
        ("ext", vec![v("a/b.tar.gz")], ".gz"),
        ("dir", vec![v("/a/b")], "/a"),
    ] {
        assert_eq!(call(name, &arguments), expected, "{name} {arguments:?}");
    }
    let itself = dict();
    let error = call("set", &[itself.clone(), v("self"), itself]);
    assert_eq!(error, "error: a map can't be put into itself");
}

#[test]
fn encodings_and_times() {
    for (name, arguments, expected) in [
        ("b64enc", vec![v("hello")], "aGVsbG8="),
        ("b64dec", vec![v("aGVsbG8=")], "hello"),
        ("b32enc", vec![v("hi")], "NBUQ===="),
        ("b32dec", vec![v("NBUQ====")], "hi"),
        ("b32dec", vec![v("!")], "illegal base32 data"),
        ("sha256sum", vec![v("")], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("adler32sum", vec![v("Hello")], "93061621"),
        (
            "toJson",
            vec![find("fromJson").unwrap()(&[v(r#"{"a":[1,2.5,"<"]}"#)]).unwrap()],
            r#"{"a":[1,2.5,"\u003c"]}"#,
        ),
        (
            "date",
            vec![v("2006-01-02"), find("toDate").unwrap()(&[v("2006-01-02"), v("2017-12-31")]).unwrap()],
            "2017-12-31",
        ),
        ("dateInZone", vec![v("15:04 MST"), Value::Int(0), v("UTC")], "00:00 UTC"),
        ("duration", vec![Value::Int(95)], "1m35s"),
        ("durationRound", vec![v("2h10m5s")], "2h"),
        ("unixEpoch", vec![Value::Int(7)], "7"),
    ] {
        assert_eq!(call(name, &arguments), expected, "{name} {arguments:?}");
    }
    assert_eq!(call("randAlphaNum", &[Value::Int(20)]).len(), 20);
    assert_ne!(call("uuidv4", &[]), call("uuidv4", &[]));
}

#[test]
fn nothing_grows_without_bound() {
    let long = v(&"a ".repeat(600_000));
    let many_groups = v(&"$1".repeat(4_000_000));
    for (name, arguments, says) in [
        ("splitList", vec![v(""), long.clone()], "too many parts"),
        ("split", vec![v(" "), v(&" ".repeat(1_000_000))], "too many parts"),
        ("regexSplit", vec![v(""), long.clone(), Value::Int(-1)], "too many parts"),
        ("regexFindAll", vec![v("."), long.clone(), Value::Int(-1)], "too many parts"),
        ("wrapWith", vec![Value::Int(1), long.clone(), long.clone()], "would be too long"),
        ("regexReplaceAll", vec![v("(.*)"), long.clone(), many_groups], "would be too long"),
        ("regexReplaceAllLiteral", vec![v("a"), long.clone(), long.clone()], "would be too long"),
        ("expandenv", vec![v(&"$PATH".repeat(1_600_000))], "would be too long"),
        ("replace", vec![v(""), long.clone(), long.clone()], "would be too long"),
        ("repeat", vec![Value::Int(i64::MAX), v("ab")], "would be too long"),
        ("indent", vec![Value::Int(1 << 40), v("ab")], "would be too long"),
    ] {
        assert!(call(name, &arguments).ends_with(says), "{name}");
    }
    assert_eq!(call("splitList", &[v(" "), long.clone()]).len(), 2 * 600_000 + 2);
}

#[test]
fn what_is_merged_is_as_it_was_before() {
    let first = Value::from(Map::from([("x".to_owned(), v("1"))]));
    let around = |name: &str| Value::from(Map::from([(name.to_owned(), first.clone())]));
    let arguments: Vec<_> =
        std::iter::once(first.clone()).chain((0..64).map(|n| around(&n.to_string()))).collect();
    find("merge").unwrap()(&arguments).unwrap();
    // Each of the others held the first one when that had one entry.
    assert_eq!(first.length(), Some(65));
    assert_eq!(call("get", &[first, v("63")]), "map[x:1]");
}

#[test]
fn keys_and_certificates() {
    let function = |name: &str| find(name).unwrap();
    let key = function("genPrivateKey")(&[v("ecdsa")]).unwrap();
    assert!(key.text().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    assert_eq!(call("genPrivateKey", &[v("x")]), "Unknown type x");
    let authority = function("genCAWithKey")(&[v("ca"), Value::Int(365), key.clone()]).unwrap();
    let Value::Object(object) = &authority else { panic!("{authority:?}") };
    let member = |name: &str| object.member(name, &[]).unwrap().unwrap();
    assert_eq!(member("Key").text(), key.text());
    assert!(object.member("Other", &[]).is_none());
    let encoded = |name: &str| function("b64enc")(&[member(name)]).unwrap();
    assert_eq!(call("buildCustomCert", &[encoded("Cert"), encoded("Key")]), authority.text());
    let names: Value = vec![v("a.test")].into();
    let leaf = [v("leaf"), vec![v("::1")].into(), names, Value::Int(1), authority.clone(), key.clone()];
    assert!(call("genSignedCertWithKey", &leaf).starts_with("{-----BEGIN CERTIFICATE-----\n"));
    let own = |ips: Value| [v("own"), ips, Value::Nil, Value::Int(1), key.clone()];
    assert!(call("genSelfSignedCertWithKey", &own(Value::Nil)).contains("-----END CERTIFICATE-----\n"));
    for (name, arguments, expected) in [
        ("genSelfSignedCertWithKey", own(vec![v("x")].into()).to_vec(), "error: error parsing ip: x"),
        ("genSelfSignedCertWithKey", own(l(&[1])).to_vec(), "error: error parsing ip: 1 is not a string"),
        ("genCA", vec![v("ca")], "error: wrong number of args: want 2 got 1"),
        (
            "genCAWithKey",
            vec![v("ca"), Value::Int(1), v("x")],
            "error: parsing private key: no PEM data in input",
        ),
        (
            "genSignedCert",
            vec![v("a"), Value::Nil, Value::Nil, Value::Int(1), v("x")],
            "error: wrong type for value; expected sprig.certificate; got string",
        ),
        ("buildCustomCert", vec![v("?"), v("")], "error: unable to decode base64 certificate"),
        ("buildCustomCert", vec![v("eA=="), v("eA==")], "error: unable to decode certificate"),
    ] {
        assert_eq!(call(name, &arguments), expected, "{name}");
    }
}

#[test]
fn passwords_and_encrypted_texts() {
    let hash = call("bcrypt", &[v("pw")]);
    assert!(hash.starts_with("$2a$10$") && bcrypt::verify("pw", &hash).unwrap(), "{hash}");
    assert!(call("htpasswd", &[v("u"), v("pw")]).starts_with("u:$2a$10$"));
    assert_eq!(call("htpasswd", &[v("u:x"), v("pw")]), "invalid username: u:x");
    let long = "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes";
    assert_eq!(call("bcrypt", &[v(&"a".repeat(73))]), long);
    assert_eq!(call("randBytes", &[Value::Int(12)]).len(), 16);
    assert!(call("randBytes", &[Value::Int(-1)]).starts_with("error: "));
    // Of sprig's own documentation.
    let theirs = v("30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ=");
    assert_eq!(call("decryptAES", &[v("secretkey"), theirs.clone()]), "plaintext");
    let ours = v(&call("encryptAES", &[v("secret"), v("text")]));
    assert_eq!(call("decryptAES", &[v("secret"), ours]), "text");
    assert_eq!(call("encryptAES", &[v("secret"), v("")]), "");
    for (password, text) in [("other", theirs), ("secretkey", v("xx")), ("secretkey", v("c2hvcnQ="))] {
        assert!(call("decryptAES", &[v(password), text]).starts_with("error: "));
    }
}

// What Caddy 2.11.7 says.
#[test]
fn constraints_on_versions() {
    let versions = [
        "1.2.3",
        "1.2.4",
        "1.3.0",
        "2.0.0",
        "0.2.3",
        "0.2.4",
        "0.0.3",
        "0.0.4",
        "1.2.3-a",
        "1.2.3-b.1",
        "0.1.0",
        "1.2.0",
        "1.4.5",
        "1.4.6",
        "1.2.4-a",
        "3.0.0",
    ];
    // Which of them a constraint takes.
    for (constraint, expected) in [
        ("1.2.3", "x..............."),
        ("=1.2.3", "x..............."),
        ("!=1.2.3", ".xxxxxxx..xxxx.x"),
        (">1.2.3", ".xxx........xx.x"),
        ("<1.2.3", "....xxxx..xx...."),
        (">=1.2", "xxxx.......xxx.x"),
        ("<=1.2", "xx..xxxx..xx...."),
        (">1.2", "..xx........xx.x"),
        (">1", "...x...........x"),
        ("<1.2", "....xxxx..x....."),
        ("~1.2.3", "xx.............."),
        ("~1.2", "xx.........x...."),
        ("~1", "xxx........xxx.."),
        ("~>1.2.3", "xx.............."),
        ("^1.2.3", "xxx.........xx.."),
        ("^0.2.3", "....xx.........."),
        ("^0.0.3", "......x........."),
        ("^0.0", "......xx........"),
        ("^0", "....xxxx..x....."),
        ("^1.x", "xxx........xxx.."),
        ("1.x", "xxx........xxx.."),
        ("1.2.x", "xx.........x...."),
        ("*", "xxxxxxxx..xxxx.x"),
        ("1.2 - 1.4.5", "xxx........xx..."),
        (">=1.2, <2", "xxx........xxx.."),
        (">=1.2 <2", "xxx........xxx.."),
        (">=1.2 || 0.1", "xxxx......xxxx.x"),
        ("!=1.2", "..xxxxxx..x.xx.x"),
        ("!=1", "...xxxxx..x....x"),
        ("=>1.2", "xxxx.......xxx.x"),
        ("=<1.2", "xx..xxxx..xx...."),
        (">1.2.3-a", "xxxx.....x..xxxx"),
        ("^1.2.3-b", "xxx......x..xxx."),
        ("~0", "....xxxx..x....."),
        ("x", "xxxxxxxx..xxxx.x"),
        (">=1.2.3-0", "xxxx....xx..xxxx"),
        ("~0.0.0", "xxxxxxxx..xxxx.x"),
        ("<=1", "xxx.xxxx..xxxx.."),
        (">=1.x", "xxxx.......xxx.x"),
        ("!=1.x", "...xxxxx..x....x"),
        ("1 || 2", "xxxx.......xxx.."),
        (">= 1.2.3", "xxxx........xx.x"),
        (" 1.2.3 ", "x..............."),
    ] {
        let takes = |version: &&str| call("semverCompare", &[v(constraint), v(version)]) == "true";
        let taken: String = versions.iter().map(|it| if takes(it) { 'x' } else { '.' }).collect();
        assert_eq!(taken, expected, "{constraint}");
    }
}

#[test]
fn what_is_no_constraint_is_refused() {
    for constraint in ["", "1.2.3 - ", ">>1", "1 - 2 - 3", "1.2.3.4", "^", "1,", "|| 1"] {
        let error = call("semverCompare", &[v(constraint), v("1.2.3")]);
        assert!(error.starts_with("error: improper constraint: "), "{constraint:?}: {error}");
    }
}

#[test]
fn versions_and_their_parts() {
    for (version, expected) in [
        ("1.2.3-a.1+b", "1.2.3-a.1+b"),
        ("1.2", "1.2.0"),
        ("v1", "1.0.0"),
        ("01.2-a", "1.2.0-a"),
        ("", "error: invalid semantic version"),
        ("1.2.3.4", "error: invalid semantic version"),
        ("1.2.3-", "error: invalid semantic version"),
        ("1.2.3-01", "error: version segment starts with 0"),
    ] {
        assert_eq!(call("semver", &[v(version)]), expected);
    }
    let version = |text: &str| find("semver").unwrap()(&[v(text)]).unwrap();
    let Value::Object(own) = version("v1.2.3-a+b") else { panic!("no version") };
    let member = |name: &str| own.member(name, &[]).unwrap().unwrap().text().into_owned();
    for (name, expected) in [
        ("Major", "1"),
        ("Prerelease", "a"),
        ("Metadata", "b"),
        ("Original", "v1.2.3-a+b"),
        ("IncPatch", "1.2.3"),
        ("IncMinor", "1.3.0"),
        ("IncMajor", "2.0.0"),
    ] {
        assert_eq!(member(name), expected, "{name}");
    }
    let compared =
        |name: &str, other: &str| own.member(name, &[version(other)]).unwrap().unwrap().text().into_owned();
    assert_eq!((compared("Compare", "1.2.4"), compared("Equal", "1.2.3-a")), ("-1".into(), "true".into()));
    assert!(own.member("Compare", &[v("1")]).unwrap().is_err() && own.member("Foo", &[]).is_none());
}

// What Caddy 2.11.7 says.
#[test]
fn urls_are_taken_apart_and_put_together() {
    for (url, expected) in [
        (
            "http://u:p@h:1/a b?c=d#e",
            "map[fragment:e host:h:1 hostname:h opaque: path:/a b query:c=d scheme:http userinfo:u:p]",
        ),
        ("//h/p", "map[fragment: host:h hostname:h opaque: path:/p query: scheme: userinfo:]"),
        ("mailto:a@b", "map[fragment: host: hostname: opaque:a@b path: query: scheme:mailto userinfo:]"),
        (
            "http://[::1]:80/x",
            "map[fragment: host:[::1]:80 hostname:::1 opaque: path:/x query: scheme:http userinfo:]",
        ),
        (
            "HTTP://H/%41?x=%zz#%41",
            "map[fragment:A host:H hostname:H opaque: path:/A query:x=%zz scheme:http userinfo:]",
        ),
        (
            "1http://h",
            "error: unable to parse url: parse \"1http://h\": first path segment in URL cannot contain colon",
        ),
        ("http://h:x/", "error: unable to parse url: parse \"http://h:x/\": invalid port \":x\" after host"),
        ("http://h/%zz", "error: unable to parse url: parse \"http://h/%zz\": invalid URL escape \"%zz\""),
        (
            "http://a b/",
            "error: unable to parse url: parse \"http://a b/\": invalid character \" \" in host name",
        ),
        ("://x", "error: unable to parse url: parse \"://x\": missing protocol scheme"),
    ] {
        assert_eq!(call("urlParse", &[v(url)]), expected);
    }
    let joined = |parts: &[(&str, &str)]| {
        let arguments: Vec<Value> = parts.iter().flat_map(|(name, part)| [v(name), v(part)]).collect();
        call("urlJoin", &[find("dict").unwrap()(&arguments).unwrap()])
    };
    for (parts, expected) in [
        (
            &[
                ("scheme", "http"),
                ("host", "h:80"),
                ("path", "/p q"),
                ("query", "q=a b"),
                ("fragment", "f g"),
                ("userinfo", "u:p"),
            ][..],
            "http://u:p@h:80/p%20q?q=a b#f%20g",
        ),
        (&[("host", "h")], "//h"),
        (&[("scheme", "mailto"), ("opaque", "a@b")], "mailto:a@b"),
        (&[("scheme", "http"), ("host", "h"), ("path", "p")], "http://h/p"),
        (&[("userinfo", "u@x:p"), ("host", "h")], "//u%40x:p@h"),
        (&[("path", "a:b")], "./a:b"),
        (&[("scheme", "http"), ("path", "//x")], "http:////x"),
        (&[], ""),
    ] {
        assert_eq!(joined(parts), expected, "{parts:?}");
    }
    let wrong = find("dict").unwrap()(&[v("host"), Value::Int(1)]).unwrap();
    let error = "error: unable to parse host key, must be of type string, but int found";
    assert_eq!(call("urlJoin", &[wrong]), error);
    let mut letters: Vec<char> = call("shuffle", &[v("aébc")]).chars().collect();
    letters.sort_unstable();
    assert_eq!(letters, ['a', 'b', 'c', 'é']);
}
