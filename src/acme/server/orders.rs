//! Orders, what has to be shown for them, and how far they have come (RFC 8555 section 7.1.6).
//!
//! They live in memory for a day, and in bounded number: where there are too many, the oldest go.

mod documents;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use serde_json::Value;

use super::identifier::Identifier;
use super::links::Links;
use super::problem::{Kind, Problem};
use super::shares::Shares;

/// Seconds after which an order can't be used any more, as in Caddy.
const LIFETIME: i64 = 24 * 60 * 60;
/// So many authorizations there are at most, which are those of orders.
const AUTHORIZATIONS_MAX: usize = 50_000;
/// An account has at most so many orders that are not done.
const OPEN_MAX: usize = 300;
/// So often a challenge is looked at in vain before it is lost.
const LOOKS_MAX: u32 = 30;
/// So many challenges of one account are looked at at once.
const LOOKS_AT_ONCE_MAX: usize = 8;

/// How far something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Processing,
    Ready,
    Valid,
    Invalid,
    Deactivated,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Deactivated => "deactivated",
        }
    }
}

/// How it can be shown that a name is somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a record of the name's zone (RFC 8555 section 8.4).
    Dns,
    /// By a file at the name's port 80 (RFC 8555 section 8.3).
    Http,
    /// By a certificate at the name's port 443 (RFC 8737).
    TlsAlpn,
}

impl Way {
    /// All of them, in the order in which Caddy lists them.
    pub const ALL: [Self; 3] = [Self::Dns, Self::Http, Self::TlsAlpn];

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns-01",
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
        }
    }

    fn suits(self, identifier: &Identifier) -> bool {
        match self {
            Self::Dns => !identifier.is_ip(),
            Self::Http | Self::TlsAlpn => !identifier.is_wildcard(),
        }
    }
}

/// An order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: String,
    owner: IpAddr,
    account: String,
    pub(super) status: Status,
    expires: i64,
    pub(super) identifiers: Vec<Identifier>,
    /// Seconds since 1970, as that which follows.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    problem: Option<Problem>,
    authorizations: Vec<String>,
    /// The serial number of what came of it.
    certificate: Option<String>,
}

/// What has to be shown of one identifier.
#[derive(Clone, Debug)]
struct Authorization {
    id: String,
    account: String,
    /// Without wildcard.
    identifier: Identifier,
    is_wildcard: bool,
    status: Status,
    expires: i64,
    token: String,
    challenges: Vec<Challenge>,
}

/// One way in which it can be shown.
#[derive(Clone, Debug)]
struct Challenge {
    id: String,
    way: Way,
    status: Status,
    /// Seconds since 1970.
    validated: Option<i64>,
    problem: Option<Problem>,
    looks: u32,
}

/// What an account orders.
pub(super) struct Wish {
    pub(super) account: String,
    pub(super) owner: IpAddr,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// A challenge that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) authorization: String,
    pub(super) challenge: String,
    account: String,
    pub(super) way: Way,
    pub(super) identifier: Identifier,
    pub(super) token: String,
}

/// What came of looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Right,
    /// What was there is not what should be.
    Wrong(Problem),
    /// Nothing could be seen; it may be there another time.
    Nothing(Problem),
    /// Nobody waited for it.
    BrokeOff,
}

/// All orders of one authority.
#[derive(Debug, Default)]
pub(super) struct Orders {
    orders: HashMap<String, Order>,
    authorizations: HashMap<String, Authorization>,
    /// The oldest first.
    ids: VecDeque<String>,
    by_account: HashMap<String, Vec<String>>,
    shares: Shares,
    /// How many challenges of an account are being looked at.
    looking: HashMap<String, usize>,
}

