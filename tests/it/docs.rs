//! The pages of `docs`: every Caddyfile in them is well-formed and valid, and answers as the page says.
//!
//! A block of `request` behind one of `caddyfile` is sent to a gateway with that Caddyfile, and the block of
//! `response` behind it is the answer: the status, header fields that must be among the answer's, an empty line, the
//! body. A block of `caddyfile idle` is about something that is taken and has no effect. One of `caddyfile refused` can
//! be adapted, and is refused when it is loaded; one of `caddyfile unknown` can't be adapted either, since it needs a
//! plugin. In the Caddyfiles of pages the port is 8080, and there is a certificate: `cert.pem`, `key.pem`, and
//! `clients-ca.pem` for clients.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Answer, eventually, free_port, gateway_binary, get, repository};

/// Caddyfiles that run.
pub const CADDYFILE: &str = "caddyfile";
/// Caddyfiles that run, without what they are about having an effect.
pub const IDLE: &str = "caddyfile idle";
/// Caddyfiles that adapt, and don't run.
pub const REFUSED: &str = "caddyfile refused";
/// Caddyfiles that need something that isn't there.
pub const UNKNOWN: &str = "caddyfile unknown";

/// A fenced block: its language and its text.
pub struct Block {
    pub language: String,
    pub text: String,
}

pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        blocks.push(Block { language: language.to_owned(), text: text.join("\n") + "\n" });
    }
    blocks
}

/// A gateway that ends with the test.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Runs a command of the gateway in `folder`; what it says if it fails.
fn command(args: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(gateway_binary())
        .args(args)
        .current_dir(folder)
        // What the pages take from the environment.
        .env("CLOUDFLARE_TOKEN", "0123456789".repeat(4))
        .env("ACME_DNS_KEY", "c2VjcmV0")
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A folder with a Caddyfile and the files that pages speak of.
fn folder_with(caddyfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    for file in ["cert.pem", "clients-ca.pem"] {
        std::fs::write(folder.path().join(file), pair.cert.pem()).unwrap();
    }
    std::fs::write(folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("Caddyfile"), caddyfile).unwrap();
    folder
}

/// Checks a Caddyfile of which the page says that it is refused: when it is adapted, or not before it is loaded.
fn check_refused(caddyfile: &str, adapts: bool) -> Result<(), String> {
    let folder = folder_with(caddyfile);
    command(&["fmt", "--diff"], folder.path())?;
    match (command(&["adapt"], folder.path()), adapts) {
        (Err(error), true) => return Err(format!("it can't be adapted: {error}")),
        (Ok(()), false) => return Err("it can be adapted".to_owned()),
        _ => {}
    }
    match command(&["validate"], folder.path()) {
        Ok(()) => Err("it is not refused; is it to be a plain `caddyfile`?".to_owned()),
        Err(_) => Ok(()),
    }
}

/// Checks a Caddyfile; whether it and its requests are fine.
fn check(caddyfile: &str, exchanges: &[(&str, &str)]) -> Result<(), String> {
    let folder = folder_with(caddyfile);
    let port = free_port();
    command(&["fmt", "--diff"], folder.path())?;
    command(&["validate", "--config", "Caddyfile"], folder.path())?;
    if exchanges.is_empty() {
        return Ok(());
    }
    let moved = caddyfile.replace(":8080", &format!(":{port}"));
    std::fs::write(folder.path().join("Caddyfile"), moved).unwrap();
    let child = Command::new(gateway_binary())
        .args(["run", "--config", "Caddyfile"])
        .current_dir(folder.path())
        .env("CADDY_ADMIN", format!("127.0.0.1:{}", free_port()))
        .env("XDG_CONFIG_HOME", folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .stderr(Stdio::null())
        .spawn();
    let _gateway = Gateway(child.unwrap());
    eventually("the gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    for (request, response) in exchanges {
        let mut lines = request.lines();
        let first = lines.next().unwrap_or_default();
        let target = first.strip_prefix("GET ").ok_or(format!("a request begins with GET: {first}"))?;
        let answer = get(port, target, &lines.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        compare(response, &answer).map_err(|wrong| format!("{first}: {wrong}\n{}", answer.text))?;
    }
    Ok(())
}

fn compare(expected: &str, answer: &Answer) -> Result<(), String> {
    let (head, body) = expected.split_once("\n\n").unwrap_or((expected.trim_end(), ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status != answer.status.to_string() {
        return Err(format!("status {}, not {status}", answer.status));
    }
    let (answer_head, answer_body) = answer.text.split_once("\r\n\r\n").unwrap_or_default();
    let answer_head = answer_head.to_lowercase();
    if let Some(field) = lines.find(|field| !answer_head.lines().any(|line| line == field.to_lowercase())) {
        return Err(format!("no field `{field}`"));
    }
    if body.trim_end() == answer_body.trim_end() {
        Ok(())
    } else {
        Err(format!("body {answer_body:?}, not {body:?}"))
    }
}

#[test]
fn the_caddyfiles_of_all_pages_do_what_the_pages_say() {
    let mut pages = 0;
    let mut wrong = Vec::new();
    let folders = ["docs", "docs/directives", "docs/matchers"].map(repository);
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let blocks = blocks(&std::fs::read_to_string(&path).unwrap());
        pages += 1;
        for (at, block) in
            blocks.iter().enumerate().filter(|(_, block)| block.language.starts_with(CADDYFILE))
        {
            let mut exchanges = Vec::new();
            let mut rest = &blocks[at + 1..];
            while let [request, response, after @ ..] = rest
                && (request.language.as_str(), response.language.as_str()) == ("request", "response")
            {
                exchanges.push((request.text.as_str(), response.text.as_str()));
                rest = after;
            }
            let checked = match block.language.as_str() {
                CADDYFILE | IDLE => check(&block.text, &exchanges),
                REFUSED => check_refused(&block.text, true),
                UNKNOWN => check_refused(&block.text, false),
                other => Err(format!("blocks of {other:?} mean nothing")),
            };
            if let Err(problem) = checked {
                wrong.push(format!("{}:\n{}{problem}", path.display(), block.text));
            }
        }
    }
    assert!(pages > 0, "there are pages");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_page_that_is_wrong_is_noticed() {
    let caddyfile = ":8080 {\n\trespond \"Hello\" 201\n}\n";
    assert_eq!(check(caddyfile, &[("GET /\n", "201\nContent-Length: 5\n\nHello\n")]), Ok(()));
    for response in ["200\n\nHello\n", "201\n\nBye\n", "201\nX-Other: 1\n\nHello\n"] {
        assert!(check(caddyfile, &[("GET /\n", response)]).is_err(), "{response}");
    }
    assert!(check(":8080 {\nrespond 200\n}\n", &[]).is_err(), "it is not formatted");
    let nowhere = ":8080 {\n\twarp 9\n}\n";
    assert!(check(nowhere, &[]).is_err(), "there is no such directive");
    assert_eq!(check_refused(nowhere, false), Ok(()));
    assert!(check_refused(nowhere, true).is_err(), "it can't be adapted");
    assert!(check_refused(caddyfile, true).is_err(), "it is not refused");
    assert!(check_refused(caddyfile, false).is_err(), "it is not refused");
}
