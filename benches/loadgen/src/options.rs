//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

/// Shown when the arguments make no sense.
pub const USAGE: &str = "\
usage: tollgate-loadgen ROLE [--to ADDRESS] [--key KEY] [--connections N] [--seconds S] [--count N]
                             [--interval-us N] [--bytes N] [--streams N] [--trust FILE] [--expect TEXT]

  upstream     a model server: prints its address, serves until stdin closes
  kept         small requests over kept connections, as fast as they are answered
  refused      requests with a wrong key, each on a new connection
  stream       streams of lines, one line every --interval-us
  first-byte   streams one after another, each timed to its first line
  hold         opens streams that then stay silent; closes them when stdin closes
  file         a file of --bytes over kept connections, as fast as it is answered
  tunnels      WebSockets: opens them, waits for a line on stdin, then sends a message on each at every
               --interval-us, and waits for it to come back
  h3           requests for / over HTTP/3, --streams at a time on each connection, answered with --expect;
               the certificate for localhost must be that in the PEM file --trust
  download     answers of --bytes in all        upload   requests of --bytes in all";

/// What this process is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Upstream,
    Kept,
    Refused,
    Stream,
    FirstByte,
    Hold,
    File,
    Download,
    Upload,
    Tunnels,
    H3,
}

/// The whole command line; what a role does not use is ignored by it.
#[derive(Clone, Debug)]
pub struct Options {
    pub role: Role,
    /// The gateway, or the upstream itself when the floor is measured.
    pub to: SocketAddr,
    pub key: String,
    pub connections: usize,
    pub duration: Duration,
    /// How many requests a sequential role makes.
    pub count: usize,
    /// Time between two lines of a stream, or two messages of a tunnel.
    pub interval: Duration,
    /// Bytes moved in all, over all connections.
    pub bytes: u64,
    /// Requests under way on each connection.
    pub streams: usize,
    /// A PEM file with the gateway's certificate.
    pub trust: String,
    /// What an answer has to be.
    pub expect: String,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let role = match arguments.next().as_deref() {
            Some("upstream") => Role::Upstream,
            Some("kept") => Role::Kept,
            Some("refused") => Role::Refused,
            Some("stream") => Role::Stream,
            Some("first-byte") => Role::FirstByte,
            Some("hold") => Role::Hold,
            Some("file") => Role::File,
            Some("download") => Role::Download,
            Some("upload") => Role::Upload,
            Some("tunnels") => Role::Tunnels,
            Some("h3") => Role::H3,
            Some(other) => return Err(format!("unknown role '{other}'")),
            None => return Err("a role is needed".to_owned()),
        };
        let mut options = Options {
            role,
            to: SocketAddr::from(([127, 0, 0, 1], 8081)),
            key: String::new(),
            connections: 32,
            duration: Duration::from_secs(3),
            count: 200,
            interval: Duration::from_millis(2),
            bytes: 1 << 30,
            streams: 1,
            trust: String::new(),
            expect: String::new(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--to" => options.to = number(&name, &value)?,
                "--key" => options.key = value,
                "--connections" => options.connections = number::<usize>(&name, &value)?.max(1),
                "--seconds" => {
                    options.duration = Duration::try_from_secs_f64(number(&name, &value)?)
                        .map_err(|error| format!("{name}: {error}"))?;
                }
                "--count" => options.count = number(&name, &value)?,
                "--interval-us" => options.interval = Duration::from_micros(number(&name, &value)?),
                "--streams" => options.streams = number::<usize>(&name, &value)?.max(1),
                "--trust" => options.trust = value,
                "--expect" => options.expect = value,
                "--bytes" => options.bytes = number(&name, &value)?,
                _ => return Err(format!("unknown option '{name}'")),
            }
        }
        Ok(options)
    }
}

fn number<T>(name: &str, value: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    value.parse().map_err(|error| format!("{name} {value}: {error}"))
}
