//! Connections to one Redis server, each command with a deadline. All of it blocks.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Address;
use crate::config::{Secret, join_host_port};
use crate::modules::storage::redis::resp::{self, Reply};

/// So many connections that nobody uses are kept. As many are open as threads use the storage.
const IDLE_MAX: usize = 4;

/// How servers let us in.
#[derive(Clone, Debug)]
pub(in super::super) struct Login {
    /// Empty for none.
    pub(in super::super) username: String,
    /// Empty for none.
    pub(in super::super) password: Secret,
    /// The number of the database.
    pub(in super::super) database: u32,
    /// For each command, and for connecting.
    pub(in super::super) timeout: Duration,
    pub(in super::super) tls: Option<Arc<ClientConfig>>,
}

/// One server.
#[derive(Debug)]
struct Server {
    host: String,
    port: u16,
    login: Arc<Login>,
}

/// The connections to one server.
#[derive(Debug)]
pub(in super::super) struct Connections {
    server: Server,
    idle: Mutex<Vec<Connection>>,
}

/// Why a command was not done, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub(in super::super) enum RedisError {
    #[error("Redis at {0}: {1}")]
    Io(String, Arc<io::Error>),
    #[error("Redis: {0}")]
    Nobody(String),
    #[error("Redis at {0} says: {1}")]
    Said(String, String),
    #[error("Redis at {0}: an answer of another kind than was asked for")]
    Kind(String),
}

type Stream = BufReader<Box<dyn ReadWrite>>;

trait ReadWrite: Read + Write + Send {
    fn set_deadline(&mut self, deadline: Instant);
}

struct Connection(Stream);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connections {
    pub(super) fn new((host, port): Address, login: Arc<Login>) -> Self {
        Self { server: Server { host, port, login }, idle: Mutex::default() }
    }

    pub(super) fn host(&self) -> &str {
        &self.server.host
    }

    /// Runs a command. One that has no answer on a connection that was kept is sent again on a new one,
    /// so it must do no harm twice.
    ///
    /// # Errors
    /// [`RedisError`].
    pub(super) fn run(&self, command: &[&[u8]]) -> Result<Reply, RedisError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let timeout = self.server.login.timeout;
        let again = kept.and_then(|mut kept| Some((kept.run(command, timeout).ok()?, kept)));
        let (reply, connection) = match again {
            Some(done) => done,
            None => {
                let mut new = self.server.connect()?;
                let reply = new.run(command, timeout).map_err(|error| self.server.failed(error))?;
                (reply, new)
            }
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        self.done(reply)
    }

    /// Runs a command whose keys this server is about to get from another one of its cluster.
    ///
    /// # Errors
    /// [`RedisError`].
    pub(super) fn run_asking(&self, command: &[&[u8]]) -> Result<Reply, RedisError> {
        let (mut new, timeout) = (self.server.connect()?, self.server.login.timeout);
        let asked = new.run(&[b"ASKING"], timeout).and_then(|_| new.run(command, timeout));
        self.done(asked.map_err(|error| self.server.failed(error))?)
    }

    fn done(&self, reply: Reply) -> Result<Reply, RedisError> {
        match reply {
            Reply::Error(said) => Err(RedisError::Said(self.server.address(), said)),
            reply => Ok(reply),
        }
    }

    /// The error that an answer is of another kind than the command's are.
    pub(super) fn wrong_kind(&self) -> RedisError {
        RedisError::Kind(self.server.address())
    }
}

impl Connection {
    fn run(&mut self, command: &[&[u8]], timeout: Duration) -> io::Result<Reply> {
        self.0.get_mut().set_deadline(Instant::now() + timeout);
        resp::send(self.0.get_mut(), command)?;
        resp::receive(&mut self.0)
    }
}

impl Server {
    fn address(&self) -> String {
        join_host_port(&self.host, &self.port.to_string())
    }

    fn failed(&self, error: io::Error) -> RedisError {
        RedisError::Io(self.address(), Arc::new(error))
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let login = &*self.login;
        let deadline = Instant::now() + login.timeout;
        let stream = self.open(deadline).map_err(|error| self.failed(error))?;
        let mut connection = Connection(BufReader::new(stream));
        let database = login.database.to_string();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        if !login.password.is_empty() {
            let credentials = [&b"AUTH"[..], login.username.as_bytes(), login.password.as_bytes()];
            commands.push(credentials.into_iter().filter(|word| !word.is_empty()).collect());
        }
        if login.database != 0 {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        for command in commands {
            let reply = connection.run(&command, login.timeout).map_err(|error| self.failed(error))?;
            if let Reply::Error(said) = reply {
                // Some say what was sent, and that may be the password; their first word is a code.
                let code = said.split(' ').next().unwrap_or_default().to_owned();
                let what = String::from_utf8_lossy(command[0]).into_owned();
                return Err(RedisError::Said(self.address(), format!("{code} to {what}")));
            }
        }
        Ok(connection)
    }

    fn open(&self, deadline: Instant) -> io::Result<Box<dyn ReadWrite>> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            let left = left_until(deadline)?;
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let stream = Timed { stream, deadline };
                    let Some(tls) = &self.login.tls else { return Ok(Box::new(stream)) };
                    let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                    let session = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
                    return Ok(Box::new(StreamOwned::new(session, stream)));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// A connection whose waits all end at a deadline.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")) } else { Ok(left) }
}

/// The kernel says of a wait that was too long that nothing is there.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left_until(self.deadline)?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left_until(self.deadline)?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadWrite for Timed {
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl ReadWrite for StreamOwned<ClientConnection, Timed> {
    fn set_deadline(&mut self, deadline: Instant) {
        self.sock.deadline = deadline;
    }
}
