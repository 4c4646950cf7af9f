//! The images' entry point, run with a stand-in for Ollama on PATH and the real gateway.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{ModelServer, eventually, free_port, gateway_binary, get, repository, repository_text};

const KEY: &str = "sk-ollama-0f1e2d3c4b5a";

/// Ollama as the entry point sees it: writes down how it was started, then waits for its end.
const OLLAMA: &str = "#!/bin/sh\n\
    env > \"$STAND_IN_DIR/ollama.env\"\n\
    echo \"$@\" > \"$STAND_IN_DIR/ollama.args\"\n\
    echo $$ > \"$STAND_IN_DIR/ollama.pid\"\n\
    exec sleep 600\n";

/// One that does not end when it is asked to.
const STUBBORN_OLLAMA: &str = "#!/bin/sh\n\
    trap '' TERM\n\
    echo $$ > \"$STAND_IN_DIR/ollama.pid\"\n\
    while :; do sleep 0.1; done\n";

/// The gateway by the name that the images call, noting each start.
const GATEWAY: &str = "#!/bin/sh\n\
    echo $$ >> \"$STAND_IN_DIR/gateway.pids\"\n\
    exec \"$GATEWAY_BINARY\" \"$@\"\n";

/// A container's worth of processes, without the container.
struct Container {
    directory: TempDir,
    port: u16,
    validator_port: u16,
    model: ModelServer,
    command: Command,
    child: Option<Child>,
}

