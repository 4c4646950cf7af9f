use super::super::tests::{asked, field, server};
use crate::http::Response;
use crate::modules::testing::{text, try_site};

const JSON: (&str, &str) = ("accept", "application/json");

/// The names that an answer lists.
fn names(response: Response) -> Vec<String> {
    let (status, body) = text(response);
    assert_eq!(status, 200, "{body}");
    let items: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn folders_without_an_index_are_listed() {
    let (_dir, site) = server("file_server {\nbrowse\nhide .env *.js\nindex index.html\n}");
    let list = asked(&site, "GET", "/bare/", &[JSON]);
    assert_eq!(field(&list, "content-type"), "application/json; charset=utf-8");
    assert_eq!(field(&list, "vary"), "Accept, Accept-Encoding");
    assert_eq!(names(list), ["x.txt"]);
    assert_eq!(site.get("/sub/", &[JSON]), (200, "sub".into()));
    assert_eq!(site.get("/none/", &[JSON]).0, 404);
    let plain = asked(&site, "GET", "/bare/", &[("accept", "text/plain")]);
    assert!(text(plain).1.starts_with("Name\tSize\tModified\n----\t----\t--------\nx.txt\t1 B\t"));
    let page = asked(&site, "GET", "/bare/", &[("accept", "text/html,*/*")]);
    assert_eq!(field(&page, "content-type"), "text/html; charset=utf-8");
    assert!(field(&page, "content-security-policy").starts_with("default-src 'none'"));
    assert!(text(page).1.contains("<a href=\"./x.txt\">x.txt</a>"));
}

#[test]
fn hidden_folders_are_not_listed() {
    let (dir, _) = server("file_server");
    let root = dir.path().join("site");
    let lines = |hide: &str| format!("root * {}\nfile_server browse {{\nhide {hide}\n}}", root.display());
    let by_path = crate::modules::testing::site(&lines(&format!("{}/bare {0}/sub", root.display())));
    assert_eq!(by_path.get("/bare/", &[JSON]).0, 404);
    std::fs::remove_file(root.join("index.html")).unwrap();
    let list = names(asked(&by_path, "GET", "/", &[JSON]));
    assert!(!list.iter().any(|name| name == "bare/" || name == "sub/"), "{list:?}");
    assert!(list.iter().any(|name| name == "a.txt"), "{list:?}");
}

#[test]
fn lists_are_in_folders() {
    let (_dir, site) = server(
        "handle_path /p* {\nfile_server browse {\nindex none\n}\n}\nhandle {\n\
                               rewrite /rewritten /bare\nfile_server browse\n}",
    );
    for (target, location) in [("/bare", "/bare/"), ("/p/sub?sort=name", "/p/sub/?sort=name")] {
        let response = asked(&site, "GET", target, &[JSON]);
        assert_eq!((response.status().as_u16(), field(&response, "location")), (308, location), "{target}");
    }
    assert_eq!(names(asked(&site, "GET", "/rewritten", &[JSON])), ["x.txt"]);
    assert_eq!(site.get("/p", &[JSON]).0, 200);
}

#[test]
fn clients_choose_the_order_and_how_much() {
    let (dir, site) = server("file_server {\nbrowse\nindex none\n}");
    let get = |target: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([JSON]).collect();
        asked(&site, "GET", target, &headers)
    };
    assert_eq!(names(get("/", &[]))[..3], ["bare/", "sub/", ".env"]);
    let sorted = get("/?sort=size&order=desc&limit=1", &[]);
    let cookies: Vec<_> = sorted.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["sort=size; HttpOnly; SameSite=Lax", "order=desc; HttpOnly; SameSite=Lax"]);
    assert_eq!(names(sorted), ["a.txt"]);
    let kept = get("/?limit=1", &[("cookie", "a=b; sort=size; order=desc")]);
    assert!(field(&kept, "set-cookie").is_empty());
    assert_eq!(names(kept), ["a.txt"]);
    assert_eq!(names(get("/?sort=name&offset=1&limit=2", &[])), ["a.txt", "app.js"]);
    let odd = get("/?sort=%0d%0aX:1&order=x&limit=-1&offset=x", &[]);
    assert!(field(&odd, "set-cookie").is_empty());
    assert_eq!(names(odd).len(), 10);
    drop(dir);
    let (_dir, site) = server("file_server {\nbrowse {\nsort name desc\nfile_limit 4\n}\nindex none\n}");
    let own = asked(&site, "GET", "/", &[JSON]);
    assert_eq!(field(&own, "set-cookie"), "sort=name; HttpOnly; SameSite=Lax");
    assert_eq!(names(own).len(), 4);
}

