//! How much of what there is for all one client's address may have. Accounts cost nothing; addresses do.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// So many authorizations one address may have at a time.
const AUTHORIZATIONS_MAX: usize = 5_000;
/// And so many a network.
const NETWORK_AUTHORIZATIONS_MAX: usize = 10_000;
/// So many accounts one address may make in [`WINDOW`].
const ACCOUNTS_MAX: u32 = 200;
/// And so many a network.
const NETWORK_ACCOUNTS_MAX: u32 = 1_000;
/// Seconds.
const WINDOW: i64 = 60 * 60;
/// So many networks are remembered that have made accounts lately.
const NETWORKS_MAX: usize = 10_000;
/// And so many addresses, of which no network can take more than [`NETWORK_ACCOUNTS_MAX`].
const REMEMBERED_MAX: usize = 50_000;

/// Whom a share belongs to: an address, or of IPv6 the network that one customer gets.
pub(super) fn owner(client: Option<IpAddr>) -> IpAddr {
    match client.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        Some(ip) => ip,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The network that an owner is part of, as far as others may be its too for the asking: who has a site has many of
/// IPv6's addresses.
fn network(owner: IpAddr) -> IpAddr {
    match owner {
        IpAddr::V4(_) => owner,
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// What orders of each owner there are.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_owner: HashMap<IpAddr, Share>,
    /// How many authorizations each network has.
    by_network: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Share {
    authorizations: usize,
    /// The oldest first.
    orders: VecDeque<String>,
}

impl Shares {
    /// Whether there is room for so many authorizations more.
    pub(super) fn has_room(&self, owner: IpAddr, wanted: usize) -> bool {
        let own = self.by_owner.get(&owner).map_or(0, |share| share.authorizations);
        let all = self.by_network.get(&network(owner)).copied().unwrap_or_default();
        own + wanted <= AUTHORIZATIONS_MAX && all + wanted <= NETWORK_AUTHORIZATIONS_MAX
    }

    pub(super) fn add(&mut self, owner: IpAddr, order: &str, authorizations: usize) {
        *self.by_network.entry(network(owner)).or_default() += authorizations;
        let share = self.by_owner.entry(owner).or_default();
        share.authorizations += authorizations;
        share.orders.push_back(order.to_owned());
    }

    pub(super) fn remove(&mut self, owner: IpAddr, order: &str, authorizations: usize) {
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.authorizations = share.authorizations.saturating_sub(authorizations);
        share.orders.retain(|id| id != order);
        if share.orders.is_empty() {
            self.by_owner.remove(&owner);
        }
        let network = network(owner);
        if let Some(all) = self.by_network.get_mut(&network) {
            *all = all.saturating_sub(authorizations);
            if *all == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    /// The oldest order of whoever has most in the network that has most.
    pub(super) fn oldest_of_greediest(&self) -> Option<String> {
        let (greediest, _) = self.by_network.iter().max_by_key(|(_, authorizations)| **authorizations)?;
        let shares = self.by_owner.iter().filter(|(owner, _)| network(**owner) == *greediest);
        let (_, share) = shares.max_by_key(|(_, share)| share.authorizations)?;
        share.orders.front().cloned()
    }
}

/// How many accounts each owner and each network has made lately.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    owners: Counts,
    networks: Counts,
}

/// How many each has made, and since when that is counted.
#[derive(Debug, Default)]
struct Counts(HashMap<IpAddr, (u32, i64)>);

impl Newcomers {
    /// Whether an owner may make one account more at `now`.
    pub(super) fn admit(&mut self, owner: IpAddr, now: i64) -> bool {
        // The network before the owner, so that it can't fill the table of owners; but one of them who asks too often
        // does not take from the others.
        self.owners.may(owner, ACCOUNTS_MAX, now)
            && self.networks.admit(network(owner), NETWORK_ACCOUNTS_MAX, NETWORKS_MAX, now)
            && self.owners.admit(owner, ACCOUNTS_MAX, REMEMBERED_MAX, now)
    }
}

impl Counts {
    /// Whether there may be one more, of so many.
    fn may(&self, of: IpAddr, most: u32, now: i64) -> bool {
        self.0.get(&of).is_none_or(|(count, since)| *count < most || now >= *since + WINDOW)
    }

    /// Counts one more, if there may be so many; and so many may be remembered.
    fn admit(&mut self, of: IpAddr, most: u32, remembered: usize, now: i64) -> bool {
        if self.0.len() >= remembered && !self.0.contains_key(&of) {
            self.0.retain(|_, (_, since)| now < *since + WINDOW);
        }
        if self.0.len() >= remembered && !self.0.contains_key(&of) {
            return false;
        }
        let (count, since) = self.0.entry(of).or_insert((0, now));
        if now >= *since + WINDOW {
            (*count, *since) = (0, now);
        }
        let may = *count < most;
        *count += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        owner(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_customer_is_one_owner() {
        assert_eq!(ip("2001:db8:1:2::3"), ip("2001:db8:1:2:ffff::"));
        assert_ne!(ip("2001:db8:1:2::3"), ip("2001:db8:1:3::3"));
        assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
        assert_eq!(owner(None), owner(None));
    }

    #[test]
    fn whoever_has_most_gives_first() {
        let mut shares = Shares::default();
        shares.add(ip("10.0.0.1"), "old", 1);
        shares.add(ip("10.0.0.2"), "first", 60);
        shares.add(ip("10.0.0.2"), "second", 60);
        assert_eq!(shares.oldest_of_greediest().as_deref(), Some("first"));
        assert!(shares.has_room(ip("10.0.0.2"), AUTHORIZATIONS_MAX - 120));
        assert!(!shares.has_room(ip("10.0.0.2"), AUTHORIZATIONS_MAX - 119));
        shares.remove(ip("10.0.0.2"), "first", 60);
        shares.remove(ip("10.0.0.2"), "second", 60);
        assert_eq!(shares.oldest_of_greediest().as_deref(), Some("old"));
    }

    #[test]
    fn accounts_of_one_owner_have_a_bound_that_passes() {
        let mut newcomers = Newcomers::default();
        assert!((0..ACCOUNTS_MAX).all(|_| newcomers.admit(ip("10.0.0.1"), 5)));
        assert!(!newcomers.admit(ip("10.0.0.1"), 5));
        assert!(newcomers.admit(ip("10.0.0.2"), 5));
        assert!(newcomers.admit(ip("10.0.0.1"), 5 + WINDOW));
        let many = (0..u32::try_from(NETWORKS_MAX).unwrap() * 2)
            .filter(|n| newcomers.admit(owner(Some(std::net::Ipv4Addr::from_bits(*n).into())), 10));
        assert!(many.count() <= NETWORKS_MAX);
        assert!(newcomers.networks.0.len() <= NETWORKS_MAX && newcomers.owners.0.len() <= NETWORKS_MAX);
    }

    #[test]
    fn a_network_with_many_addresses_leaves_room_for_others() {
        let within = |n: u16| owner(Some(Ipv6Addr::new(0x2001, 0xdb8, 1, n, 0, 0, 0, 1).into()));
        let mut newcomers = Newcomers::default();
        let admitted = (0..=u16::MAX).filter(|n| newcomers.admit(within(*n), 5)).count();
        assert_eq!(admitted, NETWORK_ACCOUNTS_MAX as usize);
        assert_eq!(newcomers.owners.0.len(), admitted);
        assert!(newcomers.admit(ip("2001:db8:2::1"), 5) && newcomers.admit(ip("10.0.0.1"), 5));
        assert!(newcomers.admit(within(1), 5 + WINDOW));
        // One who asks too often takes nothing from others of its network.
        let mut newcomers = Newcomers::default();
        let admitted = (0..NETWORK_ACCOUNTS_MAX * 2).filter(|_| newcomers.admit(within(1), 5)).count();
        assert!(admitted == ACCOUNTS_MAX as usize && newcomers.admit(within(2), 5));

        let mut shares = Shares::default();
        shares.add(ip("2001:db8:2::1"), "honest", 60);
        for n in 0..100 {
            assert!(shares.has_room(within(n), 1));
            shares.add(within(n), &n.to_string(), 1);
        }
        shares.add(within(7), "more", 2);
        assert_eq!(shares.oldest_of_greediest().as_deref(), Some("7"));
        (0..100).for_each(|n| shares.remove(within(n), &n.to_string(), 1));
        assert_eq!(shares.oldest_of_greediest().as_deref(), Some("honest"));
        // Together they have no more than so many.
        shares.add(within(1), "many", AUTHORIZATIONS_MAX);
        shares.add(within(2), "many too", NETWORK_AUTHORIZATIONS_MAX - AUTHORIZATIONS_MAX - 2);
        assert!(!shares.has_room(within(3), 1) && shares.has_room(ip("2001:db8:2::1"), 1));
    }
}
