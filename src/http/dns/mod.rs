//! Names looked up by asking DNS servers ourselves: those that a configuration names, or, for what
//! the system's own look-up can't tell, those that the system uses. Each wait has a deadline, and
//! nothing blocks.

mod message;
mod system;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

pub use message::Srv;

use message::{Answer, Kind, Record, UDP_BYTES_MAX};

use crate::config::NetworkAddress;

/// A server must answer within this time, unless said otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Each server is asked so often.
const ATTEMPTS: usize = 2;
const PORT: u16 = 53;

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    servers: Vec<Server>,
    timeout: Duration,
    /// Domains that names may be meant in.
    search: Vec<String>,
    /// A name with fewer dots is looked for in those domains first.
    dots: usize,
}

/// A DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
    over_tcp: bool,
}

impl Resolver {
    /// One that asks the servers at these addresses, which have the port 53 unless they say another.
    ///
    /// # Errors
    /// What is wrong with an address.
    pub fn new(addresses: &[String], timeout: Option<Duration>) -> Result<Self, String> {
        if addresses.is_empty() {
            return Err("no resolver address".into());
        }
        let servers = addresses.iter().map(|address| Server::parse(address));
        let system = system::settings(&system::read());
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            timeout: timeout.unwrap_or(ANSWER_TIMEOUT),
            search: system.search,
            dots: system.dots,
        })
    }

    /// One that asks the servers that the system uses now.
    pub fn system() -> Self {
        let settings = system::settings(&system::read());
        let servers = settings.servers.into_iter().map(|ip| Server {
            host: ip.to_string(),
            port: PORT,
            over_tcp: false,
        });
        Self {
            servers: servers.collect(),
            timeout: ANSWER_TIMEOUT,
            search: settings.search,
            dots: settings.dots,
        }
    }

    /// The addresses of a host, those of IPv4 first.
    ///
    /// # Errors
    /// There is no such host, or nobody says.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(vec![ip]);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let known = tokio::task::spawn_blocking({
            let name = name.to_owned();
            move || system::hosts(&name)
        });
        let known = known.await.unwrap_or_default();
        if !known.is_empty() {
            return Ok(known);
        }
        let (v4, v6) = tokio::join!(self.look_up(host, Kind::A), self.look_up(host, Kind::Aaaa));
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error),
            (v4, v6) => (v4.unwrap_or_default(), v6.unwrap_or_default()),
        };
        let addresses: Vec<IpAddr> = v4
            .into_iter()
            .chain(v6)
            .filter_map(|record| if let Record::Address(ip) = record { Some(ip) } else { None })
            .collect();
        if addresses.is_empty() { Err(no_such(host)) } else { Ok(addresses) }
    }

    /// Where the service of this name is, in the order in which they are to be used: by priority, and
    /// within it by chance and weight.
    ///
    /// # Errors
    /// There is no such service, or nobody says.
    pub async fn services(&self, name: &str) -> io::Result<Vec<Srv>> {
        let records = self.look_up(name, Kind::Srv).await?;
        let mut services: Vec<Srv> = records
            .into_iter()
            .filter_map(|record| if let Record::Srv(srv) = record { Some(srv) } else { None })
            // The root stands for no host at all (RFC 2782).
            .filter(|srv| srv.target != ".")
            .collect();
        if services.is_empty() {
            return Err(no_such(name));
        }
        order(&mut services);
        Ok(services)
    }

    /// Asks for the name itself, and as one of the search domains, in the order that its dots tell.
    async fn look_up(&self, name: &str, kind: Kind) -> io::Result<Vec<Record>> {
        let mut failure = no_such(name);
        for name in self.candidates(name) {
            match self.ask(&name, kind).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') || self.search.is_empty() {
            return vec![name.to_owned()];
        }
        let within = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let itself = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.dots {
            itself.chain(within).collect()
        } else {
            within.chain(itself).collect()
        }
    }

    /// Asks one server after the other, beginning with any, until one answers.
    async fn ask(&self, name: &str, kind: Kind) -> io::Result<Vec<Record>> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "there is no DNS server to ask");
        let first = usize::from(random());
        for attempt in 0..self.servers.len() * ATTEMPTS {
            let server = &self.servers[(first + attempt) % self.servers.len()];
            let question = message::question(random(), name, kind).ok_or_else(|| no_such(name))?;
            let asking = server.ask(&question, kind);
            match tokio::time::timeout(self.timeout, asking).await {
                Ok(Ok(Answer::Records(records))) => return Ok(records),
                Ok(Ok(Answer::NoName)) => return Err(no_such(name)),
                Ok(Ok(Answer::Truncated | Answer::Failed)) => {
                    failure = io::Error::other(format!("looking up {name}: the server failed"));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => {
                    failure =
                        io::Error::new(io::ErrorKind::TimedOut, format!("looking up {name}: no answer"));
                }
            }
        }
        Err(failure)
    }
}

fn no_such(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("looking up {name}: no such host"))
}

/// A number that nobody else can guess, as far as the system has such.
fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without a random source, the port that the system chooses is still one.
    let _ = getrandom::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// Sorts by priority, and draws within each by weight (RFC 2782).
fn order(services: &mut [Srv]) {
    services.sort_by_key(|srv| (srv.priority, srv.weight));
    for group in services.chunk_by_mut(|a, b| a.priority == b.priority) {
        for at in 0..group.len() {
            let rest = &mut group[at..];
            let all: u32 = rest.iter().map(|srv| u32::from(srv.weight)).sum();
            if all == 0 {
                break;
            }
            let high = u32::from(random());
            let mut drawn = (high << 16 | u32::from(random())) % all;
            let chosen = rest.iter().position(|srv| {
                let weight = u32::from(srv.weight);
                let is_it = drawn < weight;
                drawn = drawn.saturating_sub(weight);
                is_it
            });
            rest.swap(0, chosen.unwrap_or(0));
        }
    }
}

impl Server {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |problem: String| format!("resolver '{text}': {problem}");
        // Without a network, an address that is nothing but a host gets the usual port.
        let bare: Result<IpAddr, _> = text.trim_start_matches('[').trim_end_matches(']').parse();
        if let Ok(ip) = bare {
            return Ok(Self { host: ip.to_string(), port: PORT, over_tcp: false });
        }
        let address: NetworkAddress = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let is_default = !text.contains('/');
        let over_tcp = match &*address.network {
            "tcp" | "tcp4" | "tcp6" => !is_default,
            "udp" | "udp4" | "udp6" => false,
            network => return Err(wrong(format!("network {network} can't be asked"))),
        };
        if address.port_count() > 1 {
            return Err(wrong("resolver address must have exactly one address; cannot be a range".into()));
        }
        let port = if address.start_port == 0 { PORT } else { address.start_port };
        let host = address.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, over_tcp })
    }

    async fn ask(&self, question: &[u8], kind: Kind) -> io::Result<Answer> {
        let mut addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let address = addresses.next().ok_or_else(|| no_such(&self.host))?;
        if !self.over_tcp {
            match ask_udp(address, question, kind).await? {
                Answer::Truncated => {}
                answer => return Ok(answer),
            }
        }
        ask_tcp(address, question, kind).await
    }
}

async fn ask_udp(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // The kernel drops what comes from anyone else.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no answer to the question may be a forgery: the real one is still waited for.
        if let Some(answer) = message::answer(question, &buffer[..length], kind) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    message::answer(question, &buffer, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a malformed DNS answer"))
}
