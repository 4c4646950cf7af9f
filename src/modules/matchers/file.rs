//! `file`: requests for which a file exists.
//!
//! A path with a slash at its end is that of a folder, any other that of a file. What was found is in
//! `{file_match.relative}`, `{file_match.absolute}`, `{file_match.type}` and `{file_match.remainder}`.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv
//! 	@there file {path} {path}/index.html
//! 	rewrite @there {file_match.relative}
//! 	file_server
//! }
//! ```

use std::borrow::Cow;
use std::fs::{self, Metadata};
use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decode;
use crate::adapt::{Error, MatcherReader, MatcherSyntax};
use crate::config::schema::ModuleSchema;
use crate::http::files::{as_path, clean, escape, expand, is_file_system, join, render_root};
use crate::http::{
    Exchange, HandlerError, Matcher, MatcherType, Provision, ProvisionError, Template, Unknown,
    Value as Named,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    matcher: Some(MatcherType { id: NAME, provision }),
    matcher_syntax: &[MatcherSyntax {
        name: NAME,
        syntax: "file [<files...>] {
	root <path>
	try_files <files...>
	try_policy first_exist|first_exist_fallback|smallest_size|largest_size|most_recently_modified
	split_path <delimiters...>
}",
        parse,
    }],
    schemas: &[ModuleSchema::of::<File>("http.matchers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "file";

/// How one of several files is chosen.
pub(in crate::modules) const TRY_POLICIES: &[&str] =
    &["first_exist", "first_exist_fallback", "largest_size", "smallest_size", "most_recently_modified"];

/// The JSON form (<https://caddyserver.com/docs/json/apps/http/servers/routes/match/file/>).
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct File {
    #[serde(skip_serializing_if = "String::is_empty")]
    fs: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    root: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    try_files: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    try_policy: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    split_path: Vec<String>,
}

fn parse(reader: &mut MatcherReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    let mut file = File::default();
    while cursor.next() {
        file.try_files.extend(cursor.remaining_args());
        while cursor.next_block(0) {
            match cursor.val() {
                "root" => [file.root] = cursor.args()?,
                "try_files" => {
                    file.try_files.extend(cursor.remaining_args());
                    if file.try_files.is_empty() {
                        return Err(cursor.arg_err());
                    }
                }
                "try_policy" => [file.try_policy] = cursor.args()?,
                "split_path" => {
                    file.split_path = cursor.remaining_args();
                    if file.split_path.is_empty() {
                        return Err(cursor.arg_err());
                    }
                }
                word => {
                    return Err(cursor
                        .err(format!("unrecognized subdirective: {word}"))
                        .did_you_mean(word, ["root", "try_files", "try_policy", "split_path"]));
                }
            }
        }
    }
    Ok(json!(file))
}

/// A `file` matcher, compiled.
struct FileMatcher {
    fs: Template,
    root: Template,
    tries: Box<[Try]>,
    shared: Arc<Shared>,
}

/// What a look-up needs of it on the blocking pool.
struct Shared {
    policy: Policy,
    split_path: Box<[Box<[u8]>]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    FirstExist,
    /// The last file is taken if it is there at all, be it a file or a folder.
    FirstExistFallback,
    LargestSize,
    SmallestSize,
    MostRecentlyModified,
}

/// One entry of `try_files`.
struct Try {
    pattern: Template,
    /// Whether it is written with a slash at its end.
    is_folder: bool,
    /// The status that it stands for (`=404`).
    status: Option<StatusCode>,
}

/// An entry for one request.
enum Asked {
    Status(StatusCode),
    Pattern { pattern: Vec<u8>, is_folder: bool },
}

/// A file that may be the one.
#[derive(Clone)]
struct Candidate {
    path: Vec<u8>,
    relative: Vec<u8>,
    remainder: Vec<u8>,
}

/// What a look-up found.
#[derive(Clone)]
enum Found {
    Nothing,
    Status(StatusCode),
    File(Candidate, bool),
}

fn provision(json: &Value, _: &mut Provision<'_>) -> Result<Box<dyn Matcher>, ProvisionError> {
    let config: File = decode(NAME, json)?;
    let or =
        |text: &str, default| Template::compile(if text.is_empty() { default } else { text }, Unknown::Empty);
    let mut files = config.try_files;
    if files.is_empty() {
        files.push("{http.request.uri.path}".to_owned());
    }
    let policy = Policy::parse(&config.try_policy)?;
    let split = |delimiter: &String| delimiter.as_bytes().into();
    Ok(Box::new(FileMatcher {
        fs: or(&config.fs, "{http.vars.fs}"),
        root: or(&config.root, "{http.vars.root}"),
        tries: files.iter().map(|file| Try::compile(file)).collect(),
        shared: Arc::new(Shared { policy, split_path: config.split_path.iter().map(split).collect() }),
    }))
}

impl Policy {
    fn parse(name: &str) -> Result<Self, ProvisionError> {
        Ok(match name {
            "" | "first_exist" => Self::FirstExist,
            "first_exist_fallback" => Self::FirstExistFallback,
            "largest_size" => Self::LargestSize,
            "smallest_size" => Self::SmallestSize,
            "most_recently_modified" => Self::MostRecentlyModified,
            _ => return Err(ProvisionError::invalid(format!("unknown try policy {name}"))),
        })
    }

    /// Whether the first file counts, and a status among them.
    fn is_first(self) -> bool {
        matches!(self, Self::FirstExist | Self::FirstExistFallback)
    }
}

impl Try {
    fn compile(file: &str) -> Self {
        let status = file.strip_prefix('=').and_then(|code| code.parse::<u16>().ok());
        Self {
            pattern: Template::compile(file, Unknown::Empty),
            is_folder: file.ends_with('/'),
            status: status.and_then(|code| StatusCode::from_u16(code).ok()),
        }
    }

    /// What placeholders bring in means itself, whatever stands in it.
    fn ask(&self, policy: Policy, x: &Exchange) -> Asked {
        match self.status {
            Some(status) if policy.is_first() => Asked::Status(status),
            _ => {
                let pattern = self.pattern.render_with(x, |_, value, _| escape(value)).into_owned();
                Asked::Pattern { pattern, is_folder: self.is_folder }
            }
        }
    }
}

impl Matcher for FileMatcher {
    fn matches(&self, x: &mut Exchange) -> Result<bool, HandlerError> {
        let fs = self.fs.render(x);
        if !is_file_system(&fs) {
            tracing::error!(fs = %String::from_utf8_lossy(&fs), "use of unregistered filesystem");
            return Ok(false);
        }
        let root = clean(&render_root(&self.root, x)).into_owned();
        let asked: Vec<Asked> = self.tries.iter().map(|file| file.ask(self.shared.policy, x)).collect();
        let shared = Arc::clone(&self.shared);
        match x.look_up(move || shared.find(&root, &asked)) {
            None | Some(Found::Nothing) => Ok(false),
            Some(Found::Status(status)) => Err(HandlerError::new(status, status.as_str())),
            Some(Found::File(file, is_folder)) => {
                let text = |bytes| Named::Text(Cow::Owned(bytes));
                x.named.set("http.matchers.file.relative", text(file.relative));
                x.named.set("http.matchers.file.absolute", text(file.path));
                x.named.set("http.matchers.file.remainder", text(file.remainder));
                let kind: &[u8] = if is_folder { b"directory" } else { b"file" };
                x.named.set("http.matchers.file.type", Named::Text(Cow::Borrowed(kind)));
                Ok(true)
            }
        }
    }

    fn cost_ns(&self) -> u32 {
        20_000
    }
}

impl Shared {
    fn find(&self, root: &[u8], asked: &[Asked]) -> Found {
        if self.policy.is_first() { self.first(root, asked) } else { self.best(root, asked) }
    }

    fn first(&self, root: &[u8], asked: &[Asked]) -> Found {
        for (index, asked_for) in asked.iter().enumerate() {
            let (pattern, is_folder) = match asked_for {
                Asked::Status(status) => return Found::Status(*status),
                Asked::Pattern { pattern, is_folder } => (pattern, *is_folder),
            };
            let falls_back = self.policy == Policy::FirstExistFallback && index + 1 == asked.len();
            for candidate in self.candidates(root, pattern, is_folder) {
                if falls_back {
                    return Found::File(candidate, false);
                }
                if let Ok(info) = fs::metadata(as_path(&candidate.path))
                    && info.is_dir() == candidate.path.ends_with(b"/")
                {
                    return Found::File(candidate, info.is_dir());
                }
            }
        }
        Found::Nothing
    }

    fn best(&self, root: &[u8], asked: &[Asked]) -> Found {
        let mut best: Option<(Candidate, Metadata)> = None;
        for asked_for in asked {
            let Asked::Pattern { pattern, is_folder } = asked_for else { continue };
            for candidate in self.candidates(root, pattern, *is_folder) {
                let Ok(info) = fs::metadata(as_path(&candidate.path)) else { continue };
                if self.is_better(&info, best.as_ref().map(|(_, info)| info)) {
                    best = Some((candidate, info));
                }
            }
        }
        best.map_or(Found::Nothing, |(candidate, info)| Found::File(candidate, info.is_dir()))
    }

    fn is_better(&self, info: &Metadata, best: Option<&Metadata>) -> bool {
        match self.policy {
            Policy::LargestSize => info.len() > best.map_or(0, Metadata::len),
            // After an empty file any other is taken, as if there had been none.
            Policy::SmallestSize => best.is_none_or(|best| best.len() == 0 || info.len() < best.len()),
            _ => match best.map(Metadata::modified) {
                Some(Ok(best)) => info.modified().is_ok_and(|modified| modified > best),
                _ => true,
            },
        }
    }

    fn candidates(&self, root: &[u8], pattern: &[u8], is_folder: bool) -> Vec<Candidate> {
        let pattern = clean(pattern);
        let (path, remainder) = self.split(&pattern);
        let mut path = path.to_vec();
        if is_folder {
            path.push(b'/');
        }
        let found = expand(&join(root, &path)).into_iter();
        found
            .map(|path| Candidate {
                relative: path.strip_prefix(root).unwrap_or(&path).to_vec(),
                path,
                remainder: remainder.to_vec(),
            })
            .collect()
    }

    /// A path up to the first delimiter at a segment's end, and what follows.
    fn split<'a>(&self, path: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        for delimiter in self.split_path.iter().filter(|delimiter| !delimiter.is_empty()) {
            let at = path.windows(delimiter.len()).position(|part| part.eq_ignore_ascii_case(delimiter));
            let Some(end) = at.map(|at| at + delimiter.len()) else { continue };
            if end == path.len() || path[end] == b'/' {
                return path.split_at(end);
            }
        }
        (path, b"")
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{Site, site, try_site};

    const LINES: &str = "respond \"{http.matchers.file.relative} {http.matchers.file.type} \\
{http.matchers.file.remainder}\"";

    /// A folder with files, and a site that says which of them `lines` finds there.
    fn files(lines: &str) -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a.txt", 3), ("b.txt", 5), ("empty", 0), ("[x]*", 9), ("app.php", 1)] {
            std::fs::write(dir.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let root = dir.path().display();
        let answer = LINES.replace("\\\n", "");
        let site = site(&format!(
            "root * {root}\n@m file {{\n{lines}\n}}\nhandle @m {{\n{answer}\n}}\nrespond none 404"
        ));
        (dir, site)
    }

    #[test]
    fn the_first_file_is_found() {
        let (_dir, site) = files("try_files {path} /none /sub/");
        for (target, found) in [
            ("/a.txt", "/a.txt file "),
            ("/x/../a.txt", "/a.txt file "),
            ("/../../a.txt", "/a.txt file "),
            ("/sub", "/sub/ directory "),
            ("/%5bx%5d*", "/[x]* file "),
            ("/*.txt", "/sub/ directory "),
            ("/a%00", "/sub/ directory "),
        ] {
            assert_eq!(site.get(target, &[]), (200, found.into()), "{target}");
        }
    }

    #[test]
    fn patterns_are_those_of_the_configuration() {
        let (_dir, site) = files("try_files /*.txt");
        assert_eq!(site.get("/", &[]).1, "/a.txt file ");
        let (_dir, site) = files("try_files /s*/");
        assert_eq!(site.get("/", &[]).0, 404);
    }

    #[test]
    fn policies_choose() {
        for (policy, found) in [
            ("smallest_size", "/empty file "),
            ("largest_size", "/b.txt file "),
            ("first_exist", "/b.txt file "),
        ] {
            let files_of = "try_files /none /b.txt /a.txt /empty";
            let (_dir, site) = files(&format!("{files_of}\ntry_policy {policy}"));
            assert_eq!(site.get("/", &[]).1, found, "{policy}");
        }
        let (_dir, site) = files("try_files /empty\ntry_policy largest_size");
        assert_eq!(site.get("/", &[]).0, 404);
    }

    #[test]
    fn a_status_stands_for_itself_under_the_first_policies() {
        let (_dir, site) = files("try_files /none =418 /a.txt");
        assert_eq!(site.get("/", &[]).0, 418);
        let (_dir, site) = files("try_files =418 /a.txt\ntry_policy largest_size");
        assert_eq!(site.get("/", &[]).1, "/a.txt file ");
    }

    #[test]
    fn paths_are_split() {
        let (_dir, site) = files("try_files {path}\nsplit_path .php");
        assert_eq!(site.get("/app.php/x/y", &[]).1, "/app.php file /x/y");
        assert_eq!(site.get("/app.phpx", &[]).0, 404);
    }

    #[test]
    fn it_works_inside_other_matchers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        let root = dir.path().display();
        let text = format!(
            "root * {root}\n@not not file\nrespond @not missing 404\n\
             @both `file('/a') && !file('/none') && {{http.matchers.file.relative}} == '/a'`\nrespond @both both"
        );
        let site = site(&text);
        assert_eq!(site.get("/a", &[]), (200, "both".into()));
        assert_eq!(site.get("/b", &[]), (404, "missing".into()));
        assert!(try_site("@m `file(1)`\nrespond @m x").is_err());
    }
}
