//! Ranges of addresses that have a name.

/// `private_ranges`: addresses that only this machine and the network around it have.
pub const PRIVATE_RANGES: [&str; 6] =
    ["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"];
