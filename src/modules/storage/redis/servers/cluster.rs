//! A cluster, whose servers share all keys among themselves by their slots
//! (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::connection::{Connections, Login, RedisError};
use super::{Address, Reply, is_code, is_too_late, may_try_again, passes};
use crate::config::split_host_port;

/// So many slots there are.
const SLOTS: u16 = 16_384;
/// A command is led on so often without a wait.
const REDIRECTS_MAX: usize = 5;

/// The servers of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Those that the configuration names.
    seeds: Vec<Address>,
    login: Arc<Login>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who has which slots, first and last one; nothing before somebody has said so.
    ranges: Vec<(u16, u16, Address)>,
    /// Only of those that have slots, or lately had.
    connections: HashMap<Address, Arc<Connections>>,
}

/// Where a server leads to.
enum Redirect {
    /// From now on.
    Moved(Address),
    /// For this command.
    Ask(Address),
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, login: Arc<Login>) -> Self {
        Self { seeds, login, state: Mutex::default() }
    }

    /// Asks all that have slots whether they are there.
    pub(super) fn ping(&self) -> Result<(), RedisError> {
        self.learn(Instant::now())?;
        let all: BTreeSet<_> = self.lock().ranges.iter().map(|(_, _, address)| address.clone()).collect();
        for address in all {
            self.at(&address).run(&[b"PING"])?;
        }
        Ok(())
    }

    pub(super) fn run(&self, key: &str, command: &[&[u8]]) -> Result<Reply, RedisError> {
        let begin = Instant::now();
        let slot = slot(key.as_bytes());
        loop {
            match self.server_of(slot, begin).and_then(|server| self.run_at(server, slot, begin, command)) {
                Err(error) if passes(&error) || matches!(error, RedisError::Nobody(_)) => {
                    if !may_try_again(begin, &self.login) {
                        return Err(error);
                    }
                    // Another may have its slots now. If nobody says so, those that are known are tried.
                    _ = self.learn(begin);
                }
                done => return done,
            }
        }
    }

    /// Runs a command at a server, or where that leads to.
    fn run_at(
        &self,
        mut server: Arc<Connections>,
        slot: u16,
        begin: Instant,
        command: &[&[u8]],
    ) -> Result<Reply, RedisError> {
        let mut led = 0;
        loop {
            let done = server.run(command);
            let Err(RedisError::Said(_, said)) = &done else { return done };
            match redirect(said, server.host()) {
                Some(Redirect::Ask(address)) => return self.at(&address).run_asking(command),
                Some(Redirect::Moved(address)) if led < REDIRECTS_MAX => {
                    led += 1;
                    _ = self.learn(begin);
                    // What it has told is true for this slot at least, whoever else does not know of it yet.
                    let mut state = self.lock();
                    state.ranges.retain(|(first, last, _)| (*first, *last) != (slot, slot));
                    state.ranges.insert(0, (slot, slot, address.clone()));
                    drop(state);
                    server = self.at(&address);
                }
                _ => return done,
            }
        }
    }

    /// Who has a slot.
    fn server_of(&self, slot: u16, begin: Instant) -> Result<Arc<Connections>, RedisError> {
        let of = |state: &State| {
            let range = state.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
            range.map(|(_, _, address)| address.clone())
        };
        let known = of(&self.lock());
        let address = match known {
            Some(address) => address,
            None => {
                self.learn(begin)?;
                let nobody = || RedisError::Nobody(format!("no server of the cluster has the slot {slot}"));
                of(&self.lock()).ok_or_else(nobody)?
            }
        };
        Ok(self.at(&address))
    }

    /// The connections to a server.
    fn at(&self, address: &Address) -> Arc<Connections> {
        let new = || Arc::new(Connections::new(address.clone(), self.login.clone()));
        self.lock().connections.entry(address.clone()).or_insert_with(new).clone()
    }

    /// Asks one server after the other who has which slots, until one says so, or it is too late for what was
    /// begun at `begin`. One that knows of nobody has left the cluster.
    fn learn(&self, begin: Instant) -> Result<(), RedisError> {
        let mut asked: BTreeSet<Address> =
            self.lock().ranges.iter().map(|(_, _, address)| address.clone()).collect();
        asked.extend(self.seeds.iter().cloned());
        let mut failure = RedisError::Nobody("no server of the cluster says who has which slots".into());
        for address in &asked {
            if is_too_late(begin, &self.login) {
                break;
            }
            let server = self.at(address);
            let ranges = server
                .run(&[b"CLUSTER", b"SLOTS"])
                .and_then(|reply| ranges(&reply, server.host()).ok_or_else(|| server.wrong_kind()));
            match ranges {
                Ok(ranges) if ranges.is_empty() => {}
                Ok(ranges) => {
                    let mut state = self.lock();
                    state.ranges = ranges;
                    let State { ranges, connections } = &mut *state;
                    connections.retain(|address, _| ranges.iter().any(|(_, _, of)| of == address));
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has which slots by the answer of a server at `host`; an empty or unknown host means the same.
fn ranges(reply: &Reply, host: &str) -> Option<Vec<(u16, u16, Address)>> {
    let Reply::List(entries) = reply else { return None };
    let range = |entry: &Reply| {
        let Reply::List(fields) = entry else { return None };
        let [Reply::Number(first), Reply::Number(last), Reply::List(master), ..] = &fields[..] else {
            return None;
        };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        let [named, Reply::Number(port), ..] = &master[..] else { return None };
        let named = named.text().filter(|named| !matches!(*named, "" | "?")).unwrap_or(host);
        (last < SLOTS).then_some((first, last, (named.to_owned(), u16::try_from(*port).ok()?)))
    };
    entries.iter().map(range).collect()
}

fn redirect(said: &str, host: &str) -> Option<Redirect> {
    let address = |said: &str| {
        let (named, port) = split_host_port(said.split(' ').nth(2)?).ok()?;
        let named = if named.is_empty() { host } else { named };
        Some((named.to_owned(), port.parse().ok()?))
    };
    match said {
        said if is_code(said, "MOVED") => address(said).map(Redirect::Moved),
        said if is_code(said, "ASK") => address(said).map(Redirect::Ask),
        _ => None,
    }
}

/// The slot of a key: that of what stands between its first braces, if something does, or of all of it.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, by which Redis makes slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;
    use crate::modules::storage::redis::resp;

    /// A server that answers commands by their first word.
    fn server(answer: impl Fn(&str, &Address) -> String + Clone + Send + 'static) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        let own = address.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, own) = (answer.clone(), own.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while let Ok(Reply::List(words)) = resp::receive(&mut stream) {
                        let said = answer(words[0].text().unwrap_or_default(), &own);
                        let _ = stream.get_mut().write_all(said.as_bytes());
                    }
                });
            }
        });
        address
    }

    fn cluster(seeds: Vec<Address>) -> Cluster {
        let login = Login {
            username: String::new(),
            password: Secret::default(),
            database: 0,
            timeout: Duration::from_secs(1),
            tls: None,
        };
        Cluster::new(seeds, Arc::new(login))
    }

    /// All slots are one server's.
    fn all_at((host, port): &Address) -> String {
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n${}\r\n{host}\r\n:{port}\r\n", host.len())
    }

    #[test]
    fn a_server_that_has_left_is_passed_over() {
        let left = server(|word, _| if word == "CLUSTER" { "*0\r\n" } else { "-ERR no\r\n" }.into());
        let other = server(|word, own| if word == "CLUSTER" { all_at(own) } else { ":7\r\n".into() });
        for seeds in [[left.clone(), other.clone()], [other, left.clone()]] {
            assert_eq!(cluster(seeds.into()).run("a", &[b"GET", b"a"]).unwrap(), Reply::Number(7));
        }
        let begin = Instant::now();
        assert!(matches!(cluster(vec![left]).run("a", &[b"GET", b"a"]), Err(RedisError::Nobody(_))));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn where_a_slot_has_moved_is_believed_before_a_map_that_is_behind() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let other = server(|_, _| ":7\r\n".into());
        let moved = format!("-MOVED {} {}:{}\r\n", slot(b"a"), other.0, other.1);
        let behind = server(move |word, own| {
            if word == "CLUSTER" {
                return all_at(own);
            }
            ASKED.fetch_add(1, Relaxed);
            moved.clone()
        });
        let cluster = cluster(vec![behind]);
        for _ in 0..3 {
            assert_eq!(cluster.run("a", &[b"GET", b"a"]).unwrap(), Reply::Number(7));
        }
        assert_eq!(ASKED.load(Relaxed), 1);
    }

    #[test]
    fn keys_have_redis_slots() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // Asked of `redis-cli CLUSTER KEYSLOT`.
        for (key, expected) in
            [("", 0), ("foo", 12182), ("caddy", 14227), ("{foo}x", 12182), ("x{foo}", 12182), ("{}foo", 9500)]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn servers_tell_who_has_what() {
        let text = |text: &str| Reply::Value(Some(text.into()));
        let server = |host, port| Reply::List(vec![host, Reply::Number(port), text("id")]);
        let entry = |first, last, server| {
            Reply::List(vec![Reply::Number(first), Reply::Number(last), server, Reply::List(Vec::new())])
        };
        let said = Reply::List(vec![
            entry(0, 100, server(text("one.test"), 7000)),
            entry(101, 16383, server(Reply::Value(None), 7001)),
        ]);
        let expected =
            vec![(0, 100, ("one.test".to_owned(), 7000)), (101, 16383, ("asked.test".to_owned(), 7001))];
        assert_eq!(ranges(&said, "asked.test"), Some(expected));
        assert_eq!(ranges(&Reply::List(vec![entry(0, 16384, server(text("a"), 1))]), "a"), None);
        assert_eq!(ranges(&Reply::List(vec![text("x")]), "a"), None);
        assert_eq!(ranges(&Reply::Number(1), "a"), None);
    }

    #[test]
    fn servers_lead_elsewhere() {
        let led = |said: &str| match redirect(said, "asked.test") {
            Some(Redirect::Moved((host, port))) => format!("moved {host} {port}"),
            Some(Redirect::Ask((host, port))) => format!("ask {host} {port}"),
            None => String::new(),
        };
        assert_eq!(led("MOVED 3999 127.0.0.1:6381"), "moved 127.0.0.1 6381");
        assert_eq!(led("ASK 3999 [::1]:6381"), "ask ::1 6381");
        assert_eq!(led("MOVED 3999 :6381"), "moved asked.test 6381");
        for other in ["MOVED", "MOVED 1", "MOVED 1 x", "MOVEDX 1 a:1", "ERR no"] {
            assert_eq!(led(other), "", "{other}");
        }
    }
}
