//! The command line as a process: what it prints, how it ends, what it serves.
//!
//! Everything listens on Unix sockets in a folder of the test's own, so that no port is taken twice.

mod admin;
mod caddy;
mod commands;
mod metrics;
mod serving;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use crate::support::{PATIENCE, eventually, gateway_binary};

/// A folder with a home, a Caddyfile, and an address for the admin endpoint.
struct Place {
    folder: TempDir,
}

/// An answer: its status, its head and its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// A process that is killed when the test ends.
struct Running {
    child: Child,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        // In one step, since somebody may be reading it.
        let new = path.with_extension("new");
        fs::write(&new, text).expect("write");
        fs::rename(&new, &path).expect("rename");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A Caddyfile whose site, on a socket, has these lines.
    fn caddyfile(&self, lines: &str) -> String {
        format!(":80 {{\n\tbind unix/{}\n\t{lines}\n}}\n", self.path("site.sock").display())
    }

    /// Writes the Caddyfile of a site that answers `body`.
    fn site(&self, body: &str) {
        self.write("Caddyfile", &self.caddyfile(&format!("respond {body:?}")));
    }

    fn admin_address(&self) -> String {
        format!("unix/{}", self.path("admin.sock").display())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(gateway_binary());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("CADDY_ADMIN", self.admin_address())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    fn tollgate(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it runs")
    }

    /// Runs a command that must succeed; gives its stdout.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.tollgate(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    }

    /// Runs a command that must end with 1 and print nothing on stdout; gives its stderr.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.tollgate(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
        text(&output.stderr)
    }

    /// Starts `run` with these flags; its output goes to the files `out` and `err`.
    fn run(&self, args: &[&str]) -> Running {
        self.spawn(self.command(&[&["run"], args].concat()))
    }

    fn spawn(&self, mut command: Command) -> Running {
        let file = |name| fs::File::create(self.path(name)).expect("create");
        command.stdout(file("out")).stderr(file("err"));
        Running { child: command.spawn().expect("it starts") }
    }

    /// Starts `run` with these flags, and waits until the site answers `body`.
    fn serve(&self, args: &[&str], body: &str) -> Running {
        let running = self.run(args);
        self.says(body);
        running
    }

    /// Waits until the site answers `body`.
    fn says(&self, body: &str) {
        eventually(&format!("the site says {body:?}; {}", self.read("err")), || {
            self.get("/").ok().filter(|answer| answer.body == body)
        });
    }

    /// Asks the site.
    fn get(&self, target: &str) -> io::Result<Answer> {
        ask(&self.path("site.sock"), "GET", target, &[], "")
    }

    /// Asks the admin endpoint.
    fn admin(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        ask(&self.path("admin.sock"), method, target, headers, body).expect("the admin endpoint answers")
    }

    fn load(&self, caddyfile: &str) -> Answer {
        self.admin("POST", "/load", &["Content-Type: text/caddyfile"], caddyfile)
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "no process {}", self.child.id());
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    fn ended(mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One request on a connection of its own.
fn ask(socket: &Path, method: &str, target: &str, headers: &[&str], body: &str) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{body}"));
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let whole = String::from_utf8_lossy(&bytes).into_owned();
    let no_answer = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let (head, body) = whole.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_answer)?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
