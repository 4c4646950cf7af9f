//! `storage redis` on several servers: a cluster of three, and a master with a replica and a sentinel.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use tollgate::tls::{SharedStorage, TlsError};

use crate::redis::open;
use crate::support::{eventually, free_port, program_of_ci};

const PASSWORD: &str = "s3cret";

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    password: &'static str,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// Nothing where there is none.
    fn start(folder: &Path, password: &'static str, options: &[&str]) -> Option<Self> {
        let port = free_port();
        let child = Command::new(program_of_ci("redis-server")?)
            .args(options)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, password };
        eventually("Redis answers", || (server.client(&["PING"]) == "PONG").then_some(()));
        Some(server)
    }

    fn stop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What Redis's own client shows of a command.
    fn client(&self, command: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string()]);
        if !self.password.is_empty() {
            client.args(["--no-auth-warning", "-a", self.password]);
        }
        let output = client.args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

/// Three servers, each with a third of the slots.
fn cluster(folder: &Path) -> Option<Vec<Server>> {
    let mut servers = Vec::new();
    for (nth, slots) in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]].iter().enumerate() {
        let (bus, file) = (free_port().to_string(), format!("nodes-{nth}.conf"));
        let options = ["--save", "", "--cluster-enabled", "yes", "--cluster-config-file", &file];
        let options = [&options[..], &["--cluster-port", &bus]].concat();
        let server = Server::start(folder, "", &options)?;
        assert_eq!(server.client(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]), "OK");
        if let Some(first) = servers.first() {
            let first: &Server = first;
            let met = first.client(&["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), &bus]);
            assert_eq!(met, "OK");
        }
        servers.push(server);
    }
    for server in &servers {
        eventually("the cluster stands", || {
            let slots = server.client(&["CLUSTER", "INFO"]);
            (slots.contains("cluster_state:ok") && slots.contains("cluster_known_nodes:3")).then_some(())
        });
    }
    Some(servers)
}

fn in_cluster(servers: &[Server], fields: Value) -> Result<SharedStorage, TlsError> {
    let mut fields = fields;
    fields["module"] = "redis".into();
    fields["client_type"] = "cluster".into();
    fields["address"] = json!([servers[0].address()]);
    open(fields)
}

#[test]
fn a_cluster_has_values_folders_and_locks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(servers) = cluster(folder.path()) else { return };
    let storage = in_cluster(&servers, json!({})).unwrap();
    let keys: Vec<String> = (0..20).map(|n| format!("certificates/le/{n:02}.test/{n:02}.test.crt")).collect();
    for key in &keys {
        storage.store(key, b"one").unwrap();
        storage.store(key, key.as_bytes()).unwrap();
    }
    assert_eq!(storage.keys("").unwrap(), keys);
    assert!(keys.iter().all(|key| storage.load(key).unwrap() == key.as_bytes()));
    assert!(storage.modified(&keys[0]).unwrap().is_some());
    assert_eq!(storage.load_if_there("certificates").unwrap(), None);
    let sizes: Vec<String> = servers.iter().map(|server| server.client(&["DBSIZE"])).collect();
    assert!(!sizes.contains(&"0".to_owned()), "all have a part: {sizes:?}");
    // Another that knows other servers finds the same, in the plugin's layout.
    let plain = open(json!({"module": "redis", "address": [servers[1].address(), servers[2].address()]}));
    assert_eq!(plain.unwrap().load(&keys[7]).unwrap(), keys[7].as_bytes());
    let listed = servers[0].client(&["-c", "ZRANGE", "caddy/certificates/le/03.test", "0", "-1"]);
    assert_eq!(listed, "03.test.crt");

    storage.delete(&keys[0]).unwrap();
    assert_eq!(storage.keys("").unwrap(), keys[1..]);
    let lock = storage.try_lock("a").unwrap().unwrap();
    assert!(storage.try_lock("a").unwrap().is_none());
    drop(lock);
    storage.try_lock("a").unwrap().unwrap().refresh().unwrap();
    storage.delete("certificates").unwrap();
    let sizes: Vec<String> = servers.iter().map(|server| server.client(&["DBSIZE"])).collect();
    assert_eq!(sizes, ["0", "0", "0"], "no folder is left");
    assert!(in_cluster(&servers, json!({"password": "wrong"})).is_err());
}

