//! The header fields of a request as its upstream is to see them: the client's, with changes laid
//! over them, so that no map is copied or hashed into per request.

use std::borrow::Cow;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::http::{FieldValue, Fields};

/// A client's header fields with changes over them.
#[derive(Clone)]
pub struct Overlay<'a> {
    below: &'a HeaderMap,
    omit: SmallVec<[HeaderName; 4]>,
    /// Sent in the place of any field of the same name below.
    extra: SmallVec<[(HeaderName, Cow<'a, [u8]>); 8]>,
    /// A field that was given a value it can't have.
    invalid: Option<HeaderName>,
}

impl<'a> Overlay<'a> {
    /// The client's fields as they are.
    pub fn new(below: &'a HeaderMap) -> Self {
        Self { below, omit: SmallVec::new(), extra: SmallVec::new(), invalid: None }
    }

    /// The fields that are not changed, or hidden by those that are.
    pub fn below(&self) -> &'a HeaderMap {
        self.below
    }

    /// Names of fields below that are gone.
    pub fn omit(&self) -> &[HeaderName] {
        &self.omit
    }

    /// Fields that are there in the place of any of the same name below.
    pub fn extra(&self) -> &[(HeaderName, Cow<'a, [u8]>)] {
        &self.extra
    }

    /// A field that a placeholder has given a value which would split the head.
    pub fn invalid(&self) -> Option<&HeaderName> {
        self.invalid.as_ref()
    }

    fn check(&mut self, name: &HeaderName, value: &FieldValue<'_>) {
        if let FieldValue::Text(text) = value
            && text.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        {
            self.invalid = Some(name.clone());
        }
    }

    /// Takes the field away.
    pub fn remove(&mut self, name: &HeaderName) {
        self.extra.retain(|(extra, _)| extra != name);
        if !self.omit.contains(name) {
            self.omit.push(name.clone());
        }
    }

    /// Gives the field this one value, whatever it had.
    pub fn set(&mut self, name: HeaderName, value: impl Into<Cow<'a, [u8]>>) {
        self.extra.retain(|(extra, _)| *extra != name);
        self.extra.push((name, value.into()));
    }

    /// Adds a value behind those that the field has.
    pub fn append(&mut self, name: HeaderName, value: impl Into<Cow<'a, [u8]>>) {
        if !self.is_changed(&name) {
            let kept = self.below.get_all(&name).iter().map(|value| (name.clone(), value.as_bytes().into()));
            self.extra.extend(kept);
        }
        self.extra.push((name, value.into()));
    }

    /// Takes back what was said of the field.
    pub fn forget(&mut self, name: &HeaderName) {
        self.extra.retain(|(extra, _)| extra != name);
    }

    /// Sees to it that there is one host: of several the last, and `default` if there is none.
    pub fn settle_host(&mut self, default: &'a [u8]) {
        let mut hosts = self.extra.iter().filter(|(name, _)| *name == HOST);
        let last = match (hosts.next(), hosts.next_back()) {
            (None, _)
                if !self.omit.contains(&HOST)
                    && self.below.get(HOST).is_some_and(|host| !host.is_empty()) =>
            {
                return;
            }
            (None, _) => None,
            (Some((_, only)), None) if !only.is_empty() => return,
            (Some((_, first)), last) => Some(last.map_or(first, |(_, last)| last).clone()),
        };
        self.set(HOST, last.filter(|host| !host.is_empty()).unwrap_or(Cow::Borrowed(default)));
    }

    /// All values of one field.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let kept = (!self.is_changed(name)).then(|| self.below.get_all(name));
        let kept = kept.into_iter().flatten().map(HeaderValue::as_bytes);
        kept.chain(self.extra.iter().filter(move |(extra, _)| extra == name).map(|(_, value)| &**value))
    }

    fn is_changed(&self, name: &HeaderName) -> bool {
        self.omit.contains(name) || self.extra.iter().any(|(extra, _)| extra == name)
    }
}

