//! When an authority would like a certificate to be renewed (RFC 9773), in the form in which Caddy keeps it
//! beside the certificate.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// When an authority would like a certificate to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RenewalInfo {
    /// The window in which the authority would like it.
    #[serde(rename = "suggestedWindow")]
    pub window: Window,
    /// A page that says why.
    #[serde(rename = "explanationURL", skip_serializing_if = "String::is_empty")]
    pub explanation: String,
    /// How the authority knows the certificate.
    #[serde(rename = "_uniqueIdentifier", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Not to be asked for again before. RFC 3339.
    #[serde(rename = "_retryAfter", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// When we are going to renew: some time in the window, by chance. RFC 3339.
    #[serde(rename = "_selectedTime")]
    pub selected: String,
}

/// From when to when. RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// From when.
    pub start: String,
    /// To when.
    pub end: String,
}

/// What Go writes for a time that is not known.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

impl Default for Window {
    fn default() -> Self {
        Self { start: NO_TIME.to_owned(), end: NO_TIME.to_owned() }
    }
}

impl Default for RenewalInfo {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            window: Window::default(),
            explanation: String::new(),
            id: String::new(),
            retry_after: None,
            selected: NO_TIME.to_owned(),
        }
    }
}

impl RenewalInfo {
    /// The information of a window in seconds since 1970, to be asked for again after `retry_after`; a
    /// time in it is chosen.
    pub fn new(id: String, start: i64, end: i64, explanation: String, retry_after: i64) -> Self {
        let text = |seconds| Timestamp::from_second(seconds).unwrap_or_default().to_string();
        Self {
            window: Window { start: text(start), end: text(end) },
            explanation,
            id,
            retry_after: Some(text(retry_after)),
            selected: text(some_time_in(start, end)),
        }
    }

    /// The same with the time chosen before, if the window is still the same.
    pub fn keeping_choice_of(self, old: Option<&Self>) -> Self {
        match old {
            Some(old) if old.window == self.window && seconds(&old.selected).is_some() => {
                Self { selected: old.selected.clone(), ..self }
            }
            _ => self,
        }
    }

    /// When to renew, in seconds since 1970, if that is known.
    pub fn selected(&self) -> Option<i64> {
        let in_window = || Some(some_time_in(seconds(&self.window.start)?, seconds(&self.window.end)?));
        seconds(&self.selected).or_else(in_window)
    }

    /// Whether the authority may be asked again at `now`, in seconds since 1970.
    pub fn is_stale(&self, now: i64) -> bool {
        self.retry_after.as_deref().and_then(seconds).is_none_or(|after| after <= now)
    }
}

fn some_time_in(start: i64, end: i64) -> i64 {
    let mut random = [0; 8];
    // Without randomness the start is as good as any other time.
    let random = getrandom::fill(&mut random).map_or(0, |()| u64::from_ne_bytes(random));
    let span = u64::try_from(end - start).unwrap_or(0).max(1);
    start + i64::try_from(random % span).unwrap_or(0)
}

/// Seconds since 1970; Go's zero time is none.
fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_caddy_keeps_it() {
        let text = r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"},
            "_uniqueIdentifier":"a.b","_retryAfter":"2025-12-01T06:00:00.5Z","_selectedTime":"2026-01-01T12:00:00Z"}"#;
        let info: RenewalInfo = serde_json::from_str(text).unwrap();
        assert_eq!(info.selected(), Some(1_767_268_800));
        assert!(info.is_stale(1_764_568_801) && !info.is_stale(1_764_568_799));
        let again: RenewalInfo = serde_json::from_value(serde_json::to_value(&info).unwrap()).unwrap();
        assert_eq!(again, info);
    }

    #[test]
    fn a_time_in_the_window_is_chosen_once() {
        let old = RenewalInfo::new("a.b".into(), 1000, 2000, String::new(), 0);
        let chosen = old.selected().unwrap();
        assert!((1000..2000).contains(&chosen));
        let same = RenewalInfo::new("a.b".into(), 1000, 2000, String::new(), 9).keeping_choice_of(Some(&old));
        assert_eq!(same.selected(), Some(chosen));
        let moved = RenewalInfo::new("a.b".into(), 10, 20, String::new(), 9).keeping_choice_of(Some(&old));
        assert!((10..20).contains(&moved.selected().unwrap()));
    }

    #[test]
    fn nothing_chosen_yet() {
        let none: RenewalInfo = serde_json::from_str(r#"{"_selectedTime":"0001-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((none.selected(), none.is_stale(0)), (None, true));
        assert_eq!(none, RenewalInfo::default());
    }
}