impl Container {
    /// Prepares the set-up whose Caddyfile is at `caddyfile`, with the ports replaced by free ones.
    fn new(caddyfile: &str) -> Container {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let (port, validator_port) = (free_port(), free_port());
        let model = ModelServer::start();
        let text = repository_text(caddyfile)
            .replace(":8081 {", &format!(":{port} {{\n\tbind 127.0.0.1"))
            .replace(":80 {", &format!(":{port} {{\n\tbind 127.0.0.1"))
            .replace("localhost:11434", &format!("127.0.0.1:{}", model.port))
            .replace("localhost:9090", &format!("127.0.0.1:{validator_port}"))
            .replace("/var/log/caddy", &path.join("log").to_string_lossy());
        fs::write(path.join("Caddyfile"), text).expect("write");
        fs::create_dir(path.join("bin")).expect("mkdir");
        let search = format!("{}:{}", path.join("bin").display(), std::env::var("PATH").expect("PATH"));
        let mut command = Command::new(repository("docker/entrypoint.sh"));
        command
            .env_clear()
            .env("PATH", search)
            .env("HOME", path)
            .env("OLLAMA_API_KEY", KEY)
            .env("GATEWAY_CONFIG", path.join("Caddyfile"))
            .env("GATEWAY_BINARY", gateway_binary())
            .env("CADDY_ADMIN", format!("127.0.0.1:{}", free_port()))
            .env("VALIDATOR_PORT", validator_port.to_string())
            .env("STAND_IN_DIR", path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(fs::File::create(path.join("output")).expect("output"))
            .stderr(fs::File::options().append(true).open(path.join("output")).expect("output"));
        let container = Container { directory, port, validator_port, model, command, child: None };
        container.program("ollama", OLLAMA);
        container.program("caddy", GATEWAY);
        container
    }

    /// Puts a program on the PATH.
    fn program(&self, name: &str, text: &str) {
        let path = self.directory.path().join("bin").join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn start(&mut self) {
        self.child = Some(self.command.spawn().expect("bash runs the entry point"));
    }

    /// Starts it and waits until the gateway answers at all.
    fn start_and_wait(&mut self) {
        self.start();
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        eventually("the gateway answers", || get(self.port, "/", &[]).ok());
        // Ollama is started first, but nothing says that its first lines have run.
        eventually("Ollama has started", || self.pid("ollama.pid"));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// The last process id in that file.
    fn pid(&self, name: &str) -> Option<i32> {
        self.read(name).lines().last().and_then(|line| line.parse().ok())
    }

    fn signal(&self, pid: i32, signal: i32) {
        let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
        assert!(status.expect("kill runs").success(), "no process {pid}");
    }

    fn entrypoint_pid(&self) -> i32 {
        let child = self.child.as_ref().expect("started");
        i32::try_from(child.id()).expect("a process id")
    }

    /// Waits for the end of the entry point, then for that of everything it had started.
    fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("started");
        let status = eventually("the entry point ends", || child.try_wait().expect("wait"));
        for pid in self.read("gateway.pids").lines().chain(self.read("ollama.pid").lines()) {
            eventually("its children end", || (!runs(pid)).then_some(()));
        }
        status
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut() {
            // With all that it has started: a process that is left would outlive the tests.
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).status();
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in self.read("gateway.pids").lines().chain(self.read("ollama.pid").lines()) {
            if runs(pid) {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
        }
    }
}

/// Whether there is such a process, other than one that only waits to be collected.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

#[test]
fn without_a_key_nothing_starts() {
    for key in [None, Some("")] {
        let mut container = Container::new("Caddyfile");
        match key {
            Some(key) => container.command.env("OLLAMA_API_KEY", key),
            None => container.command.env_remove("OLLAMA_API_KEY"),
        };
        container.start();
        let status = container.ended();
        assert_eq!(status.code(), Some(1));
        assert!(
            container.read("output").contains("error: OLLAMA_API_KEY is not set"),
            "{}",
            container.read("output")
        );
        assert_eq!(
            (container.read("gateway.pids"), container.read("ollama.pid")),
            (String::new(), String::new())
        );
    }
}

#[test]
fn the_key_opens_the_gate_and_is_not_printed() {
    let mut container = Container::new("Caddyfile");
    container.start_and_wait();

    let right = get(container.port, "/", &[&bearer(KEY)]).expect("an answer");
    assert_eq!(right.status, 200, "{}", right.text);
    assert!(right.text.ends_with("Ollama is running"), "{}", right.text);
    let host = format!("host: 127.0.0.1:{}\r\n", container.model.port);
    let heads = container.model.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].to_ascii_lowercase().contains(&host), "{}", heads[0]);

    for headers in [vec![], vec![bearer("wrong")], vec![bearer("")], vec![bearer(&format!("{KEY}x"))]] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let wrong = get(container.port, "/", &headers).expect("an answer");
        assert_eq!(wrong.status, 401, "{headers:?}: {}", wrong.text);
        assert!(wrong.text.ends_with("\r\n\r\nUnauthorized"), "{}", wrong.text);
    }
    assert_eq!(container.model.heads().len(), 1, "a refused request reached the model server");

    assert_eq!(container.read("ollama.args"), "serve\n");
    let environment = container.read("ollama.env");
    assert!(environment.lines().any(|line| line == "OLLAMA_HOST=127.0.0.1:11434"), "{environment}");
    assert!(!environment.contains(KEY), "Ollama was given the key");
    container.signal(container.entrypoint_pid(), 15);
    container.ended();
    assert!(!container.read("output").contains(KEY), "the key was printed");
}

#[test]
fn ollama_listens_where_the_user_says() {
    for (host, warned) in
        [("0.0.0.0", true), ("0.0.0.0:11434", true), ("[::]:11434", true), ("127.0.0.1:4000", false)]
    {
        let mut container = Container::new("Caddyfile");
        container.command.env("OLLAMA_HOST", host);
        container.start_and_wait();
        let environment = container.read("ollama.env");
        assert!(environment.lines().any(|line| line == format!("OLLAMA_HOST={host}")), "{environment}");
        let output = container.read("output");
        assert_eq!(output.contains("listen on every interface"), warned, "{host}: {output}");
    }
}

