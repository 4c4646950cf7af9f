//! DNS on the wire (RFC 1035): a question, and what an answer says to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
    Txt,
    /// The servers of a zone.
    Ns,
    /// What only the top of a zone has.
    Soa,
    /// What the name itself is another name for.
    Cname,
}

impl Kind {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => CNAME,
            Self::Soa => SOA,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }

    /// Whether it is asked about what a name stands for, too.
    fn follows_aliases(self) -> bool {
        !matches!(self, Self::Ns | Self::Soa | Self::Cname)
    }
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    Srv(Srv),
    /// A text's strings, put together.
    Text(Vec<u8>),
    /// A server of the zone, or what the name is another name for.
    Name(String),
    /// The name is the top of a zone.
    ZoneStart,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The lowest comes first.
    pub priority: u16,
    /// How often it is to be chosen among those of its priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host's name.
    pub target: String,
}

/// What an answer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These records; none if the name has none of that kind.
    Records(Vec<Record>),
    /// There is no such name.
    NoName,
    /// The answer does not fit; it can be had over TCP.
    Truncated,
    /// The server can't or won't say.
    Failed,
}

pub(super) const CLASS_IN: u16 = 1;
const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
/// A name has so many bytes at most, and so many labels.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// So many names may lead to each other, in one answer.
const ALIASES_MAX: usize = 16;
/// What follows another place may do so only so often.
const JUMPS_MAX: usize = 32;
/// So many records of one answer are used.
const RECORDS_MAX: usize = 256;
/// The UDP payload that we take (the opt record of RFC 6891).
pub(super) const UDP_BYTES_MAX: u16 = 1232;

/// A question for `name`; `None` if that is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    // Recursion is desired. One question, and one additional record.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    write_name(&mut out, name)?;
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    let [high, low] = UDP_BYTES_MAX.to_be_bytes();
    out.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    Some(out)
}

/// Writes a name's labels; `None` if it is no name.
pub(super) fn write_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_BYTES_MAX - 2 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if label.is_empty()
            || label.len() > LABEL_BYTES_MAX
            || !label.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return None;
        }
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    Some(())
}

/// Reads an answer to `asked`, which [`question`] has made. `None` if it is none: someone else's, or malformed.
pub(super) fn answer(asked: &[u8], bytes: &[u8], kind: Kind) -> Option<Answer> {
    let mut reader = Reader { bytes, at: 0 };
    let flags = {
        let same_id = reader.take(2)? == &asked[..2];
        let flags = reader.number()?;
        // It must be an answer, to an ordinary query, with our own number.
        if !same_id || flags & 0xf800 != 0x8000 {
            return None;
        }
        flags
    };
    let (questions, answers) = (reader.number()?, reader.number()?);
    reader.take(4)?;
    if questions != 1 {
        return None;
    }
    let mut question = Reader { bytes: asked, at: 12 };
    let asked_name = question.name()?;
    let name = reader.name()?;
    if !name.eq_ignore_ascii_case(&asked_name) || reader.take(4)? != question.take(4)? {
        return None;
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Answer::NoName),
        _ => return Some(Answer::Failed),
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        let owner = reader.name()?;
        let (number, class) = (reader.number()?, reader.number()?);
        reader.take(4)?;
        let Some(data) = reader.data(number, class)? else { continue };
        if found.len() < RECORDS_MAX {
            found.push((owner, data));
        }
    }
    Some(Answer::Records(follow(name, &found, kind)))
}

enum Data {
    Record(u16, Record),
    Alias(String),
}

/// The records of `name`, or of what it is another name for.
fn follow(mut name: String, found: &[(String, Data)], kind: Kind) -> Vec<Record> {
    if kind == Kind::Cname {
        let own = found.iter().filter(|(owner, _)| owner.eq_ignore_ascii_case(&name));
        let alias = |data: &Data| if let Data::Alias(alias) = data { Some(alias.clone()) } else { None };
        return own.filter_map(|(_, data)| alias(data).map(Record::Name)).collect();
    }
    for _ in 0..ALIASES_MAX {
        let of_name = || found.iter().filter(|(owner, _)| owner.eq_ignore_ascii_case(&name));
        let records: Vec<Record> = of_name()
            .filter_map(|(_, data)| match data {
                Data::Record(number, record) if *number == kind.number() => Some(record.clone()),
                _ => None,
            })
            .collect();
        let alias =
            of_name().find_map(|(_, data)| if let Data::Alias(alias) = data { Some(alias) } else { None });
        match alias {
            Some(alias) if records.is_empty() && kind.follows_aliases() => name.clone_from(alias),
            _ => return records,
        }
    }
    Vec::new()
}

