//! Names looked up by asking DNS servers ourselves: those that a configuration names, or, for what
//! the system's own look-up can't tell, those that the system uses; and zones changed at their servers
//! ([`Updater`]). Each wait has a deadline, and nothing blocks.

mod message;
mod server;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tsig;
mod update;
mod zone;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::Duration;

pub use message::Srv;
pub use tsig::{TsigError, TsigKey, TsigKeyError};
pub use update::{Change, RecordData, UpdateError, Updater};

use message::{Answer, Kind, Record};
use server::Server;

/// A server must answer within this time, unless said otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Each server is asked so often.
const ATTEMPTS: usize = 2;
const PORT: u16 = 53;
/// When addresses of one family are known, those of the other may still come within this time.
const SECOND_FAMILY_GRACE: Duration = Duration::from_millis(200);

/// Which addresses are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

impl Families {
    /// All addresses.
    pub const BOTH: Self = Self { v4: true, v6: true };

    /// The family of this address alone.
    pub fn of(ip: IpAddr) -> Self {
        Self { v4: ip.is_ipv4(), v6: ip.is_ipv6() }
    }

    /// Whether an address is of these families.
    pub fn hold(self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

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

    /// One that asks the server at these addresses.
    pub fn at(addresses: &[IpAddr], port: u16) -> Self {
        let server = |ip: &IpAddr| Server { host: ip.to_string(), port, over_tcp: false };
        Self {
            servers: addresses.iter().map(server).collect(),
            timeout: ANSWER_TIMEOUT,
            search: Vec::new(),
            dots: 1,
        }
    }

    /// For each of the servers one that asks it alone.
    pub fn each(&self) -> Vec<Self> {
        let alone = |server: &Server| Self { servers: vec![server.clone()], ..self.clone() };
        self.servers.iter().map(alone).collect()
    }

    /// The addresses of a host that are of these families, those of IPv4 first. Nothing is asked about
    /// the others, and a family that is late does not hold up the one that came.
    ///
    /// # Errors
    /// There is no such host, or nobody says.
    pub async fn addresses(&self, host: &str, families: Families) -> io::Result<Vec<IpAddr>> {
        let known = self.known(host).await;
        let all = if known.is_empty() { self.asked(host, families).await? } else { known };
        let wanted: Vec<IpAddr> = all.into_iter().filter(|ip| families.hold(*ip)).collect();
        if wanted.is_empty() { Err(no_such(host)) } else { Ok(wanted) }
    }

    /// The addresses of a host that need no asking: it is one, or stands in the system's file.
    async fn known(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return vec![ip];
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.eq_ignore_ascii_case("localhost") {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || system::hosts(&name)).await.unwrap_or_default()
    }

    async fn asked(&self, host: &str, families: Families) -> io::Result<Vec<IpAddr>> {
        let mut v4 = pin!(self.family(host, Kind::A, families.v4));
        let mut v6 = pin!(self.family(host, Kind::Aaaa, families.v6));
        let (v4, v6) = tokio::select! {
            first = &mut v4 => {
                let second = second(&first, v6).await;
                (first, second)
            }
            first = &mut v6 => {
                let second = second(&first, v4).await;
                (second, first)
            }
        };
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (Err(error), Ok(none)) | (Ok(none), Err(error)) if none.is_empty() => Err(error),
            (v4, v6) => Ok([v4.unwrap_or_default(), v6.unwrap_or_default()].concat()),
        }
    }

    /// The addresses of one family; none without asking if they are not wanted.
    async fn family(&self, host: &str, kind: Kind, is_wanted: bool) -> io::Result<Vec<IpAddr>> {
        if !is_wanted {
            return Ok(Vec::new());
        }
        let records = self.look_up(host, kind).await?.into_iter();
        Ok(records
            .filter_map(|record| if let Record::Address(ip) = record { Some(ip) } else { None })
            .collect())
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
        let mut failure = io::Error::other("there is no DNS server to ask");
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

/// What the second family says, for which there is little time if the first has said something.
async fn second(
    first: &io::Result<Vec<IpAddr>>,
    second: impl Future<Output = io::Result<Vec<IpAddr>>>,
) -> io::Result<Vec<IpAddr>> {
    if first.as_ref().is_ok_and(|found| !found.is_empty()) {
        tokio::time::timeout(SECOND_FAMILY_GRACE, second).await.unwrap_or(Ok(Vec::new()))
    } else {
        second.await
    }
}

/// Whether a text is a domain name that can be asked about.
pub fn is_name(text: &str) -> bool {
    message::write_name(&mut Vec::new(), text).is_some()
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