#[test]
fn three_ways_to_send_the_key() {
    let mut container = Container::new("docker/ollama-auth/Caddyfile");
    container.start_and_wait();
    let (query, wrong_query) = (format!("/?api-key={KEY}"), "/?api-key=wrong");
    let (bearer, header) = (bearer(KEY), format!("X-API-Key: {KEY}"));
    let answers = [
        (get(container.port, "/", &[&bearer]), 200),
        (get(container.port, &query, &[]), 200),
        (get(container.port, "/", &[&header]), 200),
        (get(container.port, "/", &[]), 403),
        (get(container.port, wrong_query, &["X-API-Key: wrong", "Authorization: Bearer wrong"]), 403),
    ];
    for (number, (answer, status)) in answers.into_iter().enumerate() {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, status, "request {number}: {}", answer.text);
        if status == 403 {
            assert!(answer.text.ends_with("Forbidden: Invalid API Key"), "{}", answer.text);
        }
    }
}

/// A validator in this process: answers as the image's own does, from keys that it is given.
fn stand_in_validator(port: u16, keys: &'static [&'static str]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the validator's port");
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || validate_all(stream, keys));
        }
    });
}

/// Answers the questions of one connection.
fn validate_all(stream: TcpStream, keys: &[&str]) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut to = stream;
    loop {
        let mut key = None;
        let mut is_over = true;
        for line in lines.by_ref() {
            let line = line?;
            is_over = false;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("authorization") {
                key = value.strip_prefix("Bearer ").map(str::to_owned);
            }
        }
        if is_over {
            return Ok(());
        }
        let (status, verdict, text) = match key {
            None => ("400 Bad Request", "invalid_api_key_format", "Invalid API Key format"),
            Some(key) if keys.contains(&key.as_str()) => ("200 OK", "valid_api_key", "valid"),
            Some(_) => ("401 Unauthorized", "invalid_api_key", "Invalid API Key"),
        };
        let length = text.len();
        write!(to, "HTTP/1.1 {status}\r\nProxy-Status: {verdict}\r\nContent-Length: {length}\r\n\r\n{text}")?;
    }
}

#[test]
fn keys_that_a_validator_knows() {
    let mut container = Container::new("docker/ollama-bearer-auth-caddy/Caddyfile");
    container.program("validator", "#!/bin/sh\nexec sleep 600\n");
    container.command.env("KEY_VALIDATOR", container.directory.path().join("bin/validator"));
    stand_in_validator(container.validator_port, &["sk-one", "sk-two"]);
    container.start_and_wait();
    only_valid_keys_pass(&container);
}

/// The image's own validator, which needs the Python that the image brings; elsewhere there may be none.
#[test]
fn keys_from_a_file() {
    if Command::new("python3").arg("--version").output().is_err() {
        return keys_that_a_validator_knows();
    }
    let mut container = Container::new("docker/ollama-bearer-auth-caddy/Caddyfile");
    let keys = container.directory.path().join("valid_keys.conf");
    fs::write(&keys, "sk-one\n\nsk-two").expect("write");
    container
        .command
        .env("KEY_VALIDATOR", repository("docker/ollama-bearer-auth-caddy/validator.py"))
        .env("VALID_KEYS", &keys);
    container.start_and_wait();
    only_valid_keys_pass(&container);
    let port = container.port;
    let status = |header: &str| get(port, "/", &[header]).expect("an answer").status;

    // Keys come and go without a restart.
    fs::write(&keys, "sk-two\nsk-three\n").expect("write");
    assert_eq!((status(&bearer("sk-one")), status(&bearer("sk-three"))), (401, 200));
    fs::remove_file(&keys).expect("remove");
    assert_eq!((status(&bearer("sk-one")), status(&bearer("sk-three"))), (401, 200));
}

