//! What the system says of looking up names: `/etc/resolv.conf` and `/etc/hosts`.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};

/// So much of either file is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// So many servers and search domains count.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// What `/etc/resolv.conf` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) servers: Vec<IpAddr>,
    pub(super) search: Vec<String>,
    pub(super) dots: usize,
}

/// The text of `/etc/resolv.conf`; none if it can't be read.
pub(super) fn read() -> String {
    read_file("/etc/resolv.conf")
}

fn read_file(path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        // What can't be read says nothing.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads the text of a `resolv.conf`.
pub(super) fn settings(text: &str) -> Settings {
    let mut settings = Settings { servers: Vec::new(), search: Vec::new(), dots: 1 };
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if settings.servers.len() < SERVERS_MAX => {
                settings.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
            }
            Some("domain") => settings.search = words.take(1).map(str::to_owned).collect(),
            Some("search") => {
                settings.search =
                    words.filter(|word| *word != ".").take(SEARCH_MAX).map(str::to_owned).collect();
            }
            Some("options") => {
                let dots =
                    words.filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok()).next_back();
                settings.dots = dots.map_or(settings.dots, |dots| dots.min(15));
            }
            _ => {}
        }
    }
    if settings.servers.is_empty() {
        settings.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    settings
}

/// The addresses of a name in `/etc/hosts`. It reads a file, so it must not run on a worker.
pub(super) fn hosts(name: &str) -> Vec<IpAddr> {
    hosts_in(&read_file("/etc/hosts"), name)
}

fn hosts_in(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read() {
        let text = "# comment\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n\
                    search a.test b.test\noptions rotate ndots:5 timeout:1\n";
        let expected = Settings {
            servers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            search: vec!["a.test".into(), "b.test".into()],
            dots: 5,
        };
        assert_eq!(settings(text), expected);
        let none = settings("");
        assert_eq!((none.servers, none.dots), (vec![Ipv4Addr::LOCALHOST.into()], 1));
    }

    #[test]
    fn hosts_are_found_by_each_of_their_names() {
        let text = "192.0.2.1 a.test a # b\n192.0.2.2\tB.test\n::1 a.test\nx a.test\n192.0.2.1 a\n";
        let found = |name| hosts_in(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("A.TEST"), ["192.0.2.1", "::1"]);
        assert_eq!(found("b.test"), ["192.0.2.2"]);
        assert_eq!(found("b"), [""; 0]);
    }
}
