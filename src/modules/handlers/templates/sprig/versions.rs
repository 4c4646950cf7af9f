//! Versions as of Semantic Versioning (<https://semver.org>), and constraints on them.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use super::{Function, text};
use crate::gotemplate::{Error, Object, Value};

pub(super) const TABLE: &[(&str, Function)] = &[
    ("semver", |a| Ok(Value::Object(Rc::new(Version::parse(&text(a, 0)?)?)))),
    ("semverCompare", |a| {
        let (said, version) = (text(a, 0)?, text(a, 1)?);
        let alternatives = constraints(&said)?;
        let version = Version::parse(&version)?;
        let holds = |all: &Vec<Constraint>| all.iter().all(|constraint| constraint.holds(&version));
        Ok(alternatives.iter().any(holds).into())
    }),
];

/// A version, of which parts may have been left out.
#[derive(Clone, Debug, Default)]
struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

impl Version {
    fn parse(said: &str) -> Result<Self, Error> {
        let invalid = || Error::new("invalid semantic version");
        let (core, rest) = split_core(said.strip_prefix('v').unwrap_or(said));
        let mut numbers = core.split('.');
        let mut number = || match numbers.next() {
            None => Ok(0),
            Some(digits) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(invalid())
            }
            Some(digits) => digits.parse().map_err(|_| {
                let range = format!("strconv.ParseUint: parsing {digits:?}: value out of range");
                Error::new(format!("error parsing version segment: {range}"))
            }),
        };
        let (major, minor, patch) = (number()?, number()?, number()?);
        let (prerelease, metadata) = suffixes(rest).ok_or_else(invalid)?;
        if core.split('.').count() > 3 {
            return Err(invalid());
        }
        let is_padded = |part: &str| part.len() > 1 && part.starts_with('0') && is_number(part);
        if prerelease.split('.').any(is_padded) {
            return Err(Error::new("version segment starts with 0"));
        }
        let (prerelease, metadata) = (prerelease.to_owned(), metadata.to_owned());
        Ok(Self { major, minor, patch, prerelease, metadata, original: said.to_owned() })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = |of: &Self| (of.major, of.minor, of.patch);
        numbers(self)
            .cmp(&numbers(other))
            .then_with(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }

    fn next(&self, part: &str) -> Self {
        let Self { major, minor, patch, .. } = *self;
        let (major, minor, patch) = match part {
            "IncMajor" => (major.saturating_add(1), 0, 0),
            "IncMinor" => (major, minor.saturating_add(1), 0),
            // A release comes after what led to it.
            _ if !self.prerelease.is_empty() => (major, minor, patch),
            _ => (major, minor, patch.saturating_add(1)),
        };
        let mut next = Self { major, minor, patch, ..Self::default() };
        next.original = next.to_string();
        next
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (mark, suffix) in [('-', &self.prerelease), ('+', &self.metadata)] {
            if !suffix.is_empty() {
                write!(f, "{mark}{suffix}")?;
            }
        }
        Ok(())
    }
}

