//! The storage on a server, in the plugin's layout. A value stands under the prefix and its key. Each
//! folder of keys is a sorted set under its own path, of the names in it, those of folders with a slash
//! behind them; so all keys can be listed without looking at those of others.
//!
//! One server does what belongs together at once. Those of a cluster can't, so there each step is such that,
//! whoever comes in between, what is stored is listed in the end: what is stored is listed from below, and what
//! is removed from a list is put back, with all above it, if it is there nevertheless.

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::options::Options;
use super::resp::Reply;
use super::servers::{RedisError, Servers};
use super::value::{self, Format, ValueError};
use crate::config::ModuleJson;
use crate::tls::{Lock, SharedStorage, Storage, TlsError};

/// A lock that has not been refreshed for this time is free: three times the interval in which it is
/// refreshed, since its server may be slow. Others that wait for it don't need to know.
const LOCK_TTL: Duration = Duration::from_secs(15);
/// A storage that has more keys is not listed.
const KEYS_MAX: usize = 1_000_000;

/// Stores the value `ARGV[1]` under `KEYS[1]`, and its name in its folder, `KEYS[2]`; a folder that is new in
/// the one above it, and so on. At once, so that nobody removes a folder in between. `ARGV[2]` is the
/// time, and the names follow it.
const STORE: &str = "
for i = 2, #KEYS do
	if redis.call('ZADD', KEYS[i], ARGV[2], ARGV[i + 1]) == 0 then break end
end
return redis.call('SET', KEYS[1], ARGV[1])";

/// Removes `KEYS[1]`, and its name from its folder, `KEYS[2]`; a folder that is empty then from the one
/// above it, and so on. ARGV has the names.
const DELETE: &str = "
for i = 2, #KEYS do
	redis.call('ZREM', KEYS[i], ARGV[i - 1])
	if redis.call('EXISTS', KEYS[i]) == 1 then break end
end
return redis.call('DEL', KEYS[1])";

/// Keeps the lock `KEYS[1]` for `ARGV[2]` milliseconds more, if it is ours.
const REFRESH: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Gives the lock `KEYS[1]` back, if it is ours.
const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])";

#[derive(Debug)]
struct RedisStorage {
    servers: Arc<Servers>,
    format: Format,
    prefix: String,
}

/// Opens the storage that a module's JSON describes, if the server is there and lets us in.
pub(super) fn open(json: &ModuleJson) -> Result<SharedStorage, TlsError> {
    let options = Options::read(json)?;
    let failed = |error: RedisError| TlsError::Invalid(format!("caddy.storage.redis: {error}"));
    let servers = Arc::new(Servers::open(&options).map_err(failed)?);
    let Options { format, prefix, .. } = options;
    Ok(Arc::new(RedisStorage { servers, format, prefix }))
}

fn failed(key: &str, error: RedisError) -> TlsError {
    TlsError::Storage { key: key.to_owned(), problem: error.to_string() }
}

/// The error that an answer is of another kind than the command's are.
fn wrong_kind(key: &str) -> TlsError {
    let problem = "Redis: an answer of another kind than was asked for".to_owned();
    TlsError::Storage { key: key.to_owned(), problem }
}

fn unreadable(key: &str, error: ValueError) -> TlsError {
    TlsError::Storage { key: key.to_owned(), problem: error.to_string() }
}

