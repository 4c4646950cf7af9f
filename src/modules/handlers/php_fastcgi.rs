//! `php_fastcgi`: a PHP application. It stands for rewrites to PHP files and a `reverse_proxy` that speaks FastCGI.
//!
//! ```caddyfile
//! :8080 {
//! 	root * /srv/app/public
//! 	php_fastcgi unix//run/php/php-fpm.sock
//! }
//! ```

use serde_json::{Map, Value, json};

use super::reverse_proxy::json::{ReverseProxy, TRANSPORT_TAG};
use super::reverse_proxy::parse::read;
use crate::adapt::{ConfigValue, Cursor, Directive, Error, Helper, Parse};
use crate::config::ModuleJson;
use crate::config::http::{HANDLER_TAG, MatcherSet, Route, Subroute};
use crate::module::Module;
use crate::modules::transports::fastcgi::{self, FastCgi, timeout};

const SYNTAX: &str = "php_fastcgi [<matcher>] <upstreams...> {
	root <path>
	split <extensions...>
	env <key> <value>
	index <file>|off
	try_files <files...>
	resolve_root_symlink
	dial_timeout <duration>
	read_timeout <duration>
	write_timeout <duration>
	capture_stderr
	<any other reverse_proxy subdirectives...>
}";

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "php_fastcgi", syntax: SYNTAX, parse: Parse::Routes(parse) }],
    ..Module::EMPTY
};

/// What the directive says of its own.
struct Own {
    transport: FastCgi,
    extensions: Vec<String>,
    index: String,
    try_files: Vec<String>,
}

fn parse(h: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let matchers = h.extract_matcher_set()?;
    // Gathered once more, as in Caddy: what stands behind the block's end becomes a part of it, and is refused.
    h.cursor.next();
    h.cursor = h.cursor.new_from_next_segment();
    let mut own = take_own(&mut h.cursor)?;
    h.cursor.reset();
    let mut routes = if own.index == "off" { Vec::new() } else { index_routes(&mut own) };
    own.transport.split_path.clone_from(&own.extensions);
    let transport = ModuleJson::new(TRANSPORT_TAG, fastcgi::NAME, &own.transport);
    let proxy = read(h, ReverseProxy { transport: Some(transport), ..ReverseProxy::default() })?;
    let php: Vec<String> = own.extensions.iter().map(|extension| format!("*{extension}")).collect();
    routes.push(route(json!({ "path": php }), ModuleJson::new(HANDLER_TAG, "reverse_proxy", &proxy)));
    Ok(match matchers {
        Some(matchers) => h.new_route(Some(matchers), Subroute { routes, errors: None }.into_handler()),
        None => vec![ConfigValue::Routes(routes)],
    })
}

/// Reads the subdirectives of our own and takes them away, so that those of `reverse_proxy` are left.
fn take_own(cursor: &mut Cursor) -> Result<Own, Error> {
    let mut own = Own {
        transport: FastCgi::default(),
        extensions: vec![".php".into()],
        index: "index.php".into(),
        try_files: Vec::new(),
    };
    cursor.next();
    cursor.remaining_args();
    while cursor.next_block(0) {
        // Blocks inside may have subdirectives of the same names.
        if cursor.nesting() == 1 {
            take_subdirective(cursor, &mut own)?;
        }
    }
    Ok(own)
}

fn take_subdirective(cursor: &mut Cursor, own: &mut Own) -> Result<(), Error> {
    let transport = &mut own.transport;
    let word = cursor.val().to_owned();
    match word.as_str() {
        "root" => {
            [transport.root] = cursor.args()?;
            cursor.delete_n(2);
        }
        "dial_timeout" | "read_timeout" | "write_timeout" => {
            let time = timeout(cursor)?;
            match word.as_str() {
                "dial_timeout" => transport.dial_timeout = time,
                "read_timeout" => transport.read_timeout = time,
                _ => transport.write_timeout = time,
            }
            cursor.delete_n(2);
        }
        "split" | "env" | "index" | "try_files" | "resolve_root_symlink" | "capture_stderr" => {
            let args = cursor.remaining_args();
            cursor.delete_n(args.len() + 1);
            match (word.as_str(), args.as_slice()) {
                ("resolve_root_symlink", _) => transport.resolve_root_symlink = true,
                ("capture_stderr", _) => transport.capture_stderr = true,
                ("split", [_, ..]) => own.extensions = args,
                ("try_files", [_, ..]) => own.try_files = args,
                ("env", [key, value]) => {
                    transport.env.insert(key.clone(), value.clone());
                }
                ("index", [file]) => own.index.clone_from(file),
                _ => return Err(cursor.arg_err()),
            }
        }
        _ => {}
    }
    Ok(())
}

/// The routes from a path without file to the application's index.
fn index_routes(own: &mut Own) -> Vec<Route> {
    let mut routes = Vec::new();
    let in_directory = format!("{{http.request.uri.path}}/{}", own.index);
    let (policy, redirects);
    if own.try_files.is_empty() {
        own.try_files = vec!["{http.request.uri.path}".into(), in_directory.clone(), own.index.clone()];
        (policy, redirects) = ("first_exist_fallback", true);
    } else {
        // The last file is taken for existing only if it is a PHP file.
        let is_php = own.try_files.last().is_some_and(|file| file.ends_with(".php"));
        policy = if is_php { "first_exist_fallback" } else { "" };
        redirects = own.try_files.contains(&in_directory);
    }
    if redirects {
        let location = "{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}";
        let redirect = json!({"status_code": 308, "headers": {"Location": [location]}});
        routes.push(route(
            json!({"file": {"try_files": [in_directory]}, "not": [{"path": ["*/"]}]}),
            ModuleJson::new(HANDLER_TAG, "static_response", &redirect),
        ));
    }
    let mut file = Map::from_iter([("try_files".to_owned(), json!(own.try_files))]);
    if !policy.is_empty() {
        file.insert("try_policy".into(), json!(policy));
    }
    file.insert("split_path".into(), json!(own.extensions));
    routes.push(route(
        json!({ "file": file }),
        ModuleJson::new(HANDLER_TAG, "rewrite", &json!({"uri": "{http.matchers.file.relative}"})),
    ));
    routes
}

fn route(matchers: Value, handler: ModuleJson) -> Route {
    let matchers: MatcherSet = match matchers {
        Value::Object(set) => set,
        _ => MatcherSet::new(),
    };
    Route { matcher_sets: vec![matchers], handle: vec![handler], ..Route::default() }
}
