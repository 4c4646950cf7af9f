//! Which loggers a log listens to.

use super::LogError;

/// A log's `include` and `exclude` lists. Of two names that fit, the longer one decides.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    include: Box<[String]>,
    exclude: Box<[String]>,
}

impl Rules {
    /// Rules of these lists.
    ///
    /// # Errors
    /// The lists contradict each other: a name stands in both, or an included name is neither part of
    /// an excluded one nor the other way round, so that one of the lists would have no effect.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, LogError> {
        if !include.is_empty() && !exclude.is_empty() {
            for name in include {
                if exclude.contains(name) {
                    return Err(LogError::invalid(format!(
                        "include and exclude must not intersect, but found {name} in both lists"
                    )));
                }
                if !exclude.iter().any(|other| within(name, other) || within(other, name)) {
                    return Err(LogError::invalid(format!(
                        "when both include and exclude are populated, each element must be a superspace or \
                         subspace of one in the other list; check '{name}' in include"
                    )));
                }
            }
        }
        Ok(Self { include: include.into(), exclude: exclude.into() })
    }

    /// Whether entries of the logger called `name` are taken; the empty name is the process's own.
    pub fn allow(&self, name: &str) -> bool {
        let longest = |list: &[String]| {
            list.iter().filter(|space| within(name, space)).map(String::len).max().unwrap_or(0)
        };
        let accepted = longest(&self.include);
        if !self.include.is_empty() && accepted == 0 {
            return false;
        }
        // `*` stands for all named loggers, `.` for the process's own messages.
        let all = if name.is_empty() { "." } else { "*" };
        if self.exclude.iter().any(|space| space == all) {
            return false;
        }
        let rejected = longest(&self.exclude);
        accepted > rejected || (self.include.is_empty() && rejected == 0)
    }

    /// Whether entries of some logger that is called `space` or lies within it may be taken.
    pub fn touch(&self, space: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|name| within(name, space) || within(space, name))
    }
}

/// Whether `name` is `space` or lies within it: `http.log` is within `http`, `https` is not.
fn within(name: &str, space: &str) -> bool {
    name.strip_prefix(space).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(include: &[&str], exclude: &[&str]) -> Result<Rules, LogError> {
        let owned = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Rules::new(&owned(include), &owned(exclude))
    }

    #[test]
    fn the_longer_name_decides() {
        let all = rules(&[], &[]).unwrap();
        assert!(all.allow("") && all.allow("http"));

        let rules_ = rules(&["http"], &["http.log.access", "http.log.access.x.y"]).unwrap();
        assert!(rules_.allow("http") && rules_.allow("http.log.error"));
        assert!(!rules_.allow("http.log.access") && !rules_.allow("http.log.access.x"));
        assert!(!rules_.allow("https") && !rules_.allow("tls") && !rules_.allow(""));

        let exception = rules(&["a.b.c"], &["a.b"]).unwrap();
        assert!(exception.allow("a.b.c.d") && !exception.allow("a.b") && !exception.allow("a"));
    }

    #[test]
    fn exclusions_alone() {
        let rules_ = rules(&[], &["http.log.access.log0"]).unwrap();
        assert!(!rules_.allow("http.log.access.log0"));
        assert!(rules_.allow("http.log.access.log01") && rules_.allow("http.log.access") && rules_.allow(""));
        let named = rules(&[], &["*"]).unwrap();
        assert!(!named.allow("http") && named.allow(""));
        let own = rules(&[], &["."]).unwrap();
        assert!(own.allow("http") && !own.allow(""));
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(rules(&["a"], &["a"]).is_err());
        assert!(rules(&["a"], &["b"]).is_err());
        assert!(rules(&["a"], &["a.b"]).is_ok());
    }
}