#[test]
fn a_copy_may_be_good_still() {
    let (_dir, site) = server("file_server browse");
    let date = field(&asked(&site, "GET", "/bare/", &[JSON]), "last-modified").to_owned();
    let again = asked(&site, "GET", "/bare/", &[("if-modified-since", &date)]);
    assert_eq!(text(again), (304, String::new()));
    let older = asked(&site, "GET", "/bare/", &[("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT")]);
    assert_eq!(older.status(), 200);
}

#[test]
fn links_tell_where_they_lead_if_they_may() {
    for (lines, told) in [("browse", false), ("browse {\nreveal_symlinks\n}", true)] {
        let (dir, site) = server(&format!("file_server {{\n{lines}\n}}"));
        std::os::unix::fs::symlink("../a.txt", dir.path().join("site/bare/link")).unwrap();
        let body = text(asked(&site, "GET", "/bare/", &[JSON])).1;
        let items: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        assert_eq!((&items[0]["is_symlink"], &items[0]["size"]), (&true.into(), &20.into()));
        assert_eq!(items[0].get("symlink_path").is_some(), told, "{body}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (lines, says) in [
        ("sort size name", "second option"),
        ("sort asc", "first option"),
        ("sort size asc name", "max 2"),
        ("file_limit -1", "file_limit"),
    ] {
        let error = try_site(&format!("file_server {{\nbrowse {{\n{lines}\n}}\n}}")).err().unwrap();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_page_can_be_had_as_a_template() {
    let (dir, _) = server("file_server");
    std::fs::write(dir.path().join("own.html"), super::page::template()).unwrap();
    std::fs::write(dir.path().join("site/bare/a & b.txt"), "ab").unwrap();
    let page = |browse: &str, target: &str| {
        let lines = format!("root * {}/site\nfile_server {{\n{browse}\nindex none\n}}", dir.path().display());
        let response = asked(&crate::modules::testing::site(&lines), "GET", target, &[]);
        let policy = field(&response, "content-security-policy").to_owned();
        let (_, text) = text(response);
        let (before, rest) = text.split_once("<title>").unwrap();
        (policy, before.to_owned() + rest.split_once("</title>").unwrap().1)
    };
    for target in
        ["/", "/bare/", "/bare/?sort=size&order=desc", "/?sort=time&limit=2&offset=1", "/sub/?sort=name"]
    {
        let own = page(&format!("browse {}/own.html", dir.path().display()), target);
        assert_eq!(own, page("browse", target), "{target}");
    }
}

#[test]
fn pages_may_have_a_template_of_the_sites_own() {
    let (dir, _) = server("file_server");
    let template = dir.path().join("browse.html");
    let lines = format!(
        "root * {0}/site\nfile_server {{\nbrowse {0}/browse.html\nindex none\n}}",
        dir.path().display()
    );
    let site = crate::modules::testing::site(&lines);
    let page = |template_text: &str, target: &str| {
        std::fs::write(&template, template_text).unwrap();
        self::text(asked(&site, "GET", target, &[]))
    };
    for (text, expected) in [
        (
            "{{.Name}} {{.Path}} {{.CanGoUp}} {{.NumDirs}} {{.NumFiles}} {{.Sort}} {{.Order}}",
            "bare /bare true 0 1 namedirfirst asc",
        ),
        (
            "{{range .Items}}{{.Name}} {{.URL}} {{.Size}} {{.HumanSize}} {{.IsDir}}{{end}}",
            "x.txt ./x.txt 1 1 B false",
        ),
        (
            "{{range .Items}}{{.HumanModTime \"2006-01-02\"}} {{.ModTime.Unix}} {{.HasExt \".TXT\" \".y\"}}{{end}}",
            "2023-11-14 1700000000 true",
        ),
        ("{{range .Items}}{{.Mode}}{{end}}", "-rw-r--r--"),
        ("{{range .Breadcrumbs}}[{{.Link}} {{.Text}}]{{end}}", "[../ /][ bare]"),
        ("{{.Req.Method}} {{.HumanTotalFileSize}} {{len .Items}} {{.Limit}}", "GET 1 B 1 0"),
    ] {
        assert_eq!(page(text, "/bare/"), (200, expected.to_owned()), "{text}");
    }
    assert_eq!(page("{{.Nope}}", "/bare/").0, 500);
    let list = asked(&site, "GET", "/bare/", &[]);
    assert!(field(&list, "content-security-policy").is_empty());
    std::fs::remove_file(&template).unwrap();
    assert_eq!(site.get("/bare/", &[]).0, 500);
    assert_eq!(names(asked(&site, "GET", "/bare/", &[JSON])), ["x.txt"]);
}
