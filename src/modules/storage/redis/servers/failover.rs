//! A master and its replicas, watched by sentinels, who say which one is the master
//! (<https://redis.io/docs/latest/develop/reference/sentinel-clients/>).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::connection::{Connections, Login, RedisError};
use super::{Address, Reply, may_try_again, passes};

/// Whoever is the master at the time.
#[derive(Debug)]
pub(crate) struct Failover {
    sentinels: Vec<Connections>,
    name: String,
    login: Arc<Login>,
    /// The one that was it last.
    master: Mutex<Option<Arc<Connections>>>,
}

impl Failover {
    /// The master that sentinels at these addresses know by a name; they and it let us in differently.
    pub(super) fn new(
        addresses: Vec<Address>,
        sentinels: Arc<Login>,
        name: String,
        login: Arc<Login>,
    ) -> Self {
        let sentinel = |address| Connections::new(address, sentinels.clone());
        Self {
            sentinels: addresses.into_iter().map(sentinel).collect(),
            name,
            login,
            master: Mutex::default(),
        }
    }

    pub(super) fn run(&self, command: &[&[u8]]) -> Result<Reply, RedisError> {
        let begin = Instant::now();
        loop {
            let master = self.master();
            let done = master.as_ref().map_err(RedisError::clone).and_then(|master| master.run(command));
            match done {
                // It may not be it any more.
                Err(error) if passes(&error) || matches!(error, RedisError::Nobody(_)) => {
                    *self.master.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    if !may_try_again(begin, &self.login) {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    fn master(&self) -> Result<Arc<Connections>, RedisError> {
        let known = self.master.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = Arc::new(self.ask()?);
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Asks one sentinel after the other, until one names a server that says so too.
    fn ask(&self) -> Result<Connections, RedisError> {
        let nobody = || RedisError::Nobody(format!("no sentinel knows a master '{}'", self.name));
        let mut failure = nobody();
        for sentinel in &self.sentinels {
            match self.named_by(sentinel) {
                Ok(Some(master)) => return Ok(master),
                Ok(None) => failure = nobody(),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn named_by(&self, sentinel: &Connections) -> Result<Option<Connections>, RedisError> {
        let asked = [b"SENTINEL", &b"get-master-addr-by-name"[..], self.name.as_bytes()];
        let Reply::List(named) = sentinel.run(&asked)? else { return Err(sentinel.wrong_kind()) };
        let texts: Vec<&str> = named.iter().filter_map(Reply::text).collect();
        let (host, port) = match texts[..] {
            [] => return Ok(None),
            [host, port] => (host.to_owned(), port.parse().map_err(|_| sentinel.wrong_kind())?),
            _ => return Err(sentinel.wrong_kind()),
        };
        let master = Connections::new((host, port), self.login.clone());
        // Sentinels learn of a change a moment later than the servers do.
        match master.run(&[b"ROLE"])? {
            Reply::List(role) if role.first().and_then(Reply::text) == Some("master") => Ok(Some(master)),
            Reply::List(_) => Ok(None),
            _ => Err(master.wrong_kind()),
        }
    }
}
