//! Header maps that are used again. A request needs three, and making one takes two allocations.

use std::cell::RefCell;

use http::HeaderMap;

/// So many wait on a thread for their next use.
const KEPT_MAX: usize = 16;
/// One with room for more fields than this is not kept.
const FIELDS_MAX: usize = 64;
/// And a new one has room for so many.
const FIELDS_USUAL: usize = 12;

thread_local! {
    static KEPT: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map.
pub(super) fn take() -> HeaderMap {
    let kept = KEPT.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| HeaderMap::with_capacity(FIELDS_USUAL))
}

/// Takes back a map that nobody needs any more; what is in it goes at once.
pub(super) fn give_back(mut map: HeaderMap) {
    if map.capacity() == 0 || map.capacity() > FIELDS_MAX {
        return;
    }
    map.clear();
    // At the end of a thread there may be no list any more.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn nothing_of_the_last_use_is_left() {
        let mut map = take();
        map.insert("authorization", HeaderValue::from_static("secret"));
        let room = map.capacity();
        give_back(map);
        let again = take();
        assert!(again.is_empty() && again.capacity() == room);
        assert_eq!(again.get("authorization"), None);
    }

    #[test]
    fn no_more_is_kept_than_is_of_use() {
        for _ in 0..2 * KEPT_MAX {
            give_back(HeaderMap::with_capacity(FIELDS_USUAL));
        }
        give_back(HeaderMap::with_capacity(2 * FIELDS_MAX));
        KEPT.with_borrow(|kept| {
            assert_eq!(kept.len(), KEPT_MAX);
            assert!(kept.iter().all(|map| map.capacity() <= FIELDS_MAX));
        });
    }
}
