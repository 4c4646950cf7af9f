//! Connections to the Redis server, each command with a deadline. All of it blocks.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::resp::{self, Reply};
use crate::config::{Secret, join_host_port};

/// So many connections that nobody uses are kept. As many are open as threads use the storage.
const IDLE_MAX: usize = 4;

/// Where the server is, and how it lets us in.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// Empty for none.
    pub(super) username: String,
    /// Empty for none.
    pub(super) password: Secret,
    /// The number of the database.
    pub(super) database: u32,
    /// For each command, and for connecting.
    pub(super) timeout: Duration,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Connections {
    server: Server,
    idle: Mutex<Vec<Connection>>,
}

/// Why a command was not done, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedisError {
    #[error("Redis at {0}: {1}")]
    Io(String, io::Error),
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
    pub(super) fn new(server: Server) -> Self {
        Self { server, idle: Mutex::default() }
    }

    /// Runs a command. One that has no answer on a connection that was kept is sent again on a new one,
    /// so it must do no harm twice.
    ///
    /// # Errors
    /// [`RedisError`].
    pub(super) fn run(&self, command: &[&[u8]]) -> Result<Reply, RedisError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let again = kept.and_then(|mut kept| Some((kept.run(command, self.server.timeout).ok()?, kept)));
        let (reply, connection) = match again {
            Some(done) => done,
            None => {
                let mut new = self.server.connect()?;
                let reply =
                    new.run(command, self.server.timeout).map_err(|error| self.server.failed(error))?;
                (reply, new)
            }
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
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
        RedisError::Io(self.address(), error)
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let deadline = Instant::now() + self.timeout;
        let stream = self.open(deadline).map_err(|error| self.failed(error))?;
        let mut connection = Connection(BufReader::new(stream));
        let database = self.database.to_string();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        if !self.password.is_empty() {
            let credentials = [&b"AUTH"[..], self.username.as_bytes(), self.password.as_bytes()];
            commands.push(credentials.into_iter().filter(|word| !word.is_empty()).collect());
        }
        if self.database != 0 {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        for command in commands {
            let reply = connection.run(&command, self.timeout).map_err(|error| self.failed(error))?;
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
                    let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
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
