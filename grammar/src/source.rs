//! The files a configuration was read from, and places in them.

use std::sync::Arc;

/// Which file of a [`SourceMap`] a [`Span`] lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);

/// A stretch of one file, in bytes; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The stretch from the start of `self` to the end of `other`, or `self` if they lie in different files.
    pub fn to(self, other: Span) -> Span {
        if self.file == other.file { Span { end: other.end.max(self.end), ..self } } else { self }
    }
}

/// A line and a column, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineCol {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One file: its name, its text, and where its lines begin.
#[derive(Debug)]
pub struct SourceFile {
    /// Its number in the [`SourceMap`].
    pub id: FileId,
    /// The name it was given, or its absolute path if it was imported.
    pub name: Arc<str>,
    /// What it holds.
    pub text: Arc<str>,
    line_starts: Vec<u32>,
}

impl SourceFile {
    /// Where the byte `offset` lies; beyond the end counts as the end.
    pub fn line_col(&self, offset: u32) -> LineCol {
        let offset = offset.min(self.text.len() as u32);
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1) - 1;
        let before = self.text.get(self.line_starts[line] as usize..offset as usize).unwrap_or("");
        LineCol { line: line as u32 + 1, column: before.chars().count() as u32 + 1 }
    }

    /// The text of a line (from 1), without its line break; empty if there is no such line.
    pub fn line_text(&self, line: u32) -> &str {
        let Some(start) = line.checked_sub(1).and_then(|l| self.line_starts.get(l as usize)) else {
            return "";
        };
        let end = self.line_starts.get(line as usize).map_or(self.text.len(), |next| *next as usize);
        self.text[*start as usize..end].trim_end_matches(['\n', '\r'])
    }
}

/// Every file that was read, in the order of reading; the first one is the Caddyfile itself.
#[derive(Debug, Default, Clone)]
pub struct SourceMap {
    files: Vec<Arc<SourceFile>>,
}

impl SourceMap {
    /// A map without files.
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// Enters a file. Its text must be shorter than 4 GiB, which [`crate::limits::FILE_BYTES_MAX`] ensures.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Arc<SourceFile> {
        let text = text.into();
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect();
        let id = FileId(self.files.len() as u32);
        let file = Arc::new(SourceFile { id, name: name.into(), text, line_starts });
        self.files.push(file.clone());
        file
    }

    /// The file with this number, if it belongs to this map.
    pub fn file(&self, id: FileId) -> Option<&Arc<SourceFile>> {
        self.files.get(id.0 as usize)
    }

    /// All files, in the order of reading.
    pub fn files(&self) -> &[Arc<SourceFile>] {
        &self.files
    }

    /// Line and column at which `span` begins.
    pub fn line_col(&self, span: Span) -> LineCol {
        self.file(span.file).map_or(LineCol { line: 1, column: 1 }, |file| file.line_col(span.start))
    }

    /// The text that `span` covers, as it stands in the file.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file)
            .and_then(|file| file.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }
}

/// Turns the bytes of a file into text. Each byte that is not UTF-8 becomes one U+FFFD, as in Caddy.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let mut map = SourceMap::new();
        let file = map.add("Caddyfile", "a\nüx y\r\n\nz");
        let at = |offset| {
            let place = file.line_col(offset);
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(2), (2, 1));
        assert_eq!(at(4), (2, 2));
        assert_eq!(at(10), (4, 1));
        assert_eq!(at(999), (4, 2));
        assert_eq!(file.line_text(2), "üx y");
        assert_eq!(file.line_text(4), "z");
        assert_eq!(file.line_text(5), "");
    }

    #[test]
    fn each_byte_that_is_no_utf8_becomes_one_replacement_character() {
        assert_eq!(decode(b"a\xe2\x82b\xff"), "a\u{fffd}\u{fffd}b\u{fffd}");
    }
}
