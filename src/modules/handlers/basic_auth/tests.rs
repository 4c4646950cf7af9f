use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::*;
use crate::modules::testing::{Site, adapt, routes, site, try_site};

/// `bob` with the password `secret`, and what else the block says.
fn guarded(args: &str) -> Site {
    let hash = bcrypt::hash("secret", 4).unwrap();
    site(&format!("basic_auth {args} {{\nbob {hash}\n}}\nrespond \"hello {{http.auth.user.id}}\""))
}

fn authorization(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[test]
fn it_is_written_as_in_caddy() {
    let json = |line: &str| routes(line)[0]["handle"][0]["providers"]["http_basic"].take();
    assert_eq!(
        json("basic_auth {\nbob $2a$14$x\nalice YQ==\n}"),
        json!({
            "accounts": [
                {"username": "bob", "password": "$2a$14$x"},
                {"username": "alice", "password": "YQ=="},
            ],
            "hash": {"algorithm": "bcrypt"},
            "hash_cache": {},
        })
    );
    let old = json("basicauth argon2id \"my realm\" {\nbob x\n}");
    assert_eq!((&old["hash"], &old["realm"]), (&json!({"algorithm": "argon2id"}), &json!("my realm")));
    for (line, says) in [
        ("basic_auth md5 {\nbob x\n}", "unrecognized hash algorithm: md5"),
        ("basic_auth a b c {\nbob x\n}", "wrong argument count"),
        ("basic_auth {\nbob\n}", "username and password cannot be empty or missing"),
        ("basic_auth {\nbob a b\n}", "wrong argument count"),
    ] {
        let error = adapt(line).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn only_the_right_password_opens() {
    let site = guarded("");
    // The second time the outcome is known.
    for _ in 0..2 {
        for (value, status) in [
            (authorization("bob:secret"), 200),
            (authorization("bob:secret").replace("Basic", "bASIC"), 200),
            (authorization("bob:wrong"), 401),
            (authorization("bob:"), 401),
            (authorization("alice:secret"), 401),
            (authorization(":secret"), 401),
            (authorization("bobsecret"), 401),
            (authorization("bob:secret").replace("Basic", "Bearer"), 401),
            ("Basic".into(), 401),
            ("Basic !".into(), 401),
            (String::new(), 401),
        ] {
            assert_eq!(site.get("/", &[("authorization", &value)]).0, status, "{value}");
        }
    }
    let (_, text) = site.get("/", &[("authorization", &authorization("bob:secret"))]);
    assert_eq!(text, "hello bob");
}

#[test]
fn a_client_without_password_is_asked_for_one() {
    for (args, challenge) in [("", "Basic realm=\"restricted\""), ("bcrypt Ours", "Basic realm=\"Ours\"")] {
        let response = guarded(args).serve(&mut Exchange::get("/", &[]));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
    }
}

#[test]
fn error_routes_can_answer() {
    let site = site(
        "basic_auth {\nbob $2a$04$x\n}\nhandle_errors {\nrespond \"{err.status_code} {err.message}\"\n}",
    );
    assert_eq!(site.get("/", &[]), (401, "401 not authenticated".into()));
}

#[test]
fn hashes_may_be_in_base64_and_argon2id() {
    let bcrypt = STANDARD.encode(bcrypt::hash("secret", 4).unwrap());
    let salt = STANDARD_NO_PAD.encode("somesalt");
    let params = argon2::Params::new(8, 1, 1, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = [0; 32];
    argon2.hash_password_into(b"secret", b"somesalt", &mut key).unwrap();
    let argon2id = format!("$argon2id$v=19$m=8,t=1,p=1${salt}${}", STANDARD_NO_PAD.encode(key));
    for (algorithm, hash) in [("bcrypt", bcrypt), ("argon2id", argon2id)] {
        let site = site(&format!("basic_auth {algorithm} {{\nbob {hash}\n}}\nrespond in"));
        assert_eq!(site.get("/", &[("authorization", &authorization("bob:secret"))]).0, 200, "{algorithm}");
        assert_eq!(site.get("/", &[("authorization", &authorization("bob:wrong"))]).0, 401, "{algorithm}");
    }
}

#[test]
fn a_malformed_hash_opens_to_nobody() {
    let site = site("basic_auth {\nbob $2a$oops\n}\nrespond in");
    for password in ["", "$2a$oops", "secret"] {
        let value = authorization(&format!("bob:{password}"));
        assert_eq!(site.get("/", &[("authorization", &value)]).0, 401);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (directives, says) in [
        ("basic_auth {\nbob $2a$x\nbob $2a$y\n}", "account 1: username is not unique: bob"),
        ("basic_auth {\n{env.NOT_SET} $2a$x\n}", "account 0: username and password are required"),
        ("basic_auth {\nbob not-base64\n}", "base64-decoding password: "),
    ] {
        let error = try_site(directives).err().unwrap();
        assert!(error.contains(says), "{directives}: {error}");
    }
}