#[test]
fn what_is_stored_in_a_cluster_is_listed_whoever_removes_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let Some(servers) = cluster(folder.path()) else { return };
    let (one, other) = (in_cluster(&servers, json!({})).unwrap(), in_cluster(&servers, json!({})).unwrap());
    for round in 0..30 {
        let (kept, gone) = (format!("a/{round}/b/kept"), format!("a/{round}/b/gone"));
        one.store(&gone, b"x").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| one.delete(&gone).unwrap());
            scope.spawn(|| other.store(&kept, b"x").unwrap());
        });
        assert_eq!(one.keys("").unwrap(), [kept.as_str()], "round {round}");
        one.delete(&kept).unwrap();
    }
}

#[test]
fn slots_of_a_cluster_may_move() {
    let folder = tempfile::tempdir().unwrap();
    let Some(servers) = cluster(folder.path()) else { return };
    let storage = in_cluster(&servers, json!({})).unwrap();
    let slot = servers[0].client(&["CLUSTER", "KEYSLOT", "caddy/moved"]);
    let from = usize::from(slot.parse::<u16>().unwrap()) * 3 / 16384;
    let to = (from + 1) % 3;
    let ids: Vec<String> = servers.iter().map(|server| server.client(&["CLUSTER", "MYID"])).collect();
    let set = |server: usize, how: &str, of: usize| {
        assert_eq!(servers[server].client(&["CLUSTER", "SETSLOT", &slot, how, &ids[of]]), "OK");
    };
    set(to, "IMPORTING", from);
    set(from, "MIGRATING", to);
    // It is on its way: the old server leads to the new one, for this command.
    storage.store("moved", b"one").unwrap();
    assert_eq!(storage.load("moved").unwrap(), b"one");
    for server in [to, from, 3 - from - to] {
        set(server, "NODE", to);
    }
    // It is there: the old server leads to the new one from now on.
    storage.store("moved", b"two").unwrap();
    assert_eq!(storage.load("moved").unwrap(), b"two");
    assert_eq!(servers[to].client(&["EXISTS", "caddy/moved"]), "1");
    storage.delete("moved").unwrap();
    assert!(storage.keys("").unwrap().is_empty());
}

#[test]
fn a_replica_takes_over_from_a_master_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let plain = ["--save", "", "--requirepass", PASSWORD, "--masterauth", PASSWORD];
    let Some(mut master) = Server::start(folder.path(), PASSWORD, &plain) else { return };
    let port = master.port.to_string();
    let of_master = [&plain[..], &["--replicaof", "127.0.0.1", &port]].concat();
    let replica = Server::start(folder.path(), PASSWORD, &of_master).unwrap();
    eventually("the replica follows", || {
        replica.client(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    let file = folder.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor m 127.0.0.1 {port} 1\nsentinel auth-pass m {PASSWORD}\n\
         sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 2000\nrequirepass 0ther\n"
    );
    fs::write(&file, text).unwrap();
    let options = [file.to_str().unwrap(), "--sentinel"];
    let sentinel = Server::start(folder.path(), "0ther", &options).unwrap();
    // It has to know the replica, to make it the master.
    eventually("the sentinel knows both", || {
        sentinel.client(&["SENTINEL", "REPLICAS", "m"]).contains(&replica.port.to_string()).then_some(())
    });
    let try_open = |name: &str, sentinel_password: &str| {
        let gone = format!("127.0.0.1:{}", free_port());
        open(json!({
            "module": "redis", "client_type": "failover", "address": [gone, sentinel.address()], "timeout": "1",
            "master_name": name, "password": PASSWORD, "sentinel_password": sentinel_password,
        }))
    };
    let storage = try_open("m", "0ther").unwrap();
    storage.store("a", b"one").unwrap();
    assert_eq!(master.client(&["EXISTS", "caddy/a"]), "1");
    assert_eq!(master.client(&["WAIT", "1", "5000"]), "1");
    let lock = storage.try_lock("l").unwrap();
    let error = try_open("other", "0ther").unwrap_err().to_string();
    assert!(error.contains("no sentinel knows a master 'other'"), "{error}");
    let error = try_open("m", "wr0ng").unwrap_err().to_string();
    assert!(error.contains("WRONGPASS to AUTH") && !error.contains("wr0ng"), "{error}");

    master.stop();
    eventually("the replica is the master", || storage.store("a", b"two").ok());
    assert_eq!(storage.load("a").unwrap(), b"two");
    assert_eq!(storage.keys("").unwrap(), ["a"]);
    assert_eq!(replica.client(&["EXISTS", "caddy/a"]), "1");
    drop(lock);
}
