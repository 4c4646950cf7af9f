//! `transport fastcgi`, against a responder of our own, and against php-fpm where there is one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tempfile::TempDir;

use super::{Gateway, field};
use crate::support::{PATIENCE, eventually};

const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// What a responder was asked.
#[derive(Default)]
struct Asked {
    variables: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A responder that plays a script on each connection.
struct Responder {
    address: String,
    asked: Receiver<Asked>,
    _folder: Option<TempDir>,
}

type Script = fn(&mut dyn ReadWrite, &SyncSender<Asked>);

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Responder {
    fn playing(script: Script) -> Responder {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, asked) = sync_channel(1000);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let tell = tell.clone();
                thread::spawn(move || script(&mut stream, &tell));
            }
        });
        Responder { address, asked, _folder: None }
    }

    fn on_unix_socket(script: Script) -> Responder {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("responder.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (tell, asked) = sync_channel(1000);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || script(&mut stream, &tell));
            }
        });
        Responder { address: format!("unix/{}", path.display()), asked, _folder: Some(folder) }
    }

    fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }
}

fn read_record(io: &mut dyn ReadWrite) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 8];
    io.read_exact(&mut head).ok()?;
    assert_eq!((head[0], head[2], head[3]), (1, 0, 1), "a record of request 1");
    let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
    io.read_exact(&mut content).ok()?;
    io.read_exact(&mut vec![0; head[6].into()]).ok()?;
    Some((head[1], content))
}

fn write_record(io: &mut dyn ReadWrite, kind: u8, content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    _ = io.write_all(&[&[1, kind, 0, 1, high, low, 2, 0], content, b"pp"].concat());
}

fn end(io: &mut dyn ReadWrite) {
    write_record(io, STDOUT, b"");
    write_record(io, 3, &[0; 8]);
}

fn size(bytes: &mut &[u8]) -> usize {
    let (size, rest) = match *bytes {
        [a, b, c, d, rest @ ..] if *a >= 128 => (u32::from_be_bytes([a & 127, *b, *c, *d]) as usize, rest),
        [a, rest @ ..] => (usize::from(*a), rest),
        [] => panic!("a size is missing"),
    };
    *bytes = rest;
    size
}

/// Reads a request to its end; nothing if there is none.
fn read_request(io: &mut dyn ReadWrite) -> Option<Asked> {
    let mut asked = Asked::default();
    assert_eq!(read_record(io)?, (1, vec![0, 1, 0, 0, 0, 0, 0, 0]), "a responder is asked for, once");
    loop {
        match read_record(io)? {
            (PARAMS, content) if content.is_empty() => {}
            (PARAMS, content) => {
                let mut rest = &content[..];
                while !rest.is_empty() {
                    let (name, value) = (size(&mut rest), size(&mut rest));
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    asked.variables.insert(text(&rest[..name]), text(&rest[name..name + value]));
                    rest = &rest[name + value..];
                }
            }
            (STDIN, content) if content.is_empty() => return Some(asked),
            (STDIN, content) => asked.body.extend_from_slice(&content),
            (kind, _) => panic!("record {kind} was not expected"),
        }
    }
}

/// Answers every request with its variables.
fn echo(io: &mut dyn ReadWrite, tell: &SyncSender<Asked>) {
    let Some(asked) = read_request(io) else { return };
    write_record(io, STDOUT, b"Content-Type: text/plain\r\nX-Two: a\r\nX-Two: b\r\n\r\n");
    write_record(io, STDERR, b"a word of complaint");
    write_record(io, STDOUT, format!("{} bytes", asked.body.len()).as_bytes());
    _ = tell.send(asked);
    end(io);
}

fn fastcgi(responder: &Responder, more: &str) -> Gateway {
    let address = &responder.address;
    Gateway::with(&format!(
        "reverse_proxy {address} {{\ntransport fastcgi {{\nroot /not/here\nsplit .php\n{more}\n}}\n}}"
    ))
}

