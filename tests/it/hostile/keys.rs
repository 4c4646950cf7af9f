//! Nothing reaches the upstream without the exact key.

use super::*;

/// Sends a GET with these header lines on a connection of its own; the status.
fn status(gate: &Gate, lines: &str) -> u16 {
    let answer =
        gate.ask(format!("GET /key HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}\r\n").as_bytes());
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn near_misses_do_not_pass() {
    let upstream = Strict::start();
    let gate = Gate::start(upstream.port, KEY);
    for lines in [
        "",
        "Authorization:\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: sk-Secret1\r\n",
        "Authorization: bearer sk-Secret1\r\n",
        "Authorization: BEARER sk-Secret1\r\n",
        "Authorization: Bearer  sk-Secret1\r\n",
        "Authorization: Bearer\tsk-Secret1\r\n",
        "Authorization: Bearersk-Secret1\r\n",
        "Authorization: Bearer sk-secret1\r\n",
        "Authorization: Bearer SK-SECRET1\r\n",
        "Authorization: Bearer sk-Secret\r\n",
        "Authorization: Bearer k-Secret1\r\n",
        "Authorization: Bearer sk-Secret11\r\n",
        "Authorization: Bearer sk-Secret1 x\r\n",
        "Authorization: Bearer sk-Secret1, Bearer sk-Secret1\r\n",
        "Authorization: Bearer sk-Secret1;\r\n",
        "Authorization: \"Bearer sk-Secret1\"\r\n",
        "Authorization: Bearer \"sk-Secret1\"\r\n",
        "Authorization: Bearer sk%2DSecret1\r\n",
        "Authorization: Bearer *\r\n",
        "Authorization: *\r\n",
        "Authorization: Bearer sk-*\r\n",
        "Authorization: Bearer ??????????\r\n",
        "Authorization: Bearer {env.OLLAMA_API_KEY}\r\n",
        "Authorization: Bearer sk-\r\nAuthorization: Secret1\r\n",
        "Authorization: Bearer\r\nAuthorization: sk-Secret1\r\n",
        "Authorization: Basic c2stU2VjcmV0MTo=\r\n",
        "Proxy-Authorization: Bearer sk-Secret1\r\n",
        "X-Authorization: Bearer sk-Secret1\r\n",
        "Authorization-: Bearer sk-Secret1\r\n",
        "Authori-zation: Bearer sk-Secret1\r\n",
        "Authori_zation: Bearer sk-Secret1\r\n",
        "HTTP_AUTHORIZATION: Bearer sk-Secret1\r\n",
        "Cookie: Authorization=Bearer sk-Secret1\r\n",
        "X: Authorization: Bearer sk-Secret1\r\n",
        "Connection: Authorization\r\nAuthorization: Bearer x\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nAuthorization: Bearer x\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABk\r\n",
    ] {
        assert_eq!(status(&gate, lines), 401, "{lines:?}");
    }
    for lines in [
        "Authorization : Bearer sk-Secret1\r\n",
        " Authorization: Bearer sk-Secret1\r\n",
        "Authorization:\r\n Bearer sk-Secret1\r\n",
        "Authorization: Bearer\r\n\tsk-Secret1\r\n",
        "Authorization: Bearer sk-Secret1\0\r\n",
        "Authorization\0: Bearer sk-Secret1\r\n",
        "Authorization: Bearer sk-Secret1\rX: y\r\n",
        "Authorization: Bearer sk-Secret1\nX: y\r\n",
        "Authorization\u{e9}: Bearer sk-Secret1\r\n",
    ] {
        assert_eq!(status(&gate, lines), 400, "{lines:?}");
    }
    assert_eq!(upstream.take(), []);
    for lines in [
        "Authorization: Bearer sk-Secret1\r\n",
        "AUTHORIZATION:Bearer sk-Secret1\r\n",
        "authorization: \t Bearer sk-Secret1 \t\r\n",
    ] {
        assert_eq!(status(&gate, lines), 200, "{lines:?}");
    }
    assert_eq!(upstream.take().len(), 3);
}

#[test]
fn no_target_and_no_method_passes_without_it() {
    let upstream = Strict::start();
    let gate = Gate::start(upstream.port, KEY);
    let key = "Authorization: Bearer x\r\n";
    for line in [
        "GET //a HTTP/1.1",
        "GET /../a HTTP/1.1",
        "GET /%2e%2e/a HTTP/1.1",
        "GET /a;b HTTP/1.1",
        "GET /?Authorization=Bearer+sk-Secret1 HTTP/1.1",
        "GET http://h/ HTTP/1.1",
        "GET http://localhost:11434/ HTTP/1.1",
        "GET / HTTP/1.0",
        "HEAD / HTTP/1.1",
        "OPTIONS / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE / HTTP/1.1",
        "POST / HTTP/1.1",
        "FOO / HTTP/1.1",
        "CONNECT localhost:11434 HTTP/1.1",
        "GET * HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /#fragment HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/3.0",
        "GET /",
    ] {
        let answer = gate.ask(format!("{line}\r\nHost: h\r\nConnection: close\r\n{key}\r\n").as_bytes());
        assert!(!answer.is_empty(), "{line}");
    }
    assert_eq!(upstream.take(), []);
}

#[test]
fn a_key_means_exactly_itself() {
    let upstream = Strict::start();
    for (key, others) in [
        ("*", &["x", "", "**"][..]),
        ("sk-abc*", &["sk-abc", "sk-abcd", "sk-abc**"]),
        ("*abc", &["abc", "xabc"]),
        ("*b*", &["b", "abc"]),
        ("{env.HOME}", &["/", "/root", "{env.home}"]),
        ("{http.request.uri}", &["/key"]),
        ("{http.request.header.X}", &["y", ""]),
        ("a\"b`c'd", &["ab", "a", "abcd"]),
        ("two words", &["two", "words", "two  words"]),
        ("{}", &["", "{", "}"]),
        ("{{", &["{", ""]),
        ("\\*", &["*", "\\", "\\x"]),
        ("$1%d", &["1d", "$1"]),
        ("käse", &["kase", "k\u{e4}se\u{e4}"]),
    ] {
        let gate = Gate::start(upstream.port, key);
        for other in others {
            let lines = format!("X: y\r\nAuthorization: Bearer {other}\r\n");
            assert_eq!(status(&gate, &lines), 401, "{other:?} for {key:?}");
        }
        assert_eq!(upstream.take(), [], "{key:?}");
        assert_eq!(status(&gate, &format!("Authorization: Bearer {key}\r\n")), 200, "{key:?}");
        upstream.take();
    }
}

#[test]
fn an_empty_key_lets_nobody_in() {
    let upstream = Strict::start();
    let gate = Gate::start(upstream.port, "");
    for lines in ["", "Authorization: Bearer \r\n", "Authorization: Bearer\r\n", "Authorization:\r\n"] {
        assert_eq!(status(&gate, lines), 401, "{lines:?}");
    }
    assert_eq!(upstream.take(), []);
}
