//! What is done to requests and answers on their way.

use super::{Gateway, Upstream, field};

#[test]
fn the_upstream_learns_of_the_client_what_is_true() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\n\theader_up Host {{upstream_hostport}}\n\theader_up X-Set \"{{method}} {{uri}}\"\n\theader_up -X-Drop\n}}",
        upstream.port
    ));
    let claims = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nConnection: X-Private\r\nX-Private: 1\r\nX-Drop: 1\r\nTE: gzip\r\n";
    let answer = gateway.get("/a%2Fb?c", claims);
    let seen = upstream.next_head();
    assert!(seen.starts_with("GET /a%2Fb?c HTTP/1.1\r\n"), "{seen}");
    for (name, value) in [
        ("host", Some(format!("127.0.0.1:{}", upstream.port))),
        ("x-forwarded-for", Some("127.0.0.1".into())),
        ("x-forwarded-proto", Some("http".into())),
        ("x-forwarded-host", Some("gate.test".into())),
        ("via", Some("1.1 Caddy".into())),
        ("x-set", Some("GET /a%2Fb?c".into())),
        ("x-private", None),
        ("x-drop", None),
        ("te", None),
        ("connection", None),
    ] {
        assert_eq!(field(&seen, name), value.as_deref(), "{name} in {seen}");
    }
    assert_eq!(field(&answer, "via"), Some("1.1 Caddy"));
    assert_eq!(field(&answer, "server"), None);
}

#[test]
fn what_is_said_of_a_client_is_not_the_clients_to_take_away() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "request_header X-User alice\nrequest_header +X-Groups admins\nreverse_proxy 127.0.0.1:{}",
        upstream.port
    ));
    let answer = gateway.get("/", "X-User: root\r\nX-Own: 1\r\nConnection: x-user, X-Own , X-Groups\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = upstream.next_head();
    for (name, value) in [("x-user", Some("alice")), ("x-groups", Some("admins")), ("x-own", None)] {
        assert_eq!(field(&seen, name), value, "{name} in {seen}");
    }
}

#[test]
fn no_configuration_makes_the_framing_doubtful() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\n\theader_up Content-Length 3\n\theader_up Transfer-Encoding chunked\n\theader_up +Host other.test\n}}",
        upstream.port
    ));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 200 "));
    let seen = upstream.next_head().to_lowercase();
    assert!(!seen.contains("content-length") && !seen.contains("transfer-encoding"), "{seen}");
    assert_eq!(seen.matches("\r\nhost:").count(), 1, "{seen}");
    let posted = gateway.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert!(posted.starts_with("HTTP/1.1 200 "));
    assert_eq!(field(&upstream.next_head(), "content-length"), Some("5"));
}

#[test]
fn a_value_that_would_split_the_head_is_refused() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{\n\theader_up X-Path {{path}}\n}}",
        upstream.port
    ));
    let answer = gateway.get("/a%0d%0aX-Evil:%201", "");
    assert!(!answer.contains("X-Evil: 1\r\n") || answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(upstream.heads.try_iter().all(|head| field(&head, "x-evil").is_none()));
}

/// A service that lets `good` in and names its user.
fn authority() -> Upstream {
    Upstream::playing(|peer, tell| {
        loop {
            let head = peer.head();
            if head.is_empty() {
                return;
            }
            peer.send(match field(&head, "authorization") {
                Some("good") => "HTTP/1.1 200 OK\r\nRemote-User: alice\r\nContent-Length: 2\r\n\r\nok",
                Some("bare") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: x\r\nContent-Length: 6\r\n\r\ndenied",
            });
            _ = tell.send(head);
        }
    })
}

