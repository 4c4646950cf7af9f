//! Files over real connections: sites as people write them, and what slow clients and floods cost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Answer, PATIENCE, eventually, free_port, gateway_binary, get};

/// A gateway with a site of files, which ends with the test.
struct Gateway {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Gateway {
    /// Runs a site with these directives, whose root is the folder `site` with these files.
    fn with(directives: &str, files: &[(&str, &str)]) -> Gateway {
        Gateway::run(directives, files, Command::new(gateway_binary()))
    }

    fn run(directives: &str, files: &[(&str, &str)], mut command: Command) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        std::fs::create_dir(&site).unwrap();
        for (name, content) in files {
            std::fs::create_dir_all(site.join(name).parent().unwrap()).unwrap();
            std::fs::write(site.join(name), content).unwrap();
        }
        let port = free_port();
        let text = format!("{{\n\tadmin off\n}}\nhttp://:{port} {{\n\troot site\n{directives}\n}}\n");
        std::fs::write(folder.path().join("Caddyfile"), &text).unwrap();
        let child = command
            .args(["run", "--config", "Caddyfile"])
            .current_dir(folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut gateway = Gateway { child: child.unwrap(), port, folder };
        eventually("the gateway listens", || {
            let ended = gateway.child.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway refuses\n{text}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        gateway
    }

    fn get(&self, target: &str) -> Answer {
        get(self.port, target, &[]).unwrap()
    }

    /// Status and body of the answer to a GET.
    fn body(&self, target: &str) -> (u16, String) {
        let answer = self.get(target);
        let body = answer.text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (answer.status, body.unwrap_or_default())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The memory that it has in use, in KiB.
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn an_application_has_one_page_for_all_its_paths() {
    let files = [("index.html", "app"), ("assets/app.js", "code"), ("api.html", "docs")];
    let gateway = Gateway::with("try_files {path} {path}.html /index.html\nfile_server", &files);
    for (target, body) in [
        ("/", "app"),
        ("/some/route", "app"),
        ("/assets/app.js", "code"),
        ("/api", "docs"),
        ("/assets", "app"),
        ("/assets/", "app"),
        ("/../../etc/passwd", "app"),
        ("/%2e%2e/Caddyfile", "app"),
    ] {
        assert_eq!(gateway.body(target), (200, body.to_owned()), "{target}");
    }
}

#[test]
fn what_is_not_there_has_a_page() {
    let directives = "try_files {path} {path}/index.html =404\nfile_server\n\
                      handle_errors {\nrewrite * /{err.status_code}.html\nfile_server\n}";
    let files = [("404.html", "gone"), ("sub/index.html", "sub"), ("403.html", "no")];
    let gateway = Gateway::with(directives, &files);
    assert_eq!(gateway.body("/none"), (404, "gone".into()));
    // The file was chosen by a rewrite, so that no redirect adds a slash.
    assert_eq!(gateway.body("/sub"), (200, "sub".into()));
    assert_eq!(gateway.body("/sub/"), (200, "sub".into()));
}

#[test]
fn scripts_are_found_and_the_rest_of_the_path_is_kept() {
    let directives = "@script file {\ntry_files {path} {path}/index.php index.php\nsplit_path .php\n}\n\
                      rewrite @script {file_match.relative}\n\
                      respond \"{path} {file_match.remainder} {file_match.type}\"";
    let gateway = Gateway::with(directives, &[("app.php", ""), ("sub/index.php", ""), ("index.php", "")]);
    for (target, body) in [
        ("/app.php", "/app.php  file"),
        ("/app.PHP/x/y", "/index.php  file"),
        ("/app.php/x/y", "/app.php /x/y file"),
        ("/sub", "/sub/index.php  file"),
        ("/none", "/index.php  file"),
    ] {
        assert_eq!(gateway.body(target), (200, body.to_owned()), "{target}");
    }
}

#[test]
fn the_configuration_is_not_served() {
    let gateway = Gateway::with("file_server {\nroot .\nbrowse\n}", &[]);
    assert_eq!(gateway.body("/Caddyfile").0, 404);
    let list = get(gateway.port, "/", &["Accept: application/json"]).unwrap();
    assert_eq!(list.status, 200);
    assert!(list.text.contains("\"site/\"") && !list.text.contains("Caddyfile"), "{}", list.text);
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let gateway = Gateway::with("file_server", &[("a", "a")]);
    let pipe = gateway.folder.path().join("site/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(gateway.body("/pipe").0, 404);
    assert_eq!(gateway.body("/a"), (200, "a".into()));
}

#[test]
fn a_long_file_is_read_as_fast_as_it_is_taken() {
    const FILE_BYTES: u64 = 256 << 20;
    const CLIENTS: usize = 8;
    let gateway = Gateway::with("file_server", &[("long", "")]);
    let file = std::fs::File::options().write(true).open(gateway.folder.path().join("site/long")).unwrap();
    file.set_len(FILE_BYTES).unwrap();
    let before = gateway.resident_kib();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    for client in &mut clients {
        client.read_exact(&mut [0; 1024]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{CLIENTS} slow clients take {grown} KiB");
    // One that takes it gets all of it, while the others wait.
    let mut taker = gateway.connect();
    taker
        .write_all(
            b"GET /long HTTP/1.1\r\nHost: x\r\nRange: bytes=1000-67109863\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let taken = std::io::copy(&mut taker, &mut std::io::sink()).unwrap();
    assert!(taken > 64 << 20, "{taken}");
}

#[test]
fn without_descriptors_clients_are_asked_to_come_back() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let descriptors = 64 + 24 * cores;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")]).arg(gateway_binary());
    let gateway = Gateway::run("file_server", &[("a", "content")], command);
    assert_eq!(gateway.body("/a"), (200, "content".into()));
    let mut first = gateway.connect();
    let ask = |client: &mut TcpStream| {
        client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut bytes = [0; 2048];
        let read = client.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    };
    assert!(ask(&mut first).starts_with("HTTP/1.1 200 "));
    let flood: Vec<TcpStream> = (0..descriptors).map(|_| gateway.connect()).collect();
    let refused = eventually("no descriptor is left", || {
        let answer = ask(&mut first);
        answer.starts_with("HTTP/1.1 503 ").then_some(answer)
    });
    assert!(refused.to_ascii_lowercase().contains("\r\nretry-after: "), "{refused}");
    drop(flood);
    eventually("there are descriptors again", || ask(&mut first).starts_with("HTTP/1.1 200 ").then_some(()));
}
