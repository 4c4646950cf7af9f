use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Request;

use crate::http::{Body, Exchange, Response};
use crate::modules::testing::{Site, site, text, try_site};

/// A folder `site` with files of the same date beside a file that is none of the site's.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("outside.txt", "outside"),
        ("site/index.html", "<h1>home</h1>"),
        ("site/a.txt", "0123456789abcdefghij"),
        ("site/noext", "plain"),
        ("site/sub/index.html", "sub"),
        ("site/bare/x.txt", "x"),
        ("site/app.js", "plain script"),
        ("site/app.js.gz", "gzip script"),
        ("site/app.js.br", "br script"),
        ("site/err.html", "error page"),
        ("site/.env", "SECRET"),
    ] {
        write(&dir.path().join(name), content.as_bytes());
    }
    dir
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
}

/// A site that serves such a folder.
pub(super) fn server(lines: &str) -> (tempfile::TempDir, Site) {
    let dir = folder();
    let site = site(&format!("root * {}/site\n{lines}", dir.path().display()));
    (dir, site)
}

pub(super) fn asked(site: &Site, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site.serve(&mut Exchange::for_test(request.body(Body::Empty).unwrap()))
}

pub(super) fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn files_are_served_with_what_is_known_of_them() {
    let (_dir, site) = server("file_server");
    let response = asked(&site, "GET", "/a.txt", &[]);
    for (name, expected) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "20"),
        ("accept-ranges", "bytes"),
        ("etag", "\"cwyvpelgpse8-k\""),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(field(&response, name), expected, "{name}");
    }
    assert_eq!(text(response), (200, "0123456789abcdefghij".into()));
    let untyped = asked(&site, "GET", "/noext", &[]);
    assert!(!untyped.headers().contains_key("content-type"));
    assert!(untyped.extensions().get::<crate::http::Untyped>().is_some());
    let head = asked(&site, "HEAD", "/a.txt", &[]);
    assert_eq!(field(&head, "content-length"), "20");
    assert_eq!(text(head), (200, String::new()));
}

#[test]
fn folders_have_an_index_or_are_not_there() {
    let (_dir, site) = server("file_server");
    for (target, status, body) in [
        ("/", 200, "<h1>home</h1>"),
        ("/sub/", 200, "sub"),
        ("/bare/", 404, ""),
        ("/bare", 404, ""),
        ("/none", 404, ""),
        ("/a.txt/x", 400, ""),
        ("/a%00.txt", 400, ""),
    ] {
        assert_eq!(site.get(target, &[]), (status, body.into()), "{target}");
    }
    let (_dir, site) = server("file_server {\nindex none x.txt\n}");
    assert_eq!(site.get("/bare/", &[]).1, "x");
    assert_eq!(site.get("/sub/", &[]).0, 404);
}

#[test]
fn every_file_has_one_path() {
    let (_dir, site) = server("file_server");
    for (target, location) in
        [("/sub", "/sub/"), ("/sub?q=1", "/sub/?q=1"), ("/a.txt/", "/a.txt"), ("//sub", "/sub/")]
    {
        let response = asked(&site, "GET", target, &[]);
        assert_eq!(field(&response, "location"), location, "{target}");
        let link = format!("<a href=\"{location}\">Permanent Redirect</a>.\n\n");
        assert_eq!(text(response), (308, link), "{target}");
    }
    let (_dir, site) = server("file_server {\ndisable_canonical_uris\n}");
    assert_eq!(site.get("/sub", &[]), (200, "sub".into()));
    assert_eq!(site.get("/a.txt/", &[]).0, 200);
    let (_dir, site) = server("rewrite /x /sub\nfile_server");
    assert_eq!(site.get("/x", &[]), (200, "sub".into()), "a rewritten name is nobody's path");
    let (_dir, site) = server("handle_path /p/* {\nfile_server\n}");
    assert_eq!(field(&asked(&site, "GET", "/p/sub", &[]), "location"), "/p/sub/");
}

#[test]
fn nothing_leads_out_of_the_root() {
    let (dir, site) = server("file_server");
    for target in [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/sub/../../outside.txt",
        "/.%2e/outside.txt",
        "/..%5coutside.txt",
        "//../outside.txt",
        "/sub/%2e%2e%2f%2e%2e%2foutside.txt",
    ] {
        assert_eq!(site.get(target, &[]).0, 404, "{target}");
    }
    // A link is the administrator's word, wherever it leads.
    symlink(dir.path().join("outside.txt"), dir.path().join("site/link.txt")).unwrap();
    assert_eq!(site.get("/link.txt", &[]), (200, "outside".into()));
    symlink("loop", dir.path().join("site/loop")).unwrap();
    assert_eq!(site.get("/loop", &[]).0, 400);
}

