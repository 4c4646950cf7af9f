//! How much of what there is for all one client's address may have. Accounts cost nothing; addresses do.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// So many authorizations one address may have at a time.
const AUTHORIZATIONS_MAX: usize = 5_000;
/// So many accounts one address may make in [`WINDOW`].
const ACCOUNTS_MAX: u32 = 200;
/// Seconds.
const WINDOW: i64 = 60 * 60;
/// So many addresses are remembered that have made accounts lately.
const REMEMBERED_MAX: usize = 10_000;

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

/// What orders of each owner there are.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<IpAddr, Share>);

#[derive(Debug, Default)]
struct Share {
    authorizations: usize,
    /// The oldest first.
    orders: VecDeque<String>,
}

impl Shares {
    /// Whether there is room for so many authorizations more.
    pub(super) fn has_room(&self, owner: IpAddr, wanted: usize) -> bool {
        self.0.get(&owner).map_or(0, |share| share.authorizations) + wanted <= AUTHORIZATIONS_MAX
    }

    pub(super) fn add(&mut self, owner: IpAddr, order: &str, authorizations: usize) {
        let share = self.0.entry(owner).or_default();
        share.authorizations += authorizations;
        share.orders.push_back(order.to_owned());
    }

    pub(super) fn remove(&mut self, owner: IpAddr, order: &str, authorizations: usize) {
        let Some(share) = self.0.get_mut(&owner) else { return };
        share.authorizations = share.authorizations.saturating_sub(authorizations);
        share.orders.retain(|id| id != order);
        if share.orders.is_empty() {
            self.0.remove(&owner);
        }
    }

    /// The oldest order of whoever has most.
    pub(super) fn oldest_of_greediest(&self) -> Option<String> {
        let greediest = self.0.values().max_by_key(|share| share.authorizations)?;
        greediest.orders.front().cloned()
    }
}

/// How many accounts each owner has made lately.
#[derive(Debug, Default)]
pub(super) struct Newcomers(HashMap<IpAddr, (u32, i64)>);

impl Newcomers {
    /// Whether an owner may make one account more at `now`.
    pub(super) fn admit(&mut self, owner: IpAddr, now: i64) -> bool {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&owner) {
            self.0.retain(|_, (_, since)| now < *since + WINDOW);
        }
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&owner) {
            return false;
        }
        let (count, since) = self.0.entry(owner).or_insert((0, now));
        if now >= *since + WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= ACCOUNTS_MAX
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
        let many = (0..u32::try_from(REMEMBERED_MAX).unwrap() * 2)
            .filter(|n| newcomers.admit(owner(Some(std::net::Ipv4Addr::from_bits(*n).into())), 10));
        assert!(many.count() <= REMEMBERED_MAX);
        assert!(newcomers.0.len() <= REMEMBERED_MAX);
    }
}