impl Orders {
    pub(super) fn add(&mut self, wish: Wish, ways: &[Way], now: i64) -> Result<Order, Problem> {
        self.remove_ended(now);
        let open = self.open_of(&wish.account, now, &[Status::Pending, Status::Ready, Status::Processing]);
        if open.len() >= OPEN_MAX {
            return Err(Problem::new(Kind::RateLimited, "too many orders of this account are open"));
        }
        if !self.shares.has_room(wish.owner, wish.identifiers.len()) {
            return Err(Problem::new(Kind::RateLimited, "too many orders of this address are open"));
        }
        // Nobody's go for what is not to be.
        self.make_room(wish.identifiers.len());
        let expires = now + LIFETIME;
        let mut authorizations = Vec::with_capacity(wish.identifiers.len());
        for identifier in &wish.identifiers {
            let challenge = |way: &Way| {
                let id = random_id()?;
                Ok(Challenge {
                    id,
                    way: *way,
                    status: Status::Pending,
                    validated: None,
                    problem: None,
                    looks: 0,
                })
            };
            let suitable = ways.iter().filter(|way| way.suits(identifier));
            let authorization = Authorization {
                id: random_id()?,
                account: wish.account.clone(),
                identifier: identifier.shown(),
                is_wildcard: identifier.is_wildcard(),
                status: Status::Pending,
                expires,
                token: random_id()?,
                challenges: suitable.map(challenge).collect::<Result<_, Problem>>()?,
            };
            authorizations.push(authorization);
        }
        let order = Order {
            id: random_id()?,
            owner: wish.owner,
            account: wish.account,
            status: Status::Pending,
            expires,
            identifiers: wish.identifiers,
            not_before: wish.not_before,
            not_after: wish.not_after,
            problem: None,
            authorizations: authorizations.iter().map(|authorization| authorization.id.clone()).collect(),
            certificate: None,
        };
        self.authorizations.extend(
            authorizations.into_iter().map(|authorization| (authorization.id.clone(), authorization)),
        );
        self.shares.add(order.owner, &order.id, order.authorizations.len());
        self.ids.push_back(order.id.clone());
        self.by_account.entry(order.account.clone()).or_default().push(order.id.clone());
        self.orders.insert(order.id.clone(), order.clone());
        Ok(order)
    }

    fn remove_ended(&mut self, now: i64) {
        let has_ended = |id: &mut String| self.orders.get(id).is_none_or(|order| order.expires < now);
        let ended: Vec<String> = std::iter::from_fn(|| self.ids.pop_front_if(has_ended)).collect();
        ended.iter().for_each(|id| self.remove(id));
    }

