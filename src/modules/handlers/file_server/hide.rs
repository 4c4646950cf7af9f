//! Files that are there and are not shown.

use std::borrow::Cow;

use crate::http::files::{Glob, clean, escape};
use crate::http::{Exchange, Template, Unknown, target};

/// What hides files: names, which count for every part of a path, and paths.
#[derive(Default)]
pub(super) struct Hide {
    fixed: Box<[Pattern]>,
    /// Those that are different for each request.
    dynamic: Box<[Template]>,
    /// Where relative paths begin.
    working_dir: Box<[u8]>,
}

/// A name or a path, with a pattern or without.
pub(super) struct Pattern {
    /// As it is written, for what begins with it; absolute, if it is a path.
    text: Box<[u8]>,
    /// `None` if it is no pattern at all.
    glob: Option<Glob>,
    /// Whether nothing in it is special.
    is_literal: bool,
}

impl Pattern {
    /// A pattern of a text, and of one in which all that is not a pattern is escaped.
    fn new(text: &[u8], escaped: &[u8], working_dir: &[u8]) -> Self {
        let is_path = text.contains(&b'/');
        let whole = |text| if is_path { absolute(text, working_dir) } else { Cow::Borrowed(text) };
        let glob = Glob::written(&whole(escaped));
        let is_literal = glob.as_ref().is_some_and(|glob| glob.literal().is_some());
        Self { text: whole(text).into(), glob, is_literal }
    }

    /// A pattern as it is written, even if it is a relative path.
    pub(super) fn unanchored(text: &str) -> Self {
        let glob = Glob::written(text.as_bytes());
        Self { text: text.as_bytes().into(), glob, is_literal: false }
    }

    /// Whether it hides a file by its absolute path.
    pub(super) fn hides(&self, file: &[u8]) -> bool {
        if !self.text.contains(&b'/') {
            return file.split(|byte| *byte == b'/').any(|name| self.matches(name));
        }
        let rest = file.strip_prefix(&*self.text);
        rest.is_some_and(|rest| rest.starts_with(b"/")) || self.matches(file)
    }

    fn matches(&self, text: &[u8]) -> bool {
        if self.is_literal && !self.text.contains(&b'\\') {
            return *self.text == *text;
        }
        self.glob.as_ref().is_some_and(|glob| glob.matches(&target::lossy(text)))
    }
}

impl Hide {
    /// Compiles a list. Relative paths in it begin in `working_dir`.
    pub(super) fn compile(list: &[String], working_dir: &[u8]) -> Self {
        let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
        for text in list {
            let template = Template::compile(text, Unknown::Empty);
            match template.constant() {
                Some(text) => fixed.push(Pattern::new(&text, &text, working_dir)),
                None => dynamic.push(template),
            }
        }
        Self { fixed: fixed.into(), dynamic: dynamic.into(), working_dir: working_dir.into() }
    }

    /// Those that one request makes. What placeholders bring in means itself.
    pub(super) fn of_request(&self, x: &Exchange) -> Vec<Pattern> {
        let pattern = |template: &Template| {
            let escaped = template.render_with(x, |_, value, _| escape(value));
            Pattern::new(&template.render(x), &escaped, &self.working_dir)
        };
        self.dynamic.iter().map(pattern).filter(|pattern| !pattern.text.is_empty()).collect()
    }

    /// Whether a file is hidden.
    pub(super) fn hides(&self, file: &[u8], of_request: &[Pattern]) -> bool {
        if self.fixed.is_empty() && of_request.is_empty() {
            return false;
        }
        let file = absolute(file, &self.working_dir);
        self.fixed.iter().chain(of_request).any(|pattern| pattern.hides(&file))
    }
}

/// A path from the root on.
fn absolute<'a>(path: &'a [u8], working_dir: &[u8]) -> Cow<'a, [u8]> {
    if path.starts_with(b"/") {
        return clean(path);
    }
    Cow::Owned(clean(&[working_dir, b"/", path].concat()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(pattern: &str, file: &str) -> bool {
        Hide::compile(&[pattern.to_owned()], b"/srv").hides(file.as_bytes(), &[])
    }

    #[test]
    fn names_hide_at_any_depth_and_paths_only_there() {
        for (pattern, file) in [
            ("Caddyfile", "/srv/Caddyfile"),
            ("*.conf", "/srv/a/b.conf"),
            (".git", "/srv/.git/x/y"),
            ("/srv", "/srv/Caddyfile"),
            ("/srv/*", "/srv/Caddyfile"),
            ("./a", "/srv/a"),
            ("./a", "a/b"),
            ("a\\*b", "/srv/a*b"),
        ] {
            assert!(hides(pattern, file), "{pattern} {file}");
        }
        for (pattern, file) in [
            ("Caddy", "/srv/Caddyfile"),
            ("/sr", "/srv/Caddyfile"),
            ("/srv/*", "/srv/a/Caddyfile"),
            ("./a", "/srv/b/a"),
            ("a[", "/srv/a["),
            ("CADDYFILE", "/srv/Caddyfile"),
        ] {
            assert!(!hides(pattern, file), "{pattern} {file}");
        }
    }

    #[test]
    fn placeholders_bring_in_no_patterns() {
        let hide = Hide::compile(&["{http.request.header.X}*".to_owned()], b"/srv");
        let hides = |value: &str, file: &str| {
            hide.hides(file.as_bytes(), &hide.of_request(&Exchange::get("/", &[("x", value)])))
        };
        assert!(hides("a", "/srv/abc"));
        assert!(hides("*", "/srv/*bc"));
        assert!(!hides("*", "/srv/abc"));
    }
}
