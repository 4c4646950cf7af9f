//! Header maps that are used again. A request needs three, and making one takes two allocations.

use std::cell::RefCell;

use http::HeaderMap;

use super::spares::{self, Spares};

/// So many wait on a thread for their next use.
const KEPT_MAX: usize = 16;
/// One with room for more fields than this is not kept.
const FIELDS_MAX: usize = 64;
/// And a new one has room for so many.
const FIELDS_USUAL: usize = 12;

thread_local! {
    static KEPT: Spares<HeaderMap> = const { RefCell::new(Vec::new()) };
}

/// An empty map.
pub(super) fn take() -> HeaderMap {
    spares::take(&KEPT).unwrap_or_else(|| HeaderMap::with_capacity(FIELDS_USUAL))
}

/// Takes back a map that nobody needs any more; what is in it goes at once.
pub(super) fn give_back(mut map: HeaderMap) {
    if map.capacity() == 0 || map.capacity() > FIELDS_MAX {
        return;
    }
    map.clear();
    spares::keep(&KEPT, map, KEPT_MAX);
}

/// The same map, in a form that is not taken back if it has many fields. What a name has more than one of
/// takes room that is not seen and not given up when a map is cleared.
pub(super) fn not_kept_if_large(map: HeaderMap) -> HeaderMap {
    if map.len() <= FIELDS_MAX {
        return map;
    }
    let mut large = HeaderMap::with_capacity(2 * FIELDS_MAX);
    large.extend(map);
    large
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
    fn what_was_large_is_not_kept_even_if_it_is_small_again() {
        let mut map = take();
        for _ in 0..2 * FIELDS_MAX {
            map.append("a", HeaderValue::from_static("1"));
        }
        let mut map = not_kept_if_large(map);
        assert_eq!(map.get_all("a").iter().count(), 2 * FIELDS_MAX);
        map.remove("a");
        KEPT.with_borrow_mut(Vec::clear);
        give_back(map);
        assert_eq!(KEPT.with_borrow(Vec::len), 0);
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