#[test]
fn names_are_bytes() {
    let (dir, site) = server("file_server");
    for name in [&b"\xff\xfe"[..], b"a b", b"back\\slash", "ä".as_bytes(), b"a?b#c%d", b"line\nend"] {
        write(&dir.path().join("site").join(std::ffi::OsStr::from_bytes(name)), b"odd");
        let target: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(site.get(&format!("/{target}"), &[]), (200, "odd".into()), "{target}");
    }
}

#[test]
fn what_has_no_end_is_not_there() {
    let (dir, site) = server("file_server");
    let pipe = dir.path().join("site/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("site/socket")).unwrap();
    symlink("/dev/zero", dir.path().join("site/zero")).unwrap();
    for target in ["/pipe", "/socket", "/zero"] {
        assert_eq!(site.get(target, &[]).0, 404, "{target}");
    }
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let (dir, site) = server("file_server");
    let path = dir.path().join("site/a.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read anything.
    let expected = if fs::File::open(&path).is_ok() { 200 } else { 403 };
    assert_eq!(site.get("/a.txt", &[]).0, expected);
}

#[test]
fn hidden_files_are_not_there() {
    let (dir, site) = server("file_server {\nhide .env *.js sub\n}");
    for target in ["/.env", "/app.js", "/sub/", "/sub/index.html"] {
        assert_eq!(site.get(target, &[]).0, 404, "{target}");
    }
    assert_eq!(site.get("/app.js.gz", &[]).0, 200);
    let root = dir.path().display();
    let by_path = crate::modules::testing::site(&format!(
        "root * {root}/site\nfile_server {{\nhide {root}/site/sub {{query.h}}\n}}"
    ));
    assert_eq!(by_path.get("/sub/index.html", &[]).0, 404);
    assert_eq!(by_path.get("/a.txt", &[]).0, 200);
    assert_eq!(by_path.get("/a.txt?h=a.txt", &[]).0, 404);
}

#[test]
fn other_methods_are_not_allowed_once_there_is_a_file() {
    let (_dir, site) = server("file_server");
    let response = asked(&site, "POST", "/a.txt", &[]);
    assert_eq!((response.status().as_u16(), field(&response, "allow")), (405, "GET, HEAD"));
    assert_eq!(asked(&site, "POST", "/none", &[]).status(), 404);
}

#[test]
fn clients_may_have_a_copy_or_want_a_part() {
    let (_dir, site) = server("file_server");
    let get = |name, value| asked(&site, "GET", "/a.txt", &[(name, value)]);
    let same = get("if-none-match", "\"cwyvpelgpse8-k\"");
    assert_eq!((same.status().as_u16(), field(&same, "etag")), (304, "\"cwyvpelgpse8-k\""));
    assert!(
        ["last-modified", "content-type", "content-length"].iter().all(|name| field(&same, name).is_empty())
    );
    assert_eq!(get("if-match", "\"x\"").status(), 412);
    let part = get("range", "bytes=2-4");
    assert_eq!(field(&part, "content-range"), "bytes 2-4/20");
    assert_eq!(field(&part, "content-length"), "3");
    assert_eq!(text(part), (206, "234".into()));
    let parts = get("range", "bytes=0-1,4-5");
    let kind = field(&parts, "content-type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let length: usize = field(&parts, "content-length").parse().unwrap();
    let (status, body) = text(parts);
    assert_eq!((status, body.len()), (206, length));
    assert!(body.contains(&format!("\r\n--{boundary}\r\nContent-Range: bytes 4-5/20\r\n")), "{body}");
    let beyond = get("range", "bytes=20-");
    assert_eq!(field(&beyond, "content-range"), "bytes */20");
    assert!(field(&beyond, "etag").is_empty());
    assert_eq!(text(beyond), (416, "invalid range: failed to overlap\n".into()));
}

#[test]
fn compressed_files_are_sent_to_those_who_take_them() {
    let (_dir, site) = server("file_server {\nprecompressed gzip br\n}");
    for (accept, encoding, body) in [
        ("gzip", "gzip", "gzip script"),
        ("gzip, br", "gzip", "gzip script"),
        ("gzip;q=0.1, br", "br", "br script"),
        ("identity", "", "plain script"),
    ] {
        let response = asked(&site, "GET", "/app.js", &[("accept-encoding", accept)]);
        assert_eq!(field(&response, "content-encoding"), encoding, "{accept}");
        assert_eq!(field(&response, "content-type"), "text/javascript; charset=utf-8");
        assert_eq!(field(&response, "content-length"), body.len().to_string());
        assert_eq!(text(response).1, body, "{accept}");
    }
    let plain = asked(&site, "GET", "/a.txt", &[("accept-encoding", "gzip")]);
    assert_eq!((field(&plain, "content-encoding"), field(&plain, "vary")), ("", "Accept-Encoding"));
}

#[test]
fn tags_may_stand_in_files() {
    let (dir, site) = server("file_server {\netag_file_extensions .sum .etag\n}");
    write(&dir.path().join("site/a.txt.etag"), b"\"own\n\"\n");
    assert_eq!(field(&asked(&site, "GET", "/a.txt", &[]), "etag"), "\"own\"");
    assert_eq!(asked(&site, "GET", "/a.txt", &[("if-none-match", "\"own\"")]).status(), 304);
    write(&dir.path().join("site/a.txt.sum"), &[b'x'; 10_000]);
    assert_eq!(asked(&site, "GET", "/a.txt", &[]).status(), 500);
    let (_dir, site) = server("header Etag `\"set\"`\nfile_server");
    assert_eq!(field(&asked(&site, "GET", "/a.txt", &[]), "etag"), "\"set\"");
}

#[test]
fn errors_have_pages() {
    let (_dir, site) = server(
        "file_server\nhandle_errors {\n@hide expression {err.status_code} == 405\nrespond @hide \"{err.message}\"\n\
         rewrite * /err.html\nfile_server\n}",
    );
    assert_eq!(site.get("/none", &[]), (404, "error page".into()));
    assert_eq!(text(asked(&site, "POST", "/none", &[])), (404, "error page".into()));
    assert_eq!(text(asked(&site, "POST", "/a.txt", &[])), (405, "Method Not Allowed".into()));
    let (_dir, site) = server("file_server\nhandle_errors {\nrewrite * /no-such-page.html\nfile_server\n}");
    assert_eq!(text(asked(&site, "POST", "/a.txt", &[])), (405, String::new()), "a missing page");
    let (_dir, site) = server("file_server {\nstatus {query.s}\n}");
    assert_eq!(site.get("/a.txt?s=503", &[]), (503, "0123456789abcdefghij".into()));
    assert_eq!(site.get("/a.txt?s=x", &[]).0, 500);
    // What was on the answer before stays on its error.
    let (_dir, site) = server("header X-Set 1\nfile_server {\nstatus {query.s}\n}");
    assert_eq!(field(&asked(&site, "GET", "/a.txt?s=x", &[]), "x-set"), "1");
    assert!(try_site("file_server {\nstatus 99\n}").is_err());
}

#[test]
fn what_is_not_there_may_be_for_others() {
    let (_dir, site) = server("route {\nfile_server {\npass_thru\n}\nrespond next\n}");
    assert_eq!(site.get("/none", &[]), (200, "next".into()));
    assert_eq!(site.get("/bare/", &[]), (200, "next".into()));
    assert_eq!(site.get("/a.txt", &[]).1, "0123456789abcdefghij");
}

#[test]
fn long_files_stream() {
    let (dir, site) = server("file_server");
    let content: Vec<u8> = (0..300_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    write(&dir.path().join("site/long"), &content);
    let response = asked(&site, "GET", "/long", &[]);
    assert!(matches!(response.body(), Body::Stream(_)));
    assert_eq!(text(response).1.as_bytes(), content);
    let part = asked(&site, "GET", "/long", &[("range", "bytes=100000-299998")]);
    assert_eq!(text(part).1.as_bytes(), &content[100_000..299_999]);
}

#[test]
fn another_root_and_file_system() {
    let (dir, _) = server("file_server");
    let other = site(&format!("file_server {{\nroot {}/site/sub\n}}", dir.path().display()));
    assert_eq!(other.get("/", &[]).1, "sub");
    let unknown = site("file_server {\nfs nope\n}");
    assert_eq!(unknown.get("/", &[]).0, 404);
}

#[test]
fn what_is_kept_of_a_file_is_never_old() {
    let (dir, site) = server("file_server {\n\tprecompressed br\n}");
    let path = dir.path().join("site/a.txt");
    // A file that was changed a moment ago is not kept.
    std::thread::sleep(Duration::from_millis(1200));
    let get = |headers: &[(&str, &str)]| text(asked(&site, "GET", "/a.txt", headers));
    let is_kept = || crate::http::files::find_kept(path.as_os_str().as_bytes()).is_some();
    assert_eq!(get(&[]), (200, "0123456789abcdefghij".into()));
    // Not every file system is one of those whose files are kept.
    let keeps = is_kept();
    assert_eq!(get(&[]), (200, "0123456789abcdefghij".into()));
    assert_eq!(get(&[("range", "bytes=2-4")]), (206, "234".into()));
    let parts = get(&[("range", "bytes=2-4,8-9")]);
    assert!(parts.0 == 206 && parts.1.contains("\r\n234\r\n") && parts.1.contains("\r\n89\r\n"), "{parts:?}");
    assert_eq!(text(asked(&site, "HEAD", "/a.txt", &[])), (200, String::new()));
    assert_eq!(is_kept(), keeps);
    // Of the same length and date, and still another one.
    write(&path, b"ABCDEFGHIJabcdefghij");
    assert_eq!(get(&[]), (200, "ABCDEFGHIJabcdefghij".into()));
    write(&dir.path().join("site/a.txt.br"), b"shorter");
    assert_eq!(get(&[("accept-encoding", "br")]), (200, "shorter".into()));
    fs::remove_file(&path).unwrap();
    assert_eq!(get(&[]).0, 404);
}