impl<'a> Fields<'a> for Overlay<'a> {
    fn names(&self) -> Vec<HeaderName> {
        let kept = self.below.keys().filter(|name| !self.is_changed(name));
        let mut names: Vec<_> = kept.cloned().collect();
        for (name, _) in &self.extra {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn values(&self, name: &HeaderName) -> Vec<Vec<u8>> {
        self.get_all(name).map(<[u8]>::to_vec).collect()
    }

    fn remove(&mut self, name: &HeaderName) {
        Overlay::remove(self, name);
    }

    fn set(&mut self, name: HeaderName, value: FieldValue<'a>) {
        self.check(&name, &value);
        Overlay::set(self, name, value.into_bytes());
    }

    fn append(&mut self, name: HeaderName, value: FieldValue<'a>) {
        self.check(&name, &value);
        Overlay::append(self, name, value.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, CONNECTION, VIA};

    use super::*;

    fn below() -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("h"));
        map.insert(CONNECTION, HeaderValue::from_static("close"));
        map.append(VIA, HeaderValue::from_static("1.0 a"));
        map.append(VIA, HeaderValue::from_static("1.0 b"));
        map
    }

    fn seen(fields: &Overlay<'_>) -> Vec<String> {
        let line = |name: HeaderName| {
            let values = fields.values(&name).join(&b"|"[..]);
            format!("{name}: {}", String::from_utf8(values).unwrap())
        };
        let mut seen: Vec<_> = fields.names().into_iter().map(line).collect();
        seen.sort();
        seen
    }

    #[test]
    fn without_changes_all_fields_show() {
        assert_eq!(seen(&Overlay::new(&below())), ["connection: close", "host: h", "via: 1.0 a|1.0 b"]);
    }

    #[test]
    fn changes_hide_replace_and_add() {
        let below = below();
        let mut fields = Overlay::new(&below);
        fields.remove(&CONNECTION);
        fields.set(HOST, &b"other"[..]);
        fields.append(VIA, &b"1.1 c"[..]);
        fields.append(ACCEPT, &b"*/*"[..]);
        assert_eq!(seen(&fields), ["accept: */*", "host: other", "via: 1.0 a|1.0 b|1.1 c"]);
        assert_eq!(fields.get_all(&CONNECTION).count(), 0);
    }

    #[test]
    fn later_changes_win() {
        let below = below();
        let mut fields = Overlay::new(&below);
        fields.append(VIA, &b"1.1 c"[..]);
        fields.remove(&VIA);
        fields.append(VIA, &b"1.1 d"[..]);
        fields.append(VIA, &b"1.1 e"[..]);
        fields.set(HOST, &b"other"[..]);
        fields.remove(&HOST);
        assert_eq!(seen(&fields), ["connection: close", "via: 1.1 d|1.1 e"]);
    }

    #[test]
    fn one_host_is_left() {
        let below = below();
        let host = |change: fn(&mut Overlay<'_>)| {
            let mut fields = Overlay::new(&below);
            change(&mut fields);
            fields.settle_host(b"upstream");
            String::from_utf8(fields.values(&HOST).join(&b"|"[..])).unwrap()
        };
        assert_eq!(host(|_| {}), "h");
        assert_eq!(host(|fields| fields.remove(&HOST)), "upstream");
        assert_eq!(host(|fields| fields.set(HOST, &b""[..])), "upstream");
        assert_eq!(host(|fields| fields.set(HOST, &b"set"[..])), "set");
        assert_eq!(host(|fields| fields.append(HOST, &b"last"[..])), "last");
    }

    #[test]
    fn a_value_that_would_split_the_head_is_noticed() {
        let below = below();
        let mut fields = Overlay::new(&below);
        Fields::set(&mut fields, ACCEPT, FieldValue::Text(b"tab\tand \xC3\xA9"[..].into()));
        assert_eq!(fields.invalid(), None);
        Fields::append(&mut fields, ACCEPT, FieldValue::Text(b"a\r\nX-Evil: 1"[..].into()));
        assert_eq!(fields.invalid(), Some(&ACCEPT));
    }
}
