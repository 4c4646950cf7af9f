//! Content types by the extensions of names, as Go's `mime` finds them: some are known, and the machine's
//! own tables say the rest.

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;

use http::HeaderValue;

use crate::http::target;

/// The machine's table in the form of freedesktop.org, where the first entry for an extension counts.
const GLOBS: [&str; 2] = ["/usr/local/share/mime/globs2", "/usr/share/mime/globs2"];
/// Older tables, of which all are read if there is none of the above; the last entry counts.
const MIME_TYPES: [&str; 4] =
    ["/etc/mime.types", "/etc/apache2/mime.types", "/etc/apache/mime.types", "/etc/httpd/conf/mime.types"];
/// A table that is longer than this is none.
const TABLE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The content type of a file of this name; `None` if its extension says nothing.
pub fn by_extension(name: &[u8]) -> Option<HeaderValue> {
    let extension = std::str::from_utf8(target::extension(name)).ok()?;
    table().find(extension)
}

/// Reads the machine's tables now, so that no request has to.
pub fn load() {
    table();
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(Table::of_this_machine)
}

/// Types by extension, each with its dot.
#[derive(Default)]
struct Table {
    exact: HashMap<String, HeaderValue>,
    lower: HashMap<String, HeaderValue>,
}

impl Table {
    fn of_this_machine() -> Self {
        let mut table = Self::builtin();
        if let Some(globs) = GLOBS.iter().find_map(|path| read(path)) {
            table.add_globs(&globs);
            return table;
        }
        let tables: Vec<String> = MIME_TYPES.iter().filter_map(|path| read(path)).collect();
        tables.iter().for_each(|text| table.add_mime_types(text));
        if tables.is_empty() {
            table.add_mime_types(WITHOUT_A_TABLE);
        }
        table
    }

    fn builtin() -> Self {
        let mut table = Self::default();
        table.add_mime_types(BUILTIN);
        table
    }

    fn find(&self, extension: &str) -> Option<HeaderValue> {
        self.exact.get(extension).or_else(|| self.lower.get(&extension.to_lowercase())).cloned()
    }

    fn add(&mut self, extension: String, kind: &str) {
        let is_type = kind.split_once('/').is_some_and(|(kind, of)| !kind.is_empty() && !of.is_empty());
        let kind = match kind.starts_with("text/") && !kind.contains("charset=") {
            true => format!("{kind}; charset=utf-8"),
            false => kind.to_owned(),
        };
        let Ok(kind) = HeaderValue::try_from(kind) else { return };
        if is_type {
            self.lower.insert(extension.to_lowercase(), kind.clone());
            self.exact.insert(extension, kind);
        }
    }

    /// Lines of `weight:type:*.extension`, those with the greatest weight first.
    fn add_globs(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(':');
            let (Some(weight), Some(kind), Some(glob)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Some(extension) = glob.strip_prefix('*').filter(|rest| rest.starts_with('.')) else {
                continue;
            };
            let is_plain = extension.len() > 1 && !extension.contains(['?', '*', '[']);
            if !weight.is_empty() && is_plain && !self.exact.contains_key(extension) {
                self.add(extension.to_owned(), kind);
            }
        }
    }

    /// Lines of a type and its extensions.
    fn add_mime_types(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(kind) = words.next().filter(|kind| !kind.starts_with('#')) else { continue };
            for extension in words.take_while(|word| !word.starts_with('#')) {
                self.add(format!(".{extension}"), kind);
            }
        }
    }
}

