//! FastCGI's records: how a request is cut into them, and how an answer is put together again
//! (<https://fastcgi-archives.github.io/FastCGI_Specification.html>).

use bytes::{Buf as _, Bytes};

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
/// Each connection carries one request, so its number is always the same.
const REQUEST_ID: u16 = 1;
const HEADER_BYTES: usize = 8;
/// The most that a record of ours carries: a multiple of eight, so that there is nothing to pad.
pub(in crate::http::upstream) const RECORD_BYTES_MAX: usize = 65_528;

/// A name or value of a variable that does not fit into one record, as responders want it to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("variable {0} is too long for FastCGI")]
pub struct VariableTooLong(pub String);

fn header(kind: u8, content_bytes: usize) -> [u8; HEADER_BYTES] {
    let [id_high, id_low] = REQUEST_ID.to_be_bytes();
    // No record of ours is longer than RECORD_BYTES_MAX.
    let [length_high, length_low] = u16::try_from(content_bytes).unwrap_or(u16::MAX).to_be_bytes();
    [VERSION, kind, id_high, id_low, length_high, length_low, 0, 0]
}

/// The start of a request: who should answer it, and its variables.
///
/// # Errors
/// [`VariableTooLong`].
pub(super) fn begin<'a>(
    variables: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Vec<u8>, VariableTooLong> {
    let mut out = Vec::with_capacity(2048);
    out.extend_from_slice(&header(BEGIN_REQUEST, 8));
    // A responder (1), and no further request on the connection (no flags).
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut start = open_params(&mut out);
    for (name, value) in variables {
        let length = size_bytes(name) + size_bytes(value) + name.len() + value.len();
        if length > RECORD_BYTES_MAX {
            return Err(VariableTooLong(String::from_utf8_lossy(name).into_owned()));
        }
        // php-fpm reads record by record: no variable may lie across two.
        if out.len() - start - HEADER_BYTES + length > RECORD_BYTES_MAX {
            close_params(&mut out, start);
            start = open_params(&mut out);
        }
        write_size(&mut out, name);
        write_size(&mut out, value);
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    close_params(&mut out, start);
    out.extend_from_slice(&header(PARAMS, 0));
    Ok(out)
}

fn open_params(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    start
}

fn close_params(out: &mut [u8], start: usize) {
    let length = out.len() - start - HEADER_BYTES;
    out[start..start + HEADER_BYTES].copy_from_slice(&header(PARAMS, length));
}

fn size_bytes(text: &[u8]) -> usize {
    if text.len() < 128 { 1 } else { 4 }
}

fn write_size(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(short) if short < 128 => out.push(short),
        // Longer ones than a record holds were refused before.
        _ => {
            let long = u32::try_from(text.len()).unwrap_or(u32::MAX) | 1 << 31;
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
}

/// What goes before so much of the body, [`RECORD_BYTES_MAX`] at most; before nothing it is the end.
pub(in crate::http::upstream) fn stdin(bytes: usize) -> Bytes {
    Bytes::copy_from_slice(&header(STDIN, bytes))
}

/// What a record has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A part of the answer.
    Answer(Bytes),
    /// A part of what the responder has to complain of.
    Complaint(Bytes),
    /// No further part of the answer will come.
    AnswerEnds,
    /// The responder is done.
    End,
    /// More bytes are needed.
    More,
}

/// Takes records apart, wherever their bytes were cut in two.
#[derive(Debug, Default)]
pub(super) struct Records {
    head: Vec<u8>,
    kind: u8,
    content_left: usize,
    padding_left: usize,
    end: Vec<u8>,
    answer_ended: bool,
    is_over: bool,
}

impl Records {
    /// Whether a record has begun and not ended.
    pub(super) fn answer_has_ended(&self) -> bool {
        self.answer_ended
    }

    /// Takes the next piece out of `bytes`.
    ///
    /// # Errors
    /// It is no record that a responder may send.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Result<Piece, &'static str> {
        loop {
            if self.is_over {
                return Ok(Piece::End);
            }
            if bytes.is_empty() {
                return Ok(Piece::More);
            }
            if self.content_left > 0 {
                let content = bytes.split_to(self.content_left.min(bytes.len()));
                self.content_left -= content.len();
                match self.kind {
                    STDOUT => return Ok(Piece::Answer(content)),
                    STDERR => return Ok(Piece::Complaint(content)),
                    _ => self.take_end(&content)?,
                }
            } else if self.padding_left > 0 {
                let padding = self.padding_left.min(bytes.len());
                bytes.advance(padding);
                self.padding_left -= padding;
            } else {
                self.head.push(bytes.get_u8());
                if self.head.len() == HEADER_BYTES && self.open()? {
                    return Ok(Piece::AnswerEnds);
                }
            }
        }
    }

    /// Reads a record's header. Whether it is the one that ends the answer is the result.
    fn open(&mut self) -> Result<bool, &'static str> {
        let [version, kind, id_high, id_low, length_high, length_low, padding, _] = self.head[..] else {
            return Ok(false);
        };
        self.head.clear();
        if version != VERSION {
            return Err("no FastCGI record");
        }
        if u16::from_be_bytes([id_high, id_low]) != REQUEST_ID {
            return Err("a FastCGI record of another request");
        }
        let length = u16::from_be_bytes([length_high, length_low]);
        match (kind, length) {
            (STDOUT, _) if self.answer_ended => return Err("more of an answer that had ended"),
            (STDOUT | STDERR, _) | (END_REQUEST, 8) => {}
            (END_REQUEST, _) => return Err("a malformed FastCGI end"),
            _ => return Err("a FastCGI record that is none of a responder's"),
        }
        self.kind = kind;
        self.content_left = length.into();
        self.padding_left = padding.into();
        self.answer_ended |= kind == STDOUT && length == 0;
        Ok(kind == STDOUT && length == 0)
    }

    fn take_end(&mut self, content: &[u8]) -> Result<(), &'static str> {
        self.end.extend_from_slice(content);
        if self.end.len() < 8 {
            return Ok(());
        }
        self.is_over = true;
        // The application's own status, in the first four bytes, says nothing of the answer.
        match self.end[4] {
            0 => Ok(()),
            1 => Err("the FastCGI responder takes one request at a time"),
            2 => Err("the FastCGI responder is overloaded"),
            _ => Err("the FastCGI responder did not take the request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let mut head = header(kind, content.len());
        head[6] = padding;
        [&head[..], content, &vec![b'p'; padding.into()]].concat()
    }

    fn read(bytes: &[u8], step: usize) -> Result<(String, String), &'static str> {
        let mut records = Records::default();
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        for part in bytes.chunks(step) {
            let mut part = Bytes::copy_from_slice(part);
            loop {
                match records.next(&mut part)? {
                    Piece::Answer(bytes) => answer.extend_from_slice(&bytes),
                    Piece::Complaint(bytes) => complaint.extend_from_slice(&bytes),
                    Piece::AnswerEnds => answer.push(b'|'),
                    Piece::More => break,
                    Piece::End => {
                        let text = |bytes| String::from_utf8(bytes).unwrap();
                        return Ok((text(answer), text(complaint)));
                    }
                }
            }
        }
        Err("more is needed")
    }

    #[test]
    fn an_answer_is_put_together_however_it_was_cut() {
        let bytes = [
            record(STDOUT, b"Status: 200\r\n", 3),
            record(STDERR, b"oh", 6),
            record(STDERR, b"", 0),
            record(STDOUT, b"\r\nbody", 0),
            record(STDOUT, b"", 8),
            record(END_REQUEST, &[0, 0, 0, 9, 0, 0, 0, 0], 0),
        ]
        .concat();
        for step in [1, 2, 7, 8, 9, 1000] {
            assert_eq!(read(&bytes, step), Ok(("Status: 200\r\n\r\nbody|".into(), "oh".into())), "{step}");
        }
    }

    #[test]
    fn what_no_responder_may_send_is_refused() {
        let end = |status: u8| record(END_REQUEST, &[0, 0, 0, 0, status, 0, 0, 0], 0);
        let with = |at: usize, byte: u8| {
            let mut bytes = record(STDOUT, b"x", 0);
            bytes[at] = byte;
            bytes
        };
        for (bytes, says) in [
            (with(0, 2), "no FastCGI record"),
            (with(0, b'H'), "no FastCGI record"),
            (with(2, 1), "another request"),
            (with(3, 0), "another request"),
            (with(1, STDIN), "none of a responder's"),
            (with(1, 10), "none of a responder's"),
            (with(1, END_REQUEST), "malformed FastCGI end"),
            ([record(STDOUT, b"", 0), record(STDOUT, b"x", 0)].concat(), "had ended"),
            (end(1), "one request at a time"),
            (end(2), "overloaded"),
            (end(3), "did not take"),
            (record(STDOUT, b"x", 0), "more is needed"),
        ] {
            let error = read(&bytes, 1000).unwrap_err();
            assert!(error.contains(says), "{error}: {bytes:?}");
        }
    }

    /// The records of a request: their kinds and contents.
    fn records(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while let [1, kind, 0, 1, high, low, 0, 0, rest @ ..] = bytes {
            let (content, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            records.push((*kind, content.to_vec()));
            bytes = rest;
        }
        assert_eq!(bytes, b"");
        records
    }

    #[test]
    fn variables_are_never_cut_in_two() {
        let long = vec![b'v'; 40_000];
        let variables: [(&[u8], &[u8]); 3] = [(b"A", b"1"), (b"LONG", &long), (b"LONGER", &long)];
        let written = records(&begin(variables.into_iter()).unwrap());
        let kinds: Vec<u8> = written.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [BEGIN_REQUEST, PARAMS, PARAMS, PARAMS]);
        assert_eq!(written[0].1, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written[1].1[..9], [1, 1, b'A', b'1', 4, 0x80, 0, 0x9c, 0x40]);
        assert_eq!(written[1].1.len(), 4 + 5 + 4 + 40_000);
        assert_eq!(written[2].1.len(), 5 + 6 + 40_000);
        assert!(written[3].1.is_empty());
        let longest = vec![b'v'; RECORD_BYTES_MAX];
        let error = begin([(&b"TOO"[..], &longest[..])].into_iter()).unwrap_err();
        assert_eq!(error, VariableTooLong("TOO".into()));
    }
}