/// Only what goes down counts, so that no key leaves its prefix.
fn clean(key: &str) -> String {
    let parts = Path::new(key).components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Two paths as one; either may be empty.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() || name.is_empty() { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// The folders of a key from the nearest to the highest, each with the name that it has for what is
/// below it.
fn folders(path: &str) -> Vec<(&str, String)> {
    let mut folders = Vec::new();
    let mut rest = path;
    let mut mark = "";
    while let Some((folder, name)) = rest.rsplit_once('/') {
        folders.push((folder, format!("{name}{mark}")));
        (rest, mark) = (folder, "/");
    }
    folders
}

impl RedisStorage {
    fn path(&self, key: &str) -> String {
        join(&self.prefix, &clean(key))
    }

    /// What is stored, as it is.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TlsError> {
        let path = self.path(key);
        match self.servers.run(&path, &[b"GET", path.as_bytes()]) {
            Ok(Reply::Value(value)) => Ok(value),
            Ok(_) => Err(wrong_kind(key)),
            // A folder is no value.
            Err(RedisError::Said(_, said)) if said.starts_with("WRONGTYPE") => Ok(None),
            Err(error) => Err(failed(key, error)),
        }
    }

    /// The names in a folder.
    fn names(&self, folder: &str) -> Result<Vec<Vec<u8>>, TlsError> {
        let path = self.path(folder);
        match self.servers.run(&path, &[b"ZRANGE", path.as_bytes(), b"0", b"-1"]) {
            Ok(Reply::List(names)) => {
                let name = |name| if let Reply::Value(name) = name { name } else { None };
                Ok(names.into_iter().filter_map(name).collect())
            }
            Ok(_) => Err(wrong_kind(folder)),
            Err(RedisError::Said(_, said)) if said.starts_with("WRONGTYPE") => Ok(Vec::new()),
            Err(error) => Err(failed(folder, error)),
        }
    }

    /// Removes one value.
    fn remove(&self, key: &str) -> Result<(), TlsError> {
        let path = self.path(key);
        let folders = folders(&path);
        if self.servers.divide_keys() {
            return self.remove_in_steps(&path, &folders).map_err(|error| failed(key, error));
        }
        let keys: Vec<&str> =
            std::iter::once(&*path).chain(folders.iter().map(|(folder, _)| *folder)).collect();
        let names: Vec<&[u8]> = folders.iter().map(|(_, name)| name.as_bytes()).collect();
        script(&self.servers, DELETE, &keys, &names).map_err(|error| failed(key, error))?;
        Ok(())
    }

    /// What [`STORE`] does, where it can't be done at once.
    fn store_in_steps(
        &self,
        path: &str,
        stored: &[u8],
        folders: &[(&str, String)],
        time: &str,
    ) -> Result<(), RedisError> {
        self.servers.run(path, &[b"SET", path.as_bytes(), stored])?;
        // All of them, also those that are there: somebody may be about to remove them.
        for (folder, name) in folders {
            self.list(folder, name, time)?;
        }
        Ok(())
    }

    /// What [`DELETE`] does, where it can't be done at once.
    fn remove_in_steps(&self, path: &str, folders: &[(&str, String)]) -> Result<(), RedisError> {
        self.servers.run(path, &[b"DEL", path.as_bytes()])?;
        let mut below = path;
        for (at, (folder, name)) in folders.iter().enumerate() {
            if self.exists(below)? {
                break;
            }
            self.servers.run(folder, &[b"ZREM", folder.as_bytes(), name.as_bytes()])?;
            if self.exists(below)? {
                // Somebody has stored something there in between, and may have listed it before it was removed; who
                // removes elsewhere may have taken this folder for empty meanwhile.
                let time = Timestamp::now().as_second().to_string();
                for (folder, name) in &folders[at..] {
                    self.list(folder, name, &time)?;
                }
                break;
            }
            below = folder;
        }
        Ok(())
    }

    fn list(&self, folder: &str, name: &str, time: &str) -> Result<Reply, RedisError> {
        self.servers.run(folder, &[b"ZADD", folder.as_bytes(), time.as_bytes(), name.as_bytes()])
    }

    fn exists(&self, path: &str) -> Result<bool, RedisError> {
        Ok(self.servers.run(path, &[b"EXISTS", path.as_bytes()])? != Reply::Number(0))
    }
}

fn script(servers: &Servers, text: &str, keys: &[&str], args: &[&[u8]]) -> Result<Reply, RedisError> {
    let count = keys.len().to_string();
    let mut command: Vec<&[u8]> = vec![b"EVAL", text.as_bytes(), count.as_bytes()];
    command.extend(keys.iter().map(|key| key.as_bytes()));
    command.extend(args);
    servers.run(keys.first().copied().unwrap_or_default(), &command)
}

impl Storage for RedisStorage {
    fn load_if_there(&self, key: &str) -> Result<Option<Vec<u8>>, TlsError> {
        let stored = self.get(key)?;
        stored.map(|stored| self.format.decode(&stored)).transpose().map_err(|error| unreadable(key, error))
    }

    fn store(&self, key: &str, value: &[u8]) -> Result<(), TlsError> {
        let now = Timestamp::now();
        let stored = self.format.encode(value, now).map_err(|error| unreadable(key, error))?;
        let path = self.path(key);
        let folders = folders(&path);
        let time = now.as_second().to_string();
        if self.servers.divide_keys() {
            let done = self.store_in_steps(&path, &stored, &folders, &time);
            return done.map_err(|error| failed(key, error));
        }
        let keys: Vec<&str> =
            std::iter::once(&*path).chain(folders.iter().map(|(folder, _)| *folder)).collect();
        let names = folders.iter().map(|(_, name)| name.as_bytes());
        let args: Vec<&[u8]> = [&*stored, time.as_bytes()].into_iter().chain(names).collect();
        script(&self.servers, STORE, &keys, &args).map_err(|error| failed(key, error))?;
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), TlsError> {
        if clean(key).is_empty() {
            return Err(TlsError::Storage {
                key: key.to_owned(),
                problem: "this is the whole storage".into(),
            });
        }
        for below in self.keys(key)? {
            self.remove(&below)?;
        }
        self.remove(key)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, TlsError> {
        let mut keys = Vec::new();
        let mut waiting = vec![clean(prefix)];
        let mut seen = 0;
        while let Some(folder) = waiting.pop() {
            for name in self.names(&folder)? {
                seen += 1;
                if seen > KEYS_MAX {
                    let problem = format!("more than {KEYS_MAX} keys");
                    return Err(TlsError::Storage { key: prefix.to_owned(), problem });
                }
                // What is no text, or leads elsewhere, is not by us.
                let Ok(name) = String::from_utf8(name) else { continue };
                let (name, is_folder) = name.strip_suffix('/').map_or((&*name, false), |name| (name, true));
                if clean(name) != name || name.is_empty() || name.contains('/') {
                    continue;
                }
                let key = join(&folder, name);
                if is_folder { waiting.push(key) } else { keys.push(key) }
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn modified(&self, key: &str) -> Result<Option<SystemTime>, TlsError> {
        let Some(stored) = self.get(key)? else { return Ok(None) };
        value::modified(&stored).map_err(|error| unreadable(key, error))
    }

    fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, TlsError> {
        let path = self.path(&join("locks", name));
        let mut random = [0; 16];
        let unlucky =
            |error: getrandom::Error| TlsError::Storage { key: name.to_owned(), problem: error.to_string() };
        getrandom::fill(&mut random).map_err(unlucky)?;
        let token = format!("{:032x}", u128::from_ne_bytes(random));
        let ttl = LOCK_TTL.as_millis().to_string();
        // If its answer is lost, the lock is nobody's until it expires.
        let set = [b"SET", path.as_bytes(), token.as_bytes(), b"NX", b"PX", ttl.as_bytes()];
        match self.servers.run(&path, &set).map_err(|error| failed(name, error))? {
            Reply::Status(_) => Ok(Some(Box::new(RedisLock { servers: self.servers.clone(), path, token }))),
            Reply::Value(None) => Ok(None),
            _ => Err(wrong_kind(name)),
        }
    }
}

/// A lock that is ours as long as its token stands under its path.
#[derive(Debug)]
struct RedisLock {
    servers: Arc<Servers>,
    path: String,
    token: String,
}

impl Lock for RedisLock {
    fn refresh(&mut self) -> Result<(), TlsError> {
        let ttl = LOCK_TTL.as_millis().to_string();
        let refreshed =
            script(&self.servers, REFRESH, &[&self.path], &[self.token.as_bytes(), ttl.as_bytes()]);
        match refreshed.map_err(|error| failed(&self.path, error))? {
            Reply::Number(1) => Ok(()),
            _ => Err(TlsError::Storage { key: self.path.clone(), problem: "the lock is lost".into() }),
        }
    }
}

impl Drop for RedisLock {
    fn drop(&mut self) {
        // A lock that stays expires in a while.
        _ = script(&self.servers, RELEASE, &[&self.path], &[self.token.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_down_only_and_have_folders() {
        assert_eq!(clean("a//b/./c"), "a/b/c");
        assert_eq!(clean("../../a"), "a");
        assert_eq!((join("", "a"), join("a", ""), join("a", "b")), ("a".into(), "a".into(), "a/b".into()));
        let expected = [("caddy/a", "b.crt".to_owned()), ("caddy", "a/".to_owned())];
        assert_eq!(folders("caddy/a/b.crt"), expected);
        assert!(folders("a").is_empty());
    }
}
