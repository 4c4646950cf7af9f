//! How fast an authority is asked: many names that need certificates at once must not look like an attack.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many orders may begin within [`WINDOW`], as in Caddy.
const ORDERS_MAX: usize = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// When the last orders of each account began, or will.
static BEGINNINGS: Mutex<Option<HashMap<String, VecDeque<Instant>>>> = Mutex::new(None);

/// Waits for an account's turn.
pub(super) async fn wait_for_turn(directory: &str, email: &str) {
    let begin = {
        let mut all = BEGINNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.get_or_insert_default();
        let now = Instant::now();
        all.retain(|_, last| last.back().is_some_and(|last| *last + WINDOW > now));
        next_turn(all.entry(format!("{directory},{email}")).or_default(), now)
    };
    tokio::time::sleep_until(begin).await;
}

fn next_turn(last: &mut VecDeque<Instant>, now: Instant) -> Instant {
    let begin = match last.len() {
        ORDERS_MAX.. => last.pop_front().map_or(now, |first| now.max(first + WINDOW)),
        _ => now,
    };
    last.push_back(begin);
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_ten_seconds() {
        let mut last = VecDeque::new();
        let now = Instant::now();
        let waits: Vec<u64> = (0..25).map(|_| (next_turn(&mut last, now) - now).as_secs()).collect();
        assert_eq!((&waits[..10], &waits[10..20], &waits[20..]), (&[0; 10][..], &[10; 10][..], &[20; 5][..]));
        assert_eq!(last.len(), ORDERS_MAX);
        let later = now + Duration::from_secs(60);
        assert_eq!(next_turn(&mut last, later), later);
    }
}