#[test]
fn forward_auth_lets_in_whom_the_service_knows_and_believes_no_one_else() {
    let (service, upstream) = (authority(), Upstream::echo());
    let gateway = Gateway::with(&format!(
        "forward_auth 127.0.0.1:{} {{\n\turi /check\n\tcopy_headers Remote-User>X-User X-Role\n}}\nreverse_proxy 127.0.0.1:{}",
        service.port, upstream.port
    ));
    let claims = "X-User: mallory\r\nX-Role: admin\r\nContent-Length: 4\r\n";
    let post = |key: &str| {
        gateway
            .ask(&format!("POST /page?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\r\n{claims}\r\nbody"))
    };

    assert!(post("good").starts_with("HTTP/1.1 200 "));
    let asked = service.next_head();
    assert!(asked.starts_with("GET /check?x=1 HTTP/1.1\r\n"), "{asked}");
    assert_eq!(field(&asked, "x-forwarded-method"), Some("POST"));
    assert_eq!(field(&asked, "x-forwarded-uri"), Some("/page?x=1"));
    assert_eq!(field(&asked, "content-length"), None);
    let seen = upstream.next_head();
    assert!(seen.starts_with("POST /page?x=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!((field(&seen, "x-user"), field(&seen, "x-role")), (Some("alice"), None), "{seen}");
    assert_eq!(field(&seen, "content-length"), Some("4"));

    // The service knows it but names nobody: then nobody it is.
    assert!(post("bare").starts_with("HTTP/1.1 200 "));
    assert_eq!(field(&upstream.next_head(), "x-user"), None);

    let denied = post("bad");
    assert!(denied.starts_with("HTTP/1.1 401 ") && denied.ends_with("\r\n\r\ndenied"), "{denied}");
    assert_eq!(field(&denied, "www-authenticate"), Some("x"));
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn answers_can_be_handled_instead_of_passed_on() {
    let upstream = Upstream::playing(|peer, _| {
        let head = peer.head();
        let status = head.split(['/', ' ']).nth(2).unwrap_or_default().to_owned();
        peer.send(&format!("HTTP/1.1 {status} Odd\r\nX-From: up\r\nContent-Length: 4\r\n\r\nbody"));
    });
    let gateway = Gateway::with(&format!(
        "reverse_proxy 127.0.0.1:{} {{
	@busy status 503
	handle_response @busy {{
		header X-Said {{rp.header.X-From}}
		copy_response 429
	}}
	@gone status 410
	replace_status @gone 404
	@teapot status 418
	handle_response @teapot {{
		copy_response_headers {{
			include X-From
		}}
		respond \"no coffee: {{rp.status_code}}\"
	}}
}}",
        upstream.port
    ));
    let busy = gateway.get("/503", "");
    assert!(busy.starts_with("HTTP/1.1 429 ") && busy.ends_with("\r\n\r\nbody"), "{busy}");
    assert_eq!((field(&busy, "x-said"), field(&busy, "x-from")), (Some("up"), Some("up")));
    let gone = gateway.get("/410", "");
    assert!(gone.starts_with("HTTP/1.1 404 ") && gone.ends_with("\r\n\r\nbody"), "{gone}");
    let teapot = gateway.get("/418", "");
    assert!(teapot.starts_with("HTTP/1.1 200 ") && teapot.ends_with("\r\n\r\nno coffee: 418"), "{teapot}");
    assert_eq!((field(&teapot, "x-from"), field(&teapot, "via")), (Some("up"), None));
}

#[test]
fn status_lines_have_words_for_every_status() {
    let gateway = Gateway::with("respond /102 body 102\nrespond \"\" {path.0}");
    for (code, line) in [
        ("299", "HTTP/1.1 299 status code 299\r\n"),
        ("413", "HTTP/1.1 413 Request Entity Too Large\r\n"),
        ("404", "HTTP/1.1 404 Not Found\r\n"),
    ] {
        let answer = gateway.get(&format!("/{code}"), "");
        assert!(answer.starts_with(line), "{answer}");
    }
    let mut client = gateway.connect();
    client.send("GET /102 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 102 Processing\r\n"));
    let answer = client.answer();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("body"), "{answer}");
}