#[test]
fn a_responder_is_asked_in_cgis_words_and_its_answer_passed_on() {
    for responder in [Responder::playing(echo), Responder::on_unix_socket(echo)] {
        let gateway = fastcgi(&responder, "env APP_KEY k\nenv HTTP_X_USER {http.request.uri.path}");
        let answer = gateway.ask(
            "POST /a/b.php/in%20fo?x=%20 HTTP/1.1\r\nHost: h.test:81\r\nX-User: forged\r\nProxy: evil\r\n\
             Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(field(&answer, "x-two"), Some("a"));
        assert_eq!(field(&answer, "via"), Some("0.0 Caddy"));
        let asked = responder.next();
        assert_eq!(asked.body, b"hello");
        for (name, value) in [
            ("APP_KEY", "k"),
            ("HTTP_X_USER", "/a/b.php/in fo"),
            ("SCRIPT_FILENAME", "/not/here/a/b.php"),
            ("SCRIPT_NAME", "/a/b.php"),
            ("PATH_INFO", "/in fo"),
            ("QUERY_STRING", "x=%20"),
            ("CONTENT_LENGTH", "5"),
            ("REQUEST_METHOD", "POST"),
            ("SERVER_NAME", "h.test"),
            ("SERVER_PORT", "81"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ] {
            assert_eq!(asked.variables.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!asked.variables.contains_key("HTTP_PROXY"));
    }
}

#[test]
fn bodies_stream_both_ways() {
    let responder = Responder::playing(|io, tell| {
        // The first part of the body is answered before the second is sent.
        let mut seen = 0;
        while seen < 3 {
            if let Some((STDIN, content)) = read_record(io) {
                seen += content.len();
            }
        }
        write_record(io, STDOUT, b"X-Head: early\n\n");
        write_record(io, STDOUT, b"one");
        while seen < 6 {
            match read_record(io) {
                Some((_, content)) => seen += content.len(),
                None => return,
            }
        }
        while read_record(io).is_some_and(|(_, content)| !content.is_empty()) {}
        write_record(io, STDOUT, b"two");
        _ = tell.send(Asked::default());
        end(io);
    });
    let gateway = fastcgi(&responder, "");
    let mut client = gateway.connect();
    client.send("POST /a.php HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
    let head = client.head();
    assert_eq!(field(&head, "x-head"), Some("early"), "{head}");
    assert_eq!(client.chunk(), "one");
    client.send("def");
    assert_eq!(client.chunk(), "two");
    responder.next();
    assert_eq!(client.chunk(), "");
}

#[test]
fn a_large_body_arrives_whole_and_one_of_unknown_length_is_refused_unless_it_is_short() {
    let responder = Responder::playing(echo);
    let gateway = fastcgi(&responder, "");
    let body = "x".repeat(300_000);
    let answer = gateway.ask(&format!(
        "PUT /a.php HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(responder.next().body.len(), body.len());
    let chunked = |body: &str| {
        gateway.ask(&format!(
            "PUT /a.php HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ))
    };
    assert!(chunked("short").starts_with("HTTP/1.1 200 "));
    let asked = responder.next();
    assert_eq!((asked.variables["CONTENT_LENGTH"].as_str(), &asked.body[..]), ("5", &b"short"[..]));
    assert!(chunked(&body[..10_000]).starts_with("HTTP/1.1 411 "));
}

#[test]
fn statuses_are_the_responders_and_hostile_answers_are_502() {
    fn play(io: &mut dyn ReadWrite, _: &SyncSender<Asked>) {
        let Some(asked) = read_request(io) else { return };
        let head = |io: &mut dyn ReadWrite, head: &str| write_record(io, STDOUT, head.as_bytes());
        match asked.variables["PATH_INFO"].as_str() {
            "/404" => head(io, "Status: 404 Gone Fishing\r\n\r\n"),
            "/empty" => {}
            "/cut" => return head(io, "Status: 200\r\n"),
            "/version" => return io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
            "/number" => return io.write_all(&[1, STDOUT, 0, 2, 0, 2, 0, 0, b'\n', b'\n']).unwrap(),
            "/kind" => write_record(io, 9, b"x"),
            "/interim" => head(io, "Status: 103 x\r\n\r\n"),
            "/status" => head(io, "Status: 99\r\n\r\n"),
            "/fold" => head(io, "A: b\r\n c\r\n\r\n"),
            "/lengths" => head(io, "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "/endless" => {
                for _ in 0..100 {
                    write_record(io, STDOUT, &[b'a'; 60_000]);
                }
            }
            "/busy" => return write_record(io, 3, &[0, 0, 0, 0, 2, 0, 0, 0]),
            "/chunks" => head(io, "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            path => panic!("{path}"),
        }
        end(io);
    }
    let responder = Responder::playing(play);
    let gateway = fastcgi(&responder, "");
    assert!(gateway.get("/a.php/404", "").starts_with("HTTP/1.1 404 Not Found\r\n"));
    for path in [
        "empty", "cut", "version", "number", "kind", "interim", "status", "fold", "lengths", "endless",
        "busy",
    ] {
        let answer = gateway.get(&format!("/a.php/{path}"), "");
        assert!(answer.starts_with("HTTP/1.1 502 "), "{path}: {answer}");
    }
    let mut client = gateway.connect();
    client.send("GET /a.php/chunks HTTP/1.1\r\nHost: h\r\n\r\n");
    client.head();
    assert_eq!((client.chunk(), client.chunk()), ("hi".into(), String::new()));
}

#[test]
fn an_answer_that_breaks_off_or_goes_on_too_long_ends_the_connection() {
    fn play(io: &mut dyn ReadWrite, _: &SyncSender<Asked>) {
        let Some(asked) = read_request(io) else { return };
        match asked.variables["PATH_INFO"].as_str() {
            "/short" => write_record(io, STDOUT, b"Content-Length: 9\r\n\r\nfour"),
            "/long" => write_record(io, STDOUT, b"Content-Length: 2\r\n\r\nfour"),
            _ => return write_record(io, STDOUT, b"X: y\r\n\r\nfour"),
        }
        end(io);
    }
    let responder = Responder::playing(play);
    let gateway = fastcgi(&responder, "");
    for (path, has_end) in [("short", "fournothing"), ("long", "fo"), ("cut", "0\r\n\r\n")] {
        let mut client = gateway.connect();
        client.send(&format!("GET /a.php/{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut rest = String::new();
        _ = client.reader.read_to_string(&mut rest);
        // A whole body of the announced length is one; all others must not look whole.
        let looks_whole = rest.ends_with(has_end);
        assert_eq!(looks_whole, path == "long", "{path}: {rest}");
        assert!(rest.len() < 40, "{path}: {rest}");
    }
}

#[test]
fn scripts_that_are_not_there_are_not_asked_for() {
    let responder = Responder::playing(echo);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.php"), "").unwrap();
    std::fs::write(folder.path().join("cat.jpg"), "").unwrap();
    let (address, root) = (&responder.address, folder.path().display());
    let gateway = Gateway::with(&format!(
        "root * {root}\nreverse_proxy {address} {{\ntransport fastcgi {{\nsplit .php\n}}\n}}"
    ));
    for path in ["/b.php", "/cat.jpg/x.php", "/cat.jpg", "/a\u{ff0e}php", "/../../b.php/../a.php"] {
        let path: String = path
            .bytes()
            .map(|byte| if byte < 128 { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect();
        let answer = gateway.get(&path, "");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    assert!(gateway.get("/a.php%00.jpg", "").starts_with("HTTP/1.1 400 "));
    assert!(responder.asked.try_recv().is_err());
    assert!(gateway.get("/a.php/x", "").starts_with("HTTP/1.1 200 "));
    let asked = responder.next();
    assert_eq!(asked.variables["SCRIPT_FILENAME"], format!("{root}/a.php"));
}

#[test]
fn a_responder_that_is_down_or_silent_is_told_apart() {
    let silent = Responder::playing(|io, _| {
        read_request(io);
        thread::sleep(PATIENCE);
    });
    let gateway = fastcgi(&silent, "read_timeout 200ms");
    assert!(gateway.get("/a.php", "").starts_with("HTTP/1.1 504 "));
    let gateway = fastcgi(&Responder { address: "127.0.0.1:1".into(), ..silent }, "");
    assert!(gateway.get("/a.php", "").starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_client_that_leaves_frees_the_responder() {
    let responder = Responder::playing(|io, tell| {
        _ = read_request(io);
        let mut byte = [0];
        // Nobody is left to answer once the connection has ended.
        if matches!(io.read(&mut byte), Ok(0) | Err(_)) {
            _ = tell.send(Asked::default());
        }
    });
    let gateway = fastcgi(&responder, "");
    let mut client = gateway.connect();
    client.send("GET /a.php HTTP/1.1\r\nHost: h\r\n\r\n");
    thread::sleep(std::time::Duration::from_millis(100));
    drop(client);
    responder.next();
}

/// A php-fpm that ends with the test.
struct PhpFpm {
    child: Child,
    folder: TempDir,
}

impl Drop for PhpFpm {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl PhpFpm {
    /// The program, wherever the distribution has put it.
    fn program() -> Option<std::path::PathBuf> {
        let names = ["php-fpm", "php-fpm8.1", "php-fpm8.2", "php-fpm8.3", "php-fpm8.4", "php-fpm8.5"];
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let all = folders.iter().flat_map(|folder| names.map(|name| Path::new(folder).join(name)));
        all.into_iter().find(|path| path.is_file())
    }

    fn start(program: &Path) -> PhpFpm {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let config = format!(
            "[global]\nerror_log = {0}/log\ndaemonize = no\n[www]\nlisten = {0}/fpm.sock\npm = static\n\
             pm.max_children = 2\ncatch_workers_output = yes\n",
            path.display()
        );
        std::fs::write(path.join("fpm.conf"), config).unwrap();
        std::fs::create_dir(path.join("root")).unwrap();
        let child = Command::new(program)
            .args(["-F", "-R", "-y"])
            .arg(path.join("fpm.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let fpm = PhpFpm { child, folder };
        eventually("php-fpm listens", || fpm.folder.path().join("fpm.sock").exists().then_some(()));
        fpm
    }

    fn script(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("root").join(name), text).unwrap();
    }
}

#[test]
fn php_fpm_runs_an_application() {
    let Some(program) = PhpFpm::program() else {
        println!("skipped: there is no php-fpm on this machine");
        return;
    };
    let fpm = PhpFpm::start(&program);
    fpm.script(
        "index.php",
        "<?php header('X-Script: ' . $_SERVER['SCRIPT_NAME']);\n\
         echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['PATH_INFO'] ?? '', ' ',\n\
         strlen(file_get_contents('php://input')), ' ', $_SERVER['HTTP_X_TWO'] ?? '', ' ', $_SERVER['APP'];",
    );
    fpm.script("gone.php", "<?php http_response_code(410); echo 'gone';");
    fpm.script("slow.php", "<?php echo 'a'; ob_flush(); flush(); usleep(300000); echo 'b';");
    fpm.script("cat.jpg", "<?php echo 'never';");
    let folder = fpm.folder.path().display();
    let gateway = Gateway::with(&format!(
        "root * {folder}/root\nphp_fastcgi unix/{folder}/fpm.sock {{\nenv APP {{http.request.method}}!\n}}"
    ));
    let answer = eventually("php-fpm answers", || {
        let answer = gateway.get("/some/page?q=1", "X-Two: a\r\nX-Two: b\r\nConnection: close\r\n");
        answer.starts_with("HTTP/1.1 200 ").then_some(answer)
    });
    assert_eq!(field(&answer, "x-script"), Some("/index.php"));
    assert!(
        body(&gateway, "GET /some/page?q=1", "X-Two: a\r\nX-Two: b\r\n", "")
            .contains("GET /some/page?q=1  0 a, b GET!")
    );
    let answer = body(&gateway, "POST /index.php/info", "Content-Length: 100000\r\n", &"x".repeat(100_000));
    assert!(answer.contains("POST /index.php/info /info 100000"), "{answer}");
    let answer = body(&gateway, "GET /gone.php", "", "");
    assert!(answer.starts_with("HTTP/1.0 410 ") && answer.ends_with("gone"), "{answer}");
    let answer = body(&gateway, "HEAD /gone.php", "", "");
    assert!(answer.starts_with("HTTP/1.0 410 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(body(&gateway, "GET /slow.php", "", "").ends_with("ab"));
    // An upload that is no script is none by any name: the application gets the request.
    assert!(body(&gateway, "GET /cat.jpg/x.php", "", "").contains("GET /cat.jpg/x.php"));
}

/// All that comes, over HTTP/1.0, so that a body is never in chunks.
fn body(gateway: &Gateway, request: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{request} HTTP/1.0\r\nHost: h\r\n{headers}\r\n{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
