//! `redir`: sends clients elsewhere.
//!
//! The code is a status from 300 to 399, 401, `permanent` (301), `temporary` (302, the default), or
//! `html` for a page that browsers follow and other clients don't.
//!
//! ```caddyfile
//! :8080 {
//! 	redir /old /new permanent
//! 	respond "new"
//! }
//! ```

use std::collections::BTreeMap;

use super::respond::{self, StaticResponse};
use crate::adapt::{Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::HANDLER_TAG;
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    directives: &[Directive {
        name: "redir",
        syntax: "redir [<matcher>] <to> [<code>|permanent|temporary|html]",
        parse: Parse::Handler(parse),
    }],
    ..Module::EMPTY
};

/// How the page of `redir ... html` begins; by this `respond` knows that what clients put into it
/// must be escaped.
pub(super) const PAGE_START: &str = "<!DOCTYPE html>\n<html>\n\t<head>\n\t\t<title>Redirecting...</title>\n\t\t<script>window.location.replace(\"";

fn parse(h: &mut Helper<'_>) -> Result<ModuleJson, Error> {
    let cursor = &mut h.cursor;
    cursor.next();
    if !cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    let to = cursor.val().to_owned();
    let code = if cursor.next_arg() { cursor.val().to_owned() } else { String::new() };
    let field = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), vec![value.to_owned()])]);
    let elsewhere = |code: &str| StaticResponse {
        status_code: code.into(),
        headers: field("Location", &to),
        ..StaticResponse::default()
    };
    let response = match code.as_str() {
        "permanent" => elsewhere("301"),
        "temporary" | "" => elsewhere("302"),
        "html" => StaticResponse {
            status_code: "200".into(),
            headers: field("Content-Type", "text/html; charset=utf-8"),
            body: page(&to),
            ..StaticResponse::default()
        },
        // With a 401, scripts can see where to go, which for a redirect they can't.
        _ => match code.parse::<i32>() {
            _ if code.starts_with('{') => elsewhere(&code),
            Ok(300..=399 | 401) => elsewhere(&code),
            Ok(number) => {
                return Err(cursor.err(format!("Redir code not in the 3xx range or 401: '{number}'")));
            }
            Err(_) => {
                let message = format!("Not a supported redir code type or not valid integer: '{code}'");
                return Err(cursor.err(message).did_you_mean(&code, ["permanent", "temporary", "html"]));
            }
        },
    };
    Ok(ModuleJson::new(HANDLER_TAG, respond::NAME, &response))
}

fn page(to: &str) -> String {
    let to = escaped(to);
    format!(
        "{PAGE_START}{to}\");</script>\n\t\t<meta http-equiv=\"refresh\" content=\"0; URL='{to}'\">\n\t</head>\n\t<body>\
         Redirecting to <a href=\"{to}\">{to}</a>...</body>\n</html>\n"
    )
}

/// Text for HTML, with the entities that Go chooses.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::modules::testing::{adapt, routes, site};

    #[test]
    fn it_is_written_as_in_caddy() {
        let json = |line: &str| routes(line)[0]["handle"][0].take();
        for (line, code) in [
            ("redir * /a", json!(302)),
            ("redir * /a temporary", json!(302)),
            ("redir * /a permanent", json!(301)),
            ("redir * /a 308", json!(308)),
            ("redir * /a 401", json!(401)),
            ("redir * /a {query.s}", json!("{http.request.uri.query.s}")),
        ] {
            let expected =
                json!({"handler": "static_response", "headers": {"Location": ["/a"]}, "status_code": code});
            assert_eq!(json(line), expected, "{line}");
        }
        for (line, says) in [
            ("redir", "wrong argument count"),
            ("redir * /a 200", "Redir code not in the 3xx range or 401: '200'"),
            ("redir * /a sometimes", "Not a supported redir code type"),
        ] {
            let error = adapt(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn nothing_that_a_client_sends_becomes_part_of_the_page() {
        let site = site("redir https://a/?x=1&y={query.q} html");
        let (status, page) = site.get("/?q=%22)%3C/script%3E%3Cscript%3Ealert(1)//%5C", &[]);
        assert_eq!(status, 200);
        assert!(
            page.contains("<a href=\"https://a/?x=1&amp;y=%22)%3C/script%3E%3Cscript%3Ealert(1)//%5C\">"),
            "{page}"
        );
        assert_eq!(page.matches("<script>").count(), 1, "{page}");
        // What is harmless leads where it leads in Caddy, from the script too.
        let site = crate::modules::testing::site("redir https://a/?{query} html");
        let (_, page) = site.get("/?a=1&b=2'", &[]);
        assert!(page.contains("replace(\"https://a/?a=1&b=2%27\")"), "{page}");
        assert!(page.contains("<a href=\"https://a/?a=1&amp;b=2%27\">"), "{page}");
        let site = crate::modules::testing::site("redir {query.to} html");
        for (to, address) in [
            ("JavaScript:alert(1)", "JavaScript%3Aalert(1)"),
            ("%20javascript:alert(1)", "%20javascript:alert(1)"),
            ("java%0Ascript:alert(1)", "java%0Ascript:alert(1)"),
            ("https://b/x:y", "https://b/x:y"),
        ] {
            let (_, page) = site.get(&format!("/?to={to}"), &[]);
            assert!(page.contains(&format!("replace(\"{address}\")")), "{page}");
        }
        // Nor does an entity make a link a script.
        for entity in ["%26colon%3B", "%26%2358%3B", "%26Tab%3B"] {
            let (_, page) = site.get(&format!("/?to=javascript{entity}alert(1)"), &[]);
            assert!(
                page.contains("href=\"javascript&amp;") && page.contains("URL='javascript&amp;"),
                "{page}"
            );
        }
    }

    // What Caddy 2.11.7 answers.
    #[test]
    fn placeholders_are_filled_in() {
        let site = site("redir * /x{nope}{query.q} {query.s}");
        let mut x = crate::http::Exchange::get("/?q=a%20%0d%0ab&s=307", &[]);
        let response = site.serve(&mut x);
        assert_eq!(response.status(), 307);
        assert_eq!(response.headers()["location"], "/x{nope}a   b");
    }
}
