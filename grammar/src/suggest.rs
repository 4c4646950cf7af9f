//! Which known name was probably meant.

/// Names longer than this are not compared.
const NAME_CHARS_MAX: usize = 64;

/// The name nearest to `written`, if it is near: at most one edit for every three characters.
///
/// Of equally near names the first wins. Letter case does not count.
pub fn nearest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let written: Vec<char> = written.to_lowercase().chars().take(NAME_CHARS_MAX + 1).collect();
    if written.len() < 2 || written.len() > NAME_CHARS_MAX {
        return None;
    }
    let allowed = written.len().div_ceil(3);
    let mut best = None;
    for name in names {
        let edits = distance(&written, &name.to_lowercase().chars().collect::<Vec<_>>());
        if edits <= allowed && best.is_none_or(|(_, least)| edits < least) {
            best = Some((name, edits));
        }
    }
    best.map(|(name, _)| name)
}

/// Edits that turn `a` into `b`: insert, delete, replace, or swap two neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    if b.len() > NAME_CHARS_MAX {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let names = ["reverse_proxy", "respond", "redir", "request_header"];
        assert_eq!(nearest("reverseproxy", names), Some("reverse_proxy"));
        assert_eq!(nearest("repsond", names), Some("respond"));
        assert_eq!(nearest("Redirect", names), Some("redir"));
        assert_eq!(nearest("request-headers", names), Some("request_header"));
    }

    #[test]
    fn a_different_word_is_not() {
        assert_eq!(nearest("tls", ["respond", "log"]), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), ["a"]), None);
    }
}