    /// Removes orders of whoever has most, if there is no place for so many authorizations more.
    fn make_room(&mut self, wanted: usize) {
        while self.authorizations.len() + wanted > AUTHORIZATIONS_MAX
            && let Some(id) = self.shares.oldest_of_greediest()
        {
            self.ids.retain(|other| *other != id);
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &str) {
        let Some(order) = self.orders.remove(id) else { return };
        for id in &order.authorizations {
            self.authorizations.remove(id);
        }
        self.shares.remove(order.owner, id, order.authorizations.len());
        if let Some(ids) = self.by_account.get_mut(&order.account) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_account.remove(&order.account);
            }
        }
    }

    /// The ids of an account's orders that have come so far.
    pub(super) fn open_of(&mut self, account: &str, now: i64, statuses: &[Status]) -> Vec<String> {
        let ids = self.by_account.get(account).cloned().unwrap_or_default();
        ids.iter().for_each(|id| self.update(id, now));
        let is_open = |id: &String| self.orders.get(id).is_some_and(|order| statuses.contains(&order.status));
        ids.into_iter().filter(is_open).collect()
    }

    /// An account's order.
    pub(super) fn order(&mut self, id: &str, account: &str, now: i64) -> Result<&mut Order, Problem> {
        self.update(id, now);
        match self.orders.get_mut(id) {
            None => Err(Problem::malformed("there is no such order")),
            Some(order) if order.account != account => Err(Problem::new(Kind::Unauthorized, "")),
            Some(order) => Ok(order),
        }
    }

    /// Sees how far an order has come.
    fn update(&mut self, id: &str, now: i64) {
        let Some(order) = self.orders.get_mut(id) else { return };
        if !matches!(order.status, Status::Pending | Status::Ready) {
            return;
        }
        if now > order.expires {
            order.status = Status::Invalid;
            order.problem = Some(Problem::malformed("order has expired"));
            return;
        }
        let status = |id: &String| self.authorizations.get(id).map_or(Status::Invalid, |found| found.status);
        let statuses: Vec<Status> = order.authorizations.iter().map(status).collect();
        order.status = if statuses.iter().all(|status| *status == Status::Valid) {
            Status::Ready
        } else if statuses.iter().all(|status| matches!(status, Status::Valid | Status::Pending)) {
            Status::Pending
        } else {
            Status::Invalid
        };
    }

    /// Begins to make the certificate of an order. `None` if it is made already.
    pub(super) fn begin(&mut self, id: &str, account: &str, now: i64) -> Result<Option<Order>, Problem> {
        let order = self.order(id, account, now)?;
        match order.status {
            Status::Ready => {
                order.status = Status::Processing;
                Ok(Some(order.clone()))
            }
            Status::Valid => Ok(None),
            _ => Err(Problem::new(Kind::OrderNotReady, "")),
        }
    }

    /// Notes what came of it. Without a certificate the order stays ready, and another request may fit.
    pub(super) fn end(&mut self, id: &str, certificate: Option<String>) {
        if let Some(order) = self.orders.get_mut(id) {
            order.status = if certificate.is_some() { Status::Valid } else { Status::Ready };
            order.certificate = certificate;
        }
    }

    fn authorization(&mut self, id: &str, account: &str, now: i64) -> Result<&mut Authorization, Problem> {
        match self.authorizations.get_mut(id) {
            None => Err(Problem::malformed("there is no such authorization")),
            Some(found) if found.account != account => Err(Problem::new(Kind::Unauthorized, "")),
            Some(found) => {
                if found.status == Status::Pending && now > found.expires {
                    found.status = Status::Invalid;
                }
                Ok(found)
            }
        }
    }

    /// The document of an authorization.
    pub(super) fn authorization_document(
        &mut self,
        id: &str,
        account: &str,
        links: &Links,
        now: i64,
    ) -> Result<Value, Problem> {
        Ok(self.authorization(id, account, now)?.document(links))
    }

    /// Gives an authorization up (RFC 8555 section 7.5.2).
    pub(super) fn deactivate(&mut self, id: &str, account: &str, now: i64) -> Result<(), Problem> {
        let authorization = self.authorization(id, account, now)?;
        if matches!(authorization.status, Status::Pending | Status::Valid) {
            authorization.status = Status::Deactivated;
        }
        Ok(())
    }

    /// The document of a challenge.
    pub(super) fn challenge_document(
        &mut self,
        (authorization, challenge): (&str, &str),
        account: &str,
        links: &Links,
        now: i64,
    ) -> Result<Value, Problem> {
        let authorization = self.authorization(authorization, account, now)?;
        let found = authorization.challenges.iter().find(|found| found.id == challenge);
        let found = found.ok_or_else(|| Problem::malformed("there is no such challenge"))?;
        Ok(found.document(authorization, links))
    }

    /// Begins to look at a challenge. `None` if there is nothing to look at: it is decided, it is being looked
    /// at, or the client has not said yet that it is ready.
    pub(super) fn begin_look(
        &mut self,
        (authorization, challenge): (&str, &str),
        account: &str,
        client_is_ready: bool,
        now: i64,
    ) -> Result<Option<Look>, Problem> {
        let at_once = self.looking.get(account).copied().unwrap_or_default();
        let authorization = self.authorization(authorization, account, now)?;
        let is_pending = authorization.status == Status::Pending;
        let found = authorization.challenges.iter_mut().find(|found| found.id == challenge);
        let found = found.ok_or_else(|| Problem::malformed("there is no such challenge"))?;
        // One that nothing was seen of is looked at again when the client asks for it again.
        let is_wanted = client_is_ready || found.looks > 0;
        if !is_pending || found.status != Status::Pending || !is_wanted {
            return Ok(None);
        }
        if at_once >= LOOKS_AT_ONCE_MAX {
            return Err(Problem::new(Kind::RateLimited, "too many challenges of this account are looked at"));
        }
        found.status = Status::Processing;
        let look = Look {
            way: found.way,
            challenge: found.id.clone(),
            authorization: authorization.id.clone(),
            account: account.to_owned(),
            identifier: authorization.identifier.clone(),
            token: authorization.token.clone(),
        };
        *self.looking.entry(account.to_owned()).or_default() += 1;
        Ok(Some(look))
    }

    /// Notes what was seen.
    pub(super) fn end_look(&mut self, look: &Look, seen: Seen, now: i64) {
        if let Some(count) = self.looking.get_mut(&look.account) {
            *count -= 1;
            if *count == 0 {
                self.looking.remove(&look.account);
            }
        }
        let Some(authorization) = self.authorizations.get_mut(&look.authorization) else { return };
        let found = authorization.challenges.iter_mut().find(|found| found.id == look.challenge);
        let Some(challenge) = found else { return };
        let (status, problem) = match seen {
            Seen::Right => (Status::Valid, None),
            Seen::Wrong(problem) => (Status::Invalid, Some(problem)),
            Seen::Nothing(problem) => {
                challenge.looks += 1;
                let is_lost = challenge.looks >= LOOKS_MAX;
                (if is_lost { Status::Invalid } else { Status::Pending }, Some(problem))
            }
            Seen::BrokeOff => (Status::Pending, challenge.problem.take()),
        };
        challenge.validated = (status == Status::Valid).then_some(now);
        challenge.status = status;
        challenge.problem = problem;
        // It may have been given up, or shown in another way, in the meantime.
        if authorization.status == Status::Pending && status != Status::Pending {
            authorization.status = status;
        }
    }
}

/// An id or a token that nobody can guess: 128 bits.
pub(super) fn random_id() -> Result<String, Problem> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| Problem::new(Kind::ServerInternal, ""))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
