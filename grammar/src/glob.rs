//! Which files an import pattern means.

use std::io;
use std::sync::Arc;

use crate::files::{Files, clean};
use crate::limits::GLOB_MATCHES_MAX;

/// The pattern as an absolute path: a relative one starts from the directory of the file it is written in.
pub(crate) fn relative_to(importer: &str, pattern: &str) -> String {
    if pattern.starts_with('/') {
        return pattern.to_owned();
    }
    let directory = importer.rsplit_once('/').map_or("", |(directory, _)| directory);
    clean(&format!("{directory}/{pattern}"))
}

/// The files that an absolute pattern matches, in order. `*` and `?` match within a name, `\` takes the next character
/// literally. A name that begins with a dot does not match a pattern whose last part begins with `*`.
pub(crate) fn matches(files: &dyn Files, pattern: &str) -> io::Result<Vec<Arc<str>>> {
    if !has_wildcard(pattern) {
        let found = files.exists(pattern).then(|| pattern.into());
        return Ok(found.into_iter().collect());
    }
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !has_wildcard(part) {
            for path in &mut found {
                path.push('/');
                path.push_str(part);
            }
            continue;
        }
        let wanted = Pattern::new(part)?;
        let mut next = Vec::new();
        for directory in found {
            let root = if directory.is_empty() { "/" } else { &directory };
            // What is no directory, or cannot be read, has no matches.
            let mut names = files.list(root).unwrap_or_default();
            names.sort_unstable();
            let names = names.iter().filter(|name| wanted.matches(name));
            next.extend(names.map(|name| format!("{directory}/{name}")));
            if next.len() > GLOB_MATCHES_MAX {
                return Err(io::Error::other(format!("it matches more than {GLOB_MATCHES_MAX} files")));
            }
        }
        found = next;
    }
    let last = pattern.rsplit('/').next().unwrap_or_default();
    let hidden =
        |path: &str| last.starts_with('*') && path.rsplit('/').next().is_some_and(|n| n.starts_with('.'));
    Ok(found.into_iter().filter(|path| files.exists(path) && !hidden(path)).map(Arc::from).collect())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// One part of a path with at most one `*`.
struct Pattern {
    head: Vec<Unit>,
    /// What follows the `*`, if there is one.
    tail: Option<Vec<Unit>>,
}

#[derive(Clone, Copy)]
enum Unit {
    Is(char),
    Any,
}

impl Pattern {
    fn new(part: &str) -> io::Result<Pattern> {
        let bad = || io::Error::other("syntax error in pattern");
        let mut units = Vec::new();
        let mut head = None;
        let mut chars = part.chars();
        while let Some(ch) = chars.next() {
            match ch {
                '*' if head.is_none() => head = Some(std::mem::take(&mut units)),
                '*' | '[' => return Err(bad()),
                '?' => units.push(Unit::Any),
                '\\' => units.push(Unit::Is(chars.next().ok_or_else(bad)?)),
                ch => units.push(Unit::Is(ch)),
            }
        }
        Ok(match head {
            Some(head) => Pattern { head, tail: Some(units) },
            None => Pattern { head: units, tail: None },
        })
    }

    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let same = |units: &[Unit], chars: &[char]| {
            units.len() == chars.len()
                && units.iter().zip(chars).all(|(unit, ch)| match unit {
                    Unit::Is(wanted) => wanted == ch,
                    Unit::Any => true,
                })
        };
        match &self.tail {
            None => same(&self.head, &name),
            Some(tail) => {
                name.len() >= self.head.len() + tail.len()
                    && same(&self.head, &name[..self.head.len()])
                    && same(tail, &name[name.len() - tail.len()..])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_a_name() {
        let matches = |pattern: &str, name| Pattern::new(pattern).expect("a pattern").matches(name);
        assert!(matches("*.conf", "a.conf") && matches("*.conf", ".conf") && matches("a*", "a"));
        assert!(matches("a?c*", "abcd") && matches("\\*", "*") && matches("*?", "a"));
        assert!(
            !matches("*.conf", "a.con")
                && !matches("ab*ba", "aba")
                && !matches("?", "")
                && !matches("\\*", "a")
        );
        assert!(Pattern::new("[a").is_err() && Pattern::new("a\\").is_err());
    }

    #[test]
    fn relative_patterns_start_beside_the_importing_file() {
        assert_eq!(relative_to("/etc/caddy/Caddyfile", "sites/*.conf"), "/etc/caddy/sites/*.conf");
        assert_eq!(relative_to("/etc/caddy/Caddyfile", "../x/./y"), "/etc/x/y");
        assert_eq!(relative_to("/Caddyfile", "x"), "/x");
        assert_eq!(relative_to("/etc/caddy/Caddyfile", "/srv//x"), "/srv//x");
    }
}