fn read(path: &str) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    if !found.is_file() || found.len() > TABLE_BYTES_MAX {
        return None;
    }
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// What Go 1.26 knows by itself.
const BUILTIN: &str = "\
application/json json
application/msword doc
application/octet-stream bin com exe
application/pdf pdf
application/postscript ai eps ps
application/rdf+xml rdf
application/rtf rtf
application/vnd.android.package-archive apk
application/vnd.ms-excel xls
application/vnd.ms-powerpoint ppt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/wasm wasm
application/xhtml+xml xht xhtml
application/gzip gz
application/zip zip
audio/flac flac
audio/mp4 m4a
audio/mpeg mp3
audio/ogg oga ogg opus
audio/wav wav
audio/webm webm
image/apng apng
image/avif avif
image/bmp bmp
image/gif gif
image/jpeg jfif jpeg jpg
image/png png
image/svg+xml svg
image/tiff tif tiff
image/vnd.microsoft.icon ico
image/webp webp
image/x-xbitmap xbm
message/rfc822 eml
text/calendar ics
text/css css
text/csv csv
text/html ehtml htm html shtml
text/javascript js mjs
text/plain text txt
text/vtt vtt
text/xml xbl xml xsl
video/mp4 mp4
video/ogg ogv
";

/// What a machine with a table is sure to have in it, for one that has none: an image with nothing but this
/// program in it.
const WITHOUT_A_TABLE: &str = "\
application/atom+xml atom
application/epub+zip epub
application/java-archive jar
application/ld+json jsonld
application/manifest+json webmanifest
application/rss+xml rss
application/vnd.apple.mpegurl m3u8
application/vnd.debian.binary-package deb
application/vnd.ms-fontobject eot
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.rar rar
application/x-7z-compressed 7z
application/x-bzip2 bz2
application/x-tar tar
application/x-xz xz
application/zstd zst
audio/aac aac
audio/midi mid midi
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/heic heic
image/jxl jxl
text/markdown md markdown
text/vcard vcf
video/mp2t ts
video/quicktime mov
video/webm webm
video/x-matroska mkv
video/x-msvideo avi
";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &Table, extension: &str) -> Option<String> {
        table.find(extension).map(|kind| kind.to_str().unwrap().to_owned())
    }

    #[test]
    fn text_has_a_charset_and_case_counts_only_if_both_are_there() {
        let table = Table::builtin();
        assert_eq!(found(&table, ".html").unwrap(), "text/html; charset=utf-8");
        assert_eq!(found(&table, ".PNG").unwrap(), "image/png");
        assert_eq!(found(&table, ".none"), None);
        assert_eq!(found(&table, ""), None);
    }

    #[test]
    fn the_first_glob_counts_and_what_is_known_stays() {
        let mut table = Table::builtin();
        table.add_globs(
            "# comment\n60:application/x-a:*.a\n50:application/x-b:*.a\n50:text/x-js:*.js\n50:text/x-c:*.C\n\
             50:text/x-lower:*.c\n50:x/y:*.[ab]\nbroken\n50:nothing:*.n",
        );
        assert_eq!(found(&table, ".a").unwrap(), "application/x-a");
        assert_eq!(found(&table, ".js").unwrap(), "text/javascript; charset=utf-8");
        assert_eq!(found(&table, ".C").unwrap(), "text/x-c; charset=utf-8");
        assert_eq!(found(&table, ".c").unwrap(), "text/x-lower; charset=utf-8");
        assert_eq!(found(&table, ".n"), None);
    }

    #[test]
    fn the_last_line_counts() {
        let mut table = Table::builtin();
        table.add_mime_types("# c\napplication/x-one  a b # c\n\ntext/x-two\ta js\n");
        assert_eq!(found(&table, ".a").unwrap(), "text/x-two; charset=utf-8");
        assert_eq!(found(&table, ".b").unwrap(), "application/x-one");
        assert_eq!(found(&table, ".js").unwrap(), "text/x-two; charset=utf-8");
        assert_eq!(found(&table, ".c"), None);
    }

    #[test]
    fn a_name_has_the_type_of_its_last_extension() {
        assert_eq!(by_extension(b"/a/b.css.json").unwrap(), "application/json");
        assert_eq!(by_extension(b"/a.css/b"), None);
        assert_eq!(by_extension(b"/a.\xff"), None);
    }
}