/// The strings of a text, put together (RFC 1035 3.3.14).
fn strings(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len());
    while let Some((length, rest)) = bytes.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        text.extend_from_slice(string);
        bytes = rest;
    }
    Some(text)
}

pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// A record's data; nothing if it is of a kind that nobody asks for.
    #[expect(clippy::option_option, reason = "malformed data is not the same as none that counts")]
    fn data(&mut self, number: u16, class: u16) -> Option<Option<Data>> {
        let length = usize::from(self.number()?);
        // Names in it may have their ends elsewhere in the message.
        let mut reader = Reader { bytes: self.bytes, at: self.at };
        let bytes = self.take(length)?;
        let data = match (number, class) {
            (1, CLASS_IN) => {
                let ip: [u8; 4] = bytes.try_into().ok()?;
                return Some(Some(Data::Record(1, Record::Address(Ipv4Addr::from(ip).into()))));
            }
            (28, CLASS_IN) => {
                let ip: [u8; 16] = bytes.try_into().ok()?;
                return Some(Some(Data::Record(28, Record::Address(Ipv6Addr::from(ip).into()))));
            }
            (2, CLASS_IN) => Data::Record(2, Record::Name(reader.name()?)),
            // Its data have a mailbox for a name, which needs not be one of ours, and nothing that counts.
            (SOA, CLASS_IN) => return Some(Some(Data::Record(SOA, Record::ZoneStart))),
            (16, CLASS_IN) => return strings(bytes).map(|text| Some(Data::Record(16, Record::Text(text)))),
            (33, CLASS_IN) => {
                let (priority, weight, port) = (reader.number()?, reader.number()?, reader.number()?);
                let target = reader.name()?;
                Data::Record(33, Record::Srv(Srv { priority, weight, port, target }))
            }
            (CNAME, CLASS_IN) => Data::Alias(reader.name()?),
            _ => return Some(None),
        };
        (reader.at == self.at).then_some(Some(data))
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(part)
    }

    pub(super) fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name with a dot at its end. Its end may stand elsewhere in the message.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut end = None;
        let mut jumps = 0;
        loop {
            match *self.bytes.get(at)? {
                0 => {
                    at += 1;
                    break;
                }
                length @ 1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + usize::from(length))?;
                    // What could be taken for another part of a name, or of a line, is no label of ours.
                    if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
                        return None;
                    }
                    name.push_str(std::str::from_utf8(label).ok()?);
                    name.push('.');
                    if name.len() > NAME_BYTES_MAX {
                        return None;
                    }
                    at += 1 + label.len();
                }
                high @ 0xc0.. => {
                    jumps += 1;
                    if jumps > JUMPS_MAX {
                        return None;
                    }
                    let low = *self.bytes.get(at + 1)?;
                    end.get_or_insert(at + 2);
                    at = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(at);
        if name.is_empty() {
            name.push('.');
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these records behind the question of `asked`; a record is its owner, kind and data.
    fn answered(asked: &[u8], flags: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let question_end = asked.len() - 11;
        let mut out = asked[..2].to_vec();
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&[0, 0, 0, 0]);
        out.extend_from_slice(&asked[12..question_end]);
        for (owner, kind, data) in records {
            out.extend_from_slice(owner);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }

    /// The name of the question itself.
    const SAME: &[u8] = &[0xc0, 12];

    fn ip(text: &str) -> Record {
        Record::Address(text.parse().unwrap())
    }

    #[test]
    fn a_question_has_its_labels_and_nothing_that_is_no_name() {
        let asked = question(0x1234, "ab.example.", Kind::Srv).unwrap();
        assert_eq!(asked[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(asked[12..28], *b"\x02ab\x07example\0\0\x21\0\x01"[..].first_chunk::<16>().unwrap());
        for name in ["", ".", "a..b", "a b", "a\r\nb", &"x".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    #[test]
    fn records_of_the_name_and_of_what_it_stands_for_are_found() {
        let asked = question(7, "a.test", Kind::A).unwrap();
        let plain = answered(&asked, 0x8180, &[(SAME, 1, &[192, 0, 2, 1]), (SAME, 28, &[0; 16])]);
        assert_eq!(answer(&asked, &plain, Kind::A), Some(Answer::Records(vec![ip("192.0.2.1")])));
        let aliased = answered(
            &asked,
            0x8180,
            &[
                (SAME, 5, b"\x01b\x04TEST\0"),
                (b"\x01B\x04test\0", 1, &[192, 0, 2, 2]),
                (b"\x01c\x04test\0", 1, &[192, 0, 2, 3]),
            ],
        );
        assert_eq!(answer(&asked, &aliased, Kind::A), Some(Answer::Records(vec![ip("192.0.2.2")])));
        let asked = question(7, "_s._tcp.test", Kind::Srv).unwrap();
        let data = b"\0\x01\0\x02\x1f\x90\x01h\xc0\x14";
        let srv = Srv { priority: 1, weight: 2, port: 8080, target: "h._tcp.test.".into() };
        let found = answered(&asked, 0x8180, &[(SAME, 33, &data[..8]), (SAME, 33, data)]);
        // The first of them is cut short, so the whole answer is in doubt.
        assert_eq!(answer(&asked, &found, Kind::Srv), None);
        let mut data = data.to_vec();
        data[9] = 12 + 3;
        let found = answered(&asked, 0x8180, &[(SAME, 33, &data)]);
        assert_eq!(answer(&asked, &found, Kind::Srv), Some(Answer::Records(vec![Record::Srv(srv)])));
    }

    #[test]
    fn what_a_zone_says_of_itself_belongs_to_the_name_alone() {
        let of_test = |kind| question(7, "a.test", kind).unwrap();
        let aliased: &[(&[u8], u16, &[u8])] =
            &[(SAME, 5, b"\x01b\x04test\0"), (b"\x01b\x04test\0", 6, &[0; 22])];
        for (kind, expected) in [
            (Kind::Soa, Vec::new()),
            (Kind::Ns, Vec::new()),
            (Kind::Cname, vec![Record::Name("b.test.".into())]),
        ] {
            let asked = of_test(kind);
            assert_eq!(
                answer(&asked, &answered(&asked, 0x8180, aliased), kind),
                Some(Answer::Records(expected))
            );
        }
        // A mailbox may hold what no host name holds.
        let asked = of_test(Kind::Soa);
        let start = answered(&asked, 0x8180, &[(SAME, 6, b"\x01n\0\x03a.b\0aaaabbbbccccddddeeee")]);
        assert_eq!(answer(&asked, &start, Kind::Soa), Some(Answer::Records(vec![Record::ZoneStart])));
        let asked = of_test(Kind::Ns);
        let servers = answered(&asked, 0x8180, &[(SAME, 2, b"\x01n\xc0\x0e")]);
        let expected = vec![Record::Name("n.test.".into())];
        assert_eq!(answer(&asked, &servers, Kind::Ns), Some(Answer::Records(expected)));
    }

    #[test]
    fn a_text_is_its_strings_put_together() {
        let asked = question(7, "a.test", Kind::Txt).unwrap();
        let read = |data| answer(&asked, &answered(&asked, 0x8180, &[(SAME, 16, data)]), Kind::Txt);
        let text = |text: &[u8]| Some(Answer::Records(vec![Record::Text(text.to_vec())]));
        assert_eq!(read(b"\x02ab\x01c\0"), text(b"abc"));
        assert_eq!(read(b"\x02\xff "), text(b"\xff "));
        assert_eq!(read(b"\x03ab"), None);
    }

    #[test]
    fn an_answer_tells_why_it_has_none() {
        let asked = question(7, "a.test", Kind::A).unwrap();
        for (flags, expected) in [
            (0x8180, Answer::Records(Vec::new())),
            (0x8183, Answer::NoName),
            (0x8182, Answer::Failed),
            (0x8185, Answer::Failed),
            (0x8380, Answer::Truncated),
        ] {
            assert_eq!(answer(&asked, &answered(&asked, flags, &[]), Kind::A), Some(expected));
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_none() {
        let asked = question(7, "a.test", Kind::A).unwrap();
        let other = |id, name, kind| {
            let other = question(id, name, kind).unwrap();
            answered(&other, 0x8180, &[(SAME, 1, &[192, 0, 2, 1])])
        };
        assert!(answer(&asked, &other(7, "a.test", Kind::A), Kind::A).is_some());
        assert!(answer(&asked, &other(7, "A.TEST", Kind::A), Kind::A).is_some());
        for bytes in [
            other(8, "a.test", Kind::A),
            other(7, "b.test", Kind::A),
            other(7, "a.test", Kind::Aaaa),
            answered(&asked, 0x0180, &[]),
            answered(&asked, 0x8180, &[(SAME, 1, &[192, 0, 2])]),
            // A name that leads to itself.
            answered(&asked, 0x8180, &[(&[0xc0, 24], 1, &[192, 0, 2, 1])]),
            answered(&asked, 0x8180, &[(b"\x03a.b\0", 1, &[192, 0, 2, 1])]),
            answered(&asked, 0x8180, &[(&[0x80, 1], 1, &[192, 0, 2, 1])]),
        ] {
            assert_eq!(answer(&asked, &bytes, Kind::A), None, "{bytes:?}");
        }
        let whole = other(7, "a.test", Kind::A);
        for cut in 0..whole.len() {
            assert_eq!(answer(&asked, &whole[..cut], Kind::A), None, "{cut}");
        }
    }
}
