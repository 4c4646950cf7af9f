//! `demo`, as someone meets it who has just built the binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::support::{PATIENCE, eventually, free_port, get};

/// A demo that ends with the test.
struct Demo {
    child: Child,
    port: u16,
    /// What it printed.
    text: String,
}

fn command(port: u16, model_port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .args(["demo", "--words-per-second", "100"])
        .args(["--port", &port.to_string(), "--model-port", &model_port.to_string()])
        .env_remove("OLLAMA_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Demo {
    /// Starts it and reads what it says, to the last line. A port that another test has taken meanwhile is no failure.
    fn start(prepare: impl Fn(&mut Command) -> &mut Command) -> Demo {
        eventually("a free port", || match Demo::try_start(&prepare) {
            Err(said) if said.contains(" is in use") => None,
            started => Some(started.unwrap_or_else(|said| panic!("the demo ended: {said}"))),
        })
    }

    fn try_start(prepare: impl Fn(&mut Command) -> &mut Command) -> Result<Demo, String> {
        let port = free_port();
        let mut command = command(port, free_port());
        let child = prepare(&mut command).spawn().expect("it starts");
        let mut demo = Demo { child, port, text: String::new() };
        let mut lines = BufReader::new(demo.child.stdout.take().expect("piped")).lines();
        while !demo.text.contains("\nCtrl-C ") {
            let Some(line) = lines.next().transpose().expect("text") else {
                let mut said = String::new();
                _ = demo.child.stderr.take().expect("piped").read_to_string(&mut said);
                return Err(said);
            };
            demo.text.push_str(&line);
            demo.text.push('\n');
        }
        Ok(demo)
    }

    /// The key that it printed.
    fn key(&self) -> String {
        let (_, rest) = self.text.split_once("Bearer ").expect("a line with the key");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    fn end(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        eventually("the demo ends", || self.child.try_wait().expect("wait"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn what_it_prints_can_be_tried() {
    let demo = Demo::start(|command| command);
    let (port, key) = (demo.port, demo.key());
    assert!(key.starts_with("sk-demo-") && key.len() == "sk-demo-".len() + 32, "{key}");
    assert!(demo.text.contains(&format!("curl -i http://localhost:{port}/api/chat")), "{}", demo.text);

    // With the key: word by word.
    let body = r#"{"model": "stand-in", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}"#;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {key}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("write");
    let begin = Instant::now();
    let (mut first, mut lines, mut text) = (None, 0, String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.expect("text");
        if line.starts_with('{') {
            first.get_or_insert_with(|| begin.elapsed());
            lines += 1;
        }
        text.push_str(&line);
    }
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(lines > 20 && text.contains(r#""done":true"#), "{text}");
    let (first, last) = (first.expect("a line"), begin.elapsed());
    assert!(first < last / 2, "the first line came after {first:?}, the last after {last:?}");

    // Without it: not at all.
    for headers in [&[][..], &["Authorization: Bearer sk-demo-"]] {
        let answer = get(port, "/api/chat", headers).expect("an answer");
        assert_eq!(answer.status, 401);
        assert!(answer.text.ends_with("\r\n\r\nUnauthorized"), "{}", answer.text);
    }
    assert_eq!(demo.end("-INT").code(), Some(0));
}

#[test]
fn each_demo_has_another_key() {
    let keys = [Demo::start(|command| command).key(), Demo::start(|command| command).key()];
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_key_from_the_environment_is_used_and_not_printed() {
    let demo = Demo::start(|command| command.env("OLLAMA_API_KEY", "sk-of-mine"));
    assert!(!demo.text.contains("sk-of-mine"), "{}", demo.text);
    assert!(demo.text.contains("Bearer $OLLAMA_API_KEY"), "{}", demo.text);
    let answer = get(demo.port, "/", &["Authorization: Bearer sk-of-mine"]).expect("an answer");
    assert!(answer.status == 200 && answer.text.ends_with("Ollama is running"), "{}", answer.text);
    assert_eq!(demo.end("-TERM").code(), Some(0));
}

#[test]
fn a_port_in_use_is_said_with_the_way_out() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let taken = held.local_addr().expect("its address").port();
    for (mut command, flag) in
        [(command(taken, free_port()), "--port"), (command(free_port(), taken), "--model-port")]
    {
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("port {taken}")) && said.contains(&format!("with {flag}")), "{said}");
    }
}
