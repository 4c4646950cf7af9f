//! How orders come along.

use super::*;

fn wish(account: &str, names: usize) -> Wish {
    let identifier = |n| Identifier { kind: "dns".into(), value: format!("{n}.test") };
    let identifiers = (0..names).map(identifier).collect();
    // Each account at an address of its own.
    let place = account.bytes().fold(0, |place: u32, byte| place.wrapping_mul(31).wrapping_add(byte.into()));
    let owner = std::net::Ipv4Addr::from_bits(place).into();
    Wish { account: account.into(), owner, identifiers, not_before: 0, not_after: 1000 }
}

/// An authorization of an order, with its challenge by HTTP.
fn http_of(orders: &Orders, order: &Order, at: usize) -> (String, String) {
    let authorization = &orders.authorizations[&order.authorizations[at]];
    let challenge = authorization.challenges.iter().find(|challenge| challenge.way == Way::Http).unwrap();
    (authorization.id.clone(), challenge.id.clone())
}

fn look(orders: &mut Orders, (authorization, challenge): &(String, String), now: i64) -> Look {
    orders.begin_look((authorization, challenge), "a", true, now).unwrap().unwrap()
}

fn nothing() -> Seen {
    Seen::Nothing(Problem::new(Kind::Connection, ""))
}

#[test]
fn an_order_is_ready_once_all_is_shown_and_made_once() {
    let mut orders = Orders::default();
    let order = orders.add(wish("a", 2), &Way::ALL, 0).unwrap();
    for at in 0..2 {
        assert_eq!(orders.order(&order.id, "a", 1).unwrap().status, Status::Pending);
        assert_eq!(orders.begin(&order.id, "a", 1).unwrap_err().kind, Kind::OrderNotReady);
        let ids = http_of(&orders, &order, at);
        let looking = look(&mut orders, &ids, 1);
        // It is being looked at.
        assert_eq!(orders.begin_look((&ids.0, &ids.1), "a", true, 1), Ok(None));
        orders.end_look(&looking, Seen::Right, 5);
    }
    assert!(orders.begin(&order.id, "b", 1).is_err());
    assert!(orders.begin(&order.id, "a", 6).unwrap().is_some());
    assert_eq!(orders.begin(&order.id, "a", 6).unwrap_err().kind, Kind::OrderNotReady);
    orders.end(&order.id, None);
    assert!(orders.begin(&order.id, "a", 6).unwrap().is_some());
    orders.end(&order.id, Some("serial".into()));
    assert!(orders.begin(&order.id, "a", 6).unwrap().is_none());
}

#[test]
fn an_order_ends_with_what_is_wrong_or_given_up_or_late() {
    let mut orders = Orders::default();
    let wrong = orders.add(wish("a", 2), &Way::ALL, 0).unwrap();
    let ids = http_of(&orders, &wrong, 1);
    let looking = look(&mut orders, &ids, 1);
    orders.end_look(&looking, Seen::Wrong(Problem::malformed("")), 2);
    assert_eq!(orders.order(&wrong.id, "a", 3).unwrap().status, Status::Invalid);

    let given_up = orders.add(wish("a", 1), &Way::ALL, 0).unwrap();
    let ids = http_of(&orders, &given_up, 0);
    let looking = look(&mut orders, &ids, 1);
    orders.deactivate(&given_up.authorizations[0], "a", 1).unwrap();
    orders.end_look(&looking, Seen::Right, 2);
    assert_eq!(orders.order(&given_up.id, "a", 3).unwrap().status, Status::Invalid);

    let late = orders.add(wish("a", 1), &Way::ALL, 0).unwrap();
    assert_eq!(orders.order(&late.id, "a", LIFETIME + 1).unwrap().status, Status::Invalid);
    // The next one takes its place.
    orders.add(wish("a", 1), &Way::ALL, LIFETIME + 1).unwrap();
    assert_eq!((orders.orders.len(), orders.authorizations.len()), (1, 1));
}

#[test]
fn nothing_to_be_seen_can_be_seen_later_but_not_for_ever() {
    let mut orders = Orders::default();
    let order = orders.add(wish("a", 1), &Way::ALL, 0).unwrap();
    let ids = http_of(&orders, &order, 0);
    assert_eq!(orders.begin_look((&ids.0, &ids.1), "a", false, 1), Ok(None));
    let looking = look(&mut orders, &ids, 1);
    orders.end_look(&looking, Seen::BrokeOff, 1);
    assert_eq!(orders.begin_look((&ids.0, &ids.1), "a", false, 1), Ok(None));
    for _ in 0..LOOKS_MAX {
        assert_eq!(orders.order(&order.id, "a", 1).unwrap().status, Status::Pending);
        let looking = look(&mut orders, &ids, 1);
        orders.end_look(&looking, nothing(), 1);
    }
    assert_eq!(orders.order(&order.id, "a", 1).unwrap().status, Status::Invalid);
    assert!(orders.looking.is_empty());
}

#[test]
fn nobody_takes_all_the_places() {
    let mut orders = Orders::default();
    for _ in 0..OPEN_MAX {
        orders.add(wish("a", 1), &Way::ALL, 0).unwrap();
    }
    let refused = orders.add(wish("a", 1), &Way::ALL, 0);
    assert_eq!(refused.unwrap_err().kind, Kind::RateLimited);
    let order = orders.add(wish("b", LOOKS_AT_ONCE_MAX + 1), &Way::ALL, 0).unwrap();
    for at in 0..=LOOKS_AT_ONCE_MAX {
        let ids = http_of(&orders, &order, at);
        let begun = orders.begin_look((&ids.0, &ids.1), "b", true, 1);
        assert_eq!(begun.is_ok(), at < LOOKS_AT_ONCE_MAX);
    }
    // Whoever is at one address has but its share, however many accounts those are.
    let greedy = |account: usize| Wish {
        owner: [10, 0, 0, 1].map(u8::from).into(),
        ..wish(&format!("g{account}"), 100)
    };
    let taken = (0..100).filter(|account| orders.add(greedy(*account), &[Way::Http], 1).is_ok()).count();
    assert_eq!(taken, 50);
    for account in 0..AUTHORIZATIONS_MAX / 100 {
        orders.add(wish(&format!("c{account}"), 100), &[Way::Http], 1).unwrap();
    }
    assert!(orders.authorizations.len() <= AUTHORIZATIONS_MAX);
    assert_eq!(orders.ids.len(), orders.orders.len());
    assert!(orders.order(&order.id, "b", 1).is_ok(), "whoever has most gives first");
}

#[test]
fn what_is_refused_costs_nobody_an_order() {
    let mut orders = Orders::default();
    (0..OPEN_MAX).for_each(|_| drop(orders.add(wish("x", 1), &[Way::Http], 1).unwrap()));
    let first = orders.add(wish("g", 100), &[Way::Http], 1).unwrap();
    for account in 0..(AUTHORIZATIONS_MAX - OPEN_MAX) / 100 - 1 {
        orders.add(wish(&format!("c{account}"), 100), &[Way::Http], 1).unwrap();
    }
    // All places are taken, and this account has no right to more.
    assert_eq!(orders.authorizations.len(), AUTHORIZATIONS_MAX);
    let there = orders.ids.clone();
    (0..10).for_each(|_| assert!(orders.add(wish("x", 100), &[Way::Http], 1).is_err()));
    assert_eq!(orders.ids, there);
    assert!(orders.order(&first.id, "g", 1).is_ok());
}