/// The keys sk-one and sk-two pass, and no others.
fn only_valid_keys_pass(container: &Container) {
    let port = container.port;
    let status = |header: &str| get(port, "/", &[header]).expect("an answer").status;
    eventually("the validator answers", || (status(&bearer("sk-one")) == 200).then_some(()));

    let refused = get(port, "/", &[&bearer("wrong")]).expect("an answer");
    assert_eq!(refused.status, 401);
    assert!(refused.text.ends_with("Invalid API Key"), "{}", refused.text);
    let odd = get(port, "/", &["Authorization: Basic c2stb25lOng="]).expect("an answer");
    assert_eq!(odd.status, 400);
    assert!(odd.text.ends_with("Invalid API Key format"), "{}", odd.text);
    let expected = [("sk-one", 200), ("sk-two", 200), ("sk-", 401), ("", 400), ("*", 401), (KEY, 401)];
    for (key, code) in expected {
        // The client's trailing blank is not part of the value, so an empty key is an odd header.
        assert_eq!(status(&bearer(key)), code, "key '{key}'");
    }
}

#[test]
fn a_gateway_that_dies_early_ends_the_container_with_its_status() {
    let mut container = Container::new("Caddyfile");
    container.start_and_wait();
    let gateway = container.pid("gateway.pids").expect("the gateway's process id");
    container.signal(gateway, 9);
    let status = container.ended();
    assert_eq!(status.code(), Some(128 + 9), "{}", container.read("output"));
    assert_eq!(container.read("gateway.pids").lines().count(), 1, "it was started again");
}

#[test]
fn a_configuration_that_does_not_load_ends_the_container_with_its_status() {
    let mut container = Container::new("Caddyfile");
    fs::write(container.directory.path().join("Caddyfile"), ":8081 {\n\tno_such_directive\n}\n")
        .expect("write");
    container.start();
    let status = container.ended();
    assert_eq!(status.code(), Some(1), "{}", container.read("output"));
    assert!(container.read("output").contains("no_such_directive"), "{}", container.read("output"));
}

#[test]
fn a_steady_gateway_that_dies_is_started_again() {
    let mut container = Container::new("Caddyfile");
    container.command.env("STEADY_SECONDS", "0");
    container.start_and_wait();
    let gateway = container.pid("gateway.pids").expect("the gateway's process id");
    container.signal(gateway, 9);
    eventually("the gateway is started again", || {
        (container.read("gateway.pids").lines().count() == 2).then_some(())
    });
    container.wait_until_up();
    let answer = get(container.port, "/", &[&bearer(KEY)]).expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(container.read("output").contains("gateway ended with status 137; starting it again"));
    container.signal(container.entrypoint_pid(), 15);
    assert_eq!(container.ended().code(), Some(0));
}

#[test]
fn signals_end_everything_in_time() {
    for signal in [15, 2] {
        let mut container = Container::new("Caddyfile");
        container.start_and_wait();
        let begin = Instant::now();
        container.signal(container.entrypoint_pid(), signal);
        let status = container.ended();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", container.read("output"));
        assert!(begin.elapsed() < Duration::from_secs(8), "it took {:?}", begin.elapsed());
    }
}

#[test]
fn what_does_not_end_when_asked_is_killed_within_dockers_patience() {
    let mut container = Container::new("Caddyfile");
    container.program("ollama", STUBBORN_OLLAMA);
    container.start_and_wait();
    let begin = Instant::now();
    container.signal(container.entrypoint_pid(), 15);
    assert_eq!(container.ended().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
}

#[test]
fn an_answer_under_way_is_finished_before_the_model_server_ends() {
    let mut container = Container::new("Caddyfile");
    container.start_and_wait();
    let port = container.port;
    let client = std::thread::spawn(move || get(port, "/slow", &[&bearer(KEY)]));
    eventually("the request reaches the model server", || {
        (!container.model.heads().is_empty()).then_some(())
    });
    container.signal(container.entrypoint_pid(), 15);
    let answer = client.join().expect("the client's thread").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.ends_with("Ollama is running"), "{}", answer.text);
    assert_eq!(container.ended().code(), Some(0));
}
