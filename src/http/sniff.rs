//! Guessing what a body is from its first bytes, as Go does for answers that don't say it, after
//! <https://mimesniff.spec.whatwg.org/>.

/// So many bytes of a body are looked at.
pub const SNIFF_BYTES_MAX: usize = 512;

/// The content type that `start`, the beginning of a body, looks like; `application/octet-stream` if
/// it looks like nothing.
pub fn content_type(start: &[u8]) -> &'static str {
    let start = &start[..start.len().min(SNIFF_BYTES_MAX)];
    let text = trim_white_space(start);
    if HTML_TAGS.iter().any(|tag| is_tag(text, tag)) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let known = SIGNATURES.iter().find(|signature| signature.matches(start));
    if let Some(known) = known {
        return known.content_type;
    }
    if is_mp4(start) {
        return "video/mp4";
    }
    if start.iter().any(|byte| is_binary(*byte)) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

const HTML_TAGS: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// Bytes at a place of their own.
struct Signature {
    /// Pairs of a place and the bytes there.
    parts: &'static [(usize, &'static [u8])],
    content_type: &'static str,
}

impl Signature {
    fn matches(&self, start: &[u8]) -> bool {
        self.parts.iter().all(|(at, bytes)| start.get(*at..).is_some_and(|rest| rest.starts_with(bytes)))
    }
}

const fn begins(with: &'static [(usize, &'static [u8])], content_type: &'static str) -> Signature {
    Signature { parts: with, content_type }
}

static SIGNATURES: [Signature; 32] = [
    begins(&[(0, b"%PDF-")], "application/pdf"),
    begins(&[(0, b"%!PS-Adobe-")], "application/postscript"),
    begins(&[(0, b"\xFE\xFF")], "text/plain; charset=utf-16be"),
    begins(&[(0, b"\xFF\xFE")], "text/plain; charset=utf-16le"),
    begins(&[(0, b"\xEF\xBB\xBF")], "text/plain; charset=utf-8"),
    begins(&[(0, b"\x00\x00\x01\x00")], "image/x-icon"),
    begins(&[(0, b"\x00\x00\x02\x00")], "image/x-icon"),
    begins(&[(0, b"BM")], "image/bmp"),
    begins(&[(0, b"GIF87a")], "image/gif"),
    begins(&[(0, b"GIF89a")], "image/gif"),
    begins(&[(0, b"RIFF"), (8, b"WEBPVP")], "image/webp"),
    begins(&[(0, b"\x89PNG\x0D\x0A\x1A\x0A")], "image/png"),
    begins(&[(0, b"\xFF\xD8\xFF")], "image/jpeg"),
    begins(&[(0, b"FORM"), (8, b"AIFF")], "audio/aiff"),
    begins(&[(0, b"ID3")], "audio/mpeg"),
    begins(&[(0, b"OggS\x00")], "application/ogg"),
    begins(&[(0, b"MThd\x00\x00\x00\x06")], "audio/midi"),
    begins(&[(0, b"RIFF"), (8, b"AVI ")], "video/avi"),
    begins(&[(0, b"RIFF"), (8, b"WAVE")], "audio/wave"),
    begins(&[(0, b"\x1A\x45\xDF\xA3")], "video/webm"),
    begins(&[(34, b"LP")], "application/vnd.ms-fontobject"),
    begins(&[(0, b"\x00\x01\x00\x00")], "font/ttf"),
    begins(&[(0, b"OTTO")], "font/otf"),
    begins(&[(0, b"ttcf")], "font/collection"),
    begins(&[(0, b"wOFF")], "font/woff"),
    begins(&[(0, b"wOF2")], "font/woff2"),
    begins(&[(0, b"\x1F\x8B\x08")], "application/x-gzip"),
    begins(&[(0, b"PK\x03\x04")], "application/zip"),
    begins(&[(0, b"Rar!\x1A\x07\x00")], "application/x-rar-compressed"),
    begins(&[(0, b"Rar!\x1A\x07\x01\x00")], "application/x-rar-compressed"),
    begins(&[(0, b"\x00\x61\x73\x6D")], "application/wasm"),
    begins(&[(0, b".snd")], "audio/basic"),
];

fn trim_white_space(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\t' | b'\n' | 0x0C | b'\r' | b' ')).count();
    &bytes[blank..]
}

/// Whether `text` begins with `tag` in any letter case, and the tag's name ends there.
fn is_tag(text: &[u8], tag: &str) -> bool {
    let Some((name, rest)) = text.split_at_checked(tag.len()) else { return false };
    name.eq_ignore_ascii_case(tag.as_bytes()) && matches!(rest.first(), Some(b' ' | b'>'))
}

/// An ISO base media file: a box that lists its brands, one of which begins with `mp4`.
fn is_mp4(start: &[u8]) -> bool {
    let Some(size) = start.first_chunk().map(|size| u32::from_be_bytes(*size) as usize) else { return false };
    if start.len() < 12 || start.len() < size || size % 4 != 0 || &start[4..8] != b"ftyp" {
        return false;
    }
    // The fourth word is the version, not a brand.
    (8..size).step_by(4).filter(|at| *at != 12).any(|at| start[at..].starts_with(b"mp4"))
}

fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_guessed_by_their_start() {
        for (start, expected) in [
            (&b""[..], "text/plain; charset=utf-8"),
            (b"ok", "text/plain; charset=utf-8"),
            (b"{\"json\": 1}", "text/plain; charset=utf-8"),
            (b"a\x00b", "application/octet-stream"),
            (b"  \n<html>", "text/html; charset=utf-8"),
            (b"<!doctype html>", "text/html; charset=utf-8"),
            (b"<HtMl lang=x>", "text/html; charset=utf-8"),
            (b"<!-- x", "text/html; charset=utf-8"),
            (b"<htmlx>", "text/plain; charset=utf-8"),
            (b"<html", "text/plain; charset=utf-8"),
            (b"\n<?xml version", "text/xml; charset=utf-8"),
            (b"%PDF-1.4", "application/pdf"),
            (b"\x89PNG\x0D\x0A\x1A\x0A", "image/png"),
            (b"RIFF1234WEBPVP8 ", "image/webp"),
            (b"RIFF1234WAVE", "audio/wave"),
            (b"\x1F\x8B\x08\x00", "application/x-gzip"),
            (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video/mp4"),
            (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1", "application/octet-stream"),
        ] {
            assert_eq!(content_type(start), expected, "{start:?}");
        }
    }
}