impl Object for Version {
    fn type_name(&self) -> &'static str {
        "*semver.Version"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
        let number = |number: u64| Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
        Some(match name {
            "Major" => number(self.major),
            "Minor" => number(self.minor),
            "Patch" => number(self.patch),
            "Prerelease" => Ok(self.prerelease.as_str().into()),
            "Metadata" => Ok(self.metadata.as_str().into()),
            "Original" => Ok(self.original.as_str().into()),
            "String" => Ok(self.to_string().into()),
            "IncMajor" | "IncMinor" | "IncPatch" => Ok(Value::Object(Rc::new(self.next(name)))),
            "Compare" | "Equal" | "LessThan" | "GreaterThan" | "LessThanEqual" | "GreaterThanEqual" => {
                let other = match arguments {
                    [Value::Object(other)] => other.as_any().downcast_ref::<Self>(),
                    _ => None,
                };
                let Some(other) = other else {
                    return Some(Err(Error::new(format!("{name} needs another version"))));
                };
                let order = self.compare(other);
                Ok(match name {
                    "Compare" => Value::Int(order as i64),
                    "Equal" => order.is_eq().into(),
                    "LessThan" => order.is_lt().into(),
                    "GreaterThan" => order.is_gt().into(),
                    "LessThanEqual" => order.is_le().into(),
                    _ => order.is_ge().into(),
                })
            }
            _ => return None,
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The numbers that a version begins with, and what follows.
fn split_core(said: &str) -> (&str, &str) {
    said.split_at(said.find(['-', '+']).unwrap_or(said.len()))
}

/// What follows the numbers: what leads to the release, and what else is said.
fn suffixes(rest: &str) -> Option<(&str, &str)> {
    let is_suffix = |text: &str| {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        text.split('.').all(is_part)
    };
    let (prerelease, metadata) = match rest.split_once('+') {
        Some((prerelease, metadata)) if is_suffix(metadata) => (prerelease, metadata),
        Some(_) => return None,
        None => (rest, ""),
    };
    match prerelease.strip_prefix('-') {
        Some(prerelease) if is_suffix(prerelease) => Some((prerelease, metadata)),
        None if prerelease.is_empty() => Some(("", metadata)),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Section 11 of Semantic Versioning: none comes after any, and numbers come before words.
fn compare_prereleases(left: &str, right: &str) -> Ordering {
    if left.is_empty() || right.is_empty() {
        return left.is_empty().cmp(&right.is_empty());
    }
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => match (is_number(left), is_number(right)) {
                // Numbers have no zeros in front, so that the longer one is greater.
                (true, true) => left.len().cmp(&right.len()).then(left.cmp(right)),
                (false, false) => left.cmp(right),
                (is_number, _) => (!is_number).cmp(&is_number),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Which part of a constraint's version was left out first, or is a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Major,
    Minor,
    Patch,
}

/// What a version must be like.
#[derive(Debug)]
struct Constraint {
    operator: &'static str,
    version: Version,
    open: Open,
}

/// Longer ones before those that they begin with.
const OPERATORS: [&str; 11] = ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];

/// Constraints: each list must hold as a whole, and one of them has to.
fn constraints(said: &str) -> Result<Vec<Vec<Constraint>>, Error> {
    let improper = || Error::new(format!("improper constraint: {said:?}"));
    said.split("||").map(|all| all_of(all).ok_or_else(improper)).collect()
}

/// Constraints that are separated by commas or spaces, of which `A - B` is two.
fn all_of(said: &str) -> Option<Vec<Constraint>> {
    let mut all = Vec::new();
    let mut rest = said.trim();
    let mut is_range = false;
    loop {
        let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)).unwrap_or("");
        rest = rest[operator.len()..].trim_start();
        let end = rest.find(|char: char| char == ',' || char.is_whitespace()).unwrap_or(rest.len());
        let mut constraint = Constraint::parse(operator, &rest[..end])?;
        let behind = rest[end..].trim_start();
        let begins_range = behind.strip_prefix("- ").filter(|_| operator.is_empty() && !is_range);
        match (std::mem::replace(&mut is_range, begins_range.is_some()), begins_range.is_some()) {
            (true, _) if operator.is_empty() => constraint.operator = "<=",
            (true, _) => return None,
            (false, true) => constraint.operator = ">=",
            (false, false) => {}
        }
        all.push(constraint);
        rest = match (begins_range, behind) {
            (Some(other), _) => other.trim_start(),
            (None, "") => return Some(all),
            (None, behind) => behind.strip_prefix(',').unwrap_or(behind).trim_start(),
        };
    }
}

impl Constraint {
    fn parse(operator: &'static str, said: &str) -> Option<Self> {
        let (core, rest) = split_core(said.strip_prefix('v').unwrap_or(said));
        let mut version = Version::default();
        let mut parts = core.split('.');
        let mut open = Open::Nothing;
        let places = [
            (&mut version.major, Open::Major),
            (&mut version.minor, Open::Minor),
            (&mut version.patch, Open::Patch),
        ];
        for (at, (place, of)) in places.into_iter().enumerate() {
            match parts.next() {
                // What follows a wildcard doesn't count.
                Some("x" | "X" | "*") => open = if open == Open::Nothing { of } else { open },
                Some(digits) if !digits.is_empty() && is_number(digits) => {
                    let number = digits.parse().ok()?;
                    *place = if open == Open::Nothing { number } else { 0 };
                }
                None if at > 0 => open = if open == Open::Nothing { of } else { open },
                _ => return None,
            }
        }
        let (prerelease, _) = suffixes(rest)?;
        version.prerelease = prerelease.to_owned();
        parts.next().is_none().then_some(Self { operator, version, open })
    }

    fn holds(&self, version: &Version) -> bool {
        let own = &self.version;
        // What leads to a release counts for those only that speak of it.
        if !version.prerelease.is_empty() && own.prerelease.is_empty() {
            return false;
        }
        let order = version.compare(own);
        match (self.operator, self.open) {
            ("" | "=", Open::Nothing) => order.is_eq(),
            ("!=", Open::Nothing) => order.is_ne(),
            ("!=", _) => !self.is_in(version),
            (">", Open::Nothing) => order.is_gt(),
            (">", Open::Patch) => (version.major, version.minor) > (own.major, own.minor),
            (">", _) => version.major > own.major,
            ("<", _) => order.is_lt(),
            (">=" | "=>", _) => order.is_ge(),
            ("<=" | "=<", Open::Nothing) => order.is_le(),
            ("<=" | "=<", Open::Patch) => (version.major, version.minor) <= (own.major, own.minor),
            ("<=" | "=<", _) => version.major <= own.major,
            ("^", _) => order.is_ge() && self.is_compatible(version),
            // Nothing at all is said by `~0.0.0`, as by `*`.
            _ if self.open == Open::Major || (self.open == Open::Nothing && own.is_zero()) => order.is_ge(),
            _ => order.is_ge() && self.is_in(version),
        }
    }

    /// Whether a version begins with the parts that were said, but for the patch.
    fn is_in(&self, version: &Version) -> bool {
        let own = &self.version;
        version.major == own.major && (self.open == Open::Minor || version.minor == own.minor)
    }

    /// Whether a version has the first part that is not zero.
    fn is_compatible(&self, version: &Version) -> bool {
        let own = &self.version;
        if own.major > 0 || version.major > 0 || self.open == Open::Minor {
            return version.major == own.major;
        }
        if own.minor > 0 || version.minor > 0 || self.open == Open::Patch {
            return version.minor == own.minor;
        }
        version.patch == own.patch
    }
}

impl Version {
    fn is_zero(&self) -> bool {
        (self.major, self.minor, self.patch) == (0, 0, 0)
    }
}
