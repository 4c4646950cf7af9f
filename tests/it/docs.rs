//! The pages of `docs`: every Caddyfile in them is well-formed and valid, and answers as the page says.
//!
//! A block of `request` behind one of `caddyfile` is sent to a gateway with that Caddyfile, and the block of
//! `response` behind it is the answer: the status, header fields that must be among the answer's, an empty line, the
//! body. In the Caddyfiles of pages the port is 8080, and there is a certificate: `cert.pem`, `key.pem`, and
//! `clients-ca.pem` for clients.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Answer, eventually, free_port, gateway_binary, get, repository};

/// A fenced block: its language and its text.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
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
    let output = Command::new(gateway_binary()).args(args).current_dir(folder).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Checks a Caddyfile; whether it and its requests are fine.
fn check(caddyfile: &str, exchanges: &[(&str, &str)]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let certificate = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    for name in ["cert.pem", "clients-ca.pem"] {
        std::fs::write(folder.path().join(name), certificate.cert.pem()).unwrap();
    }
    std::fs::write(folder.path().join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("Caddyfile"), caddyfile).unwrap();
    // The files that pages about TLS speak of.
    let pair = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    for file in ["cert.pem", "clients-ca.pem"] {
        std::fs::write(folder.path().join(file), pair.cert.pem()).unwrap();
    }
    std::fs::write(folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
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
        for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "caddyfile") {
            let mut exchanges = Vec::new();
            let mut rest = &blocks[at + 1..];
            while let [request, response, after @ ..] = rest
                && (request.language.as_str(), response.language.as_str()) == ("request", "response")
            {
                exchanges.push((request.text.as_str(), response.text.as_str()));
                rest = after;
            }
            if let Err(problem) = check(&block.text, &exchanges) {
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
    assert!(check(":8080 {\n\twarp 9\n}\n", &[]).is_err(), "there is no such directive");
}
