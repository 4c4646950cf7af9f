//! From what directives say to a list of routes: sorting, grouping, consolidating.

use super::go_sort::stable_sort;
use super::helper::Session;
use super::value::Said;
use super::{ConfigValue, Error};
use crate::config::http::{Route, RouteList, Subroute};

/// Makes one subroute of routes. With `sort` they are put in the order of directives.
///
/// # Errors
/// A directive has no place in that order.
pub(super) fn build_subroute(
    said: &mut [Said],
    session: &Session<'_>,
    sort: bool,
) -> Result<Subroute, Error> {
    if sort {
        let order = &session.options.order;
        for one in said.iter() {
            if !order.contains(&one.directive) {
                return Err(Error::new(format!(
                    "directive '{}' is not an ordered HTTP handler, so it cannot be used here - try placing within \
                     a route block or using the order global option",
                    one.directive
                )));
            }
        }
        sort_routes(said, order);
    }
    session.notes.outliner.steps(said);
    let groups = exclusive_groups(said, session);
    let mut routes = RouteList::new();
    for one in said.iter() {
        match &one.value {
            ConfigValue::Route(route) => {
                let group = groups.iter().find(|(directive, _)| *directive == one.directive);
                let group = group.map_or_else(|| route.group.clone(), |(_, group)| group.clone());
                routes.push(Route { group, ..route.clone() });
            }
            ConfigValue::Routes(list) => routes.extend(list.iter().cloned()),
            _ => {}
        }
    }
    Ok(Subroute { routes: consolidate(routes), errors: None })
}

/// Directives of which only the first that matches runs.
pub(super) const EXCLUSIVE: [&str; 3] = ["handle", "rewrite", "root"];

/// The groups of directives of which only the first that matches runs; empty where there is only one to run.
///
/// They are counted in the order of their names, so that the numbers are Caddy's. `rewrite` is in a group even
/// alone, since what it does must not melt into its neighbours.
fn exclusive_groups(said: &[Said], session: &Session<'_>) -> [(&'static str, String); 3] {
    EXCLUSIVE.map(|directive| {
        let count = said.iter().filter(|one| one.directive == directive).count();
        let grouped = count > 1 || directive == "rewrite";
        (directive, if grouped { session.next_group() } else { String::new() })
    })
}

/// Joins neighbours that have the same matchers, group and end.
pub(super) fn consolidate(routes: RouteList) -> RouteList {
    let mut joined = RouteList::with_capacity(routes.len());
    for route in routes {
        match joined.last_mut() {
            Some(last)
                if last.matcher_sets == route.matcher_sets
                    && last.terminal == route.terminal
                    && last.group == route.group =>
            {
                last.handle.extend(route.handle);
            }
            _ => joined.push(route),
        }
    }
    joined
}

/// Puts routes in the order of directives; within a directive the more specific path comes first.
fn sort_routes(said: &mut [Said], order: &[&'static str]) {
    let position = |directive: &str| order.iter().position(|name| *name == directive).unwrap_or(0);
    stable_sort(said, |a, b| {
        if a.directive != b.directive {
            return position(a.directive) < position(b.directive);
        }
        let (ConfigValue::Route(first), ConfigValue::Route(second)) = (&a.value, &b.value) else {
            return false;
        };
        let more_specific = is_more_specific(first, second);
        // What sets values comes the other way round, so that the most specific has the last word.
        if a.directive == "vars" { !more_specific } else { more_specific }
    });
}

fn is_more_specific(a: &Route, b: &Route) -> bool {
    if let (Some(path_a), Some(path_b)) = (single_path(a), single_path(b)) {
        let trimmed_a = path_a.strip_suffix('*').unwrap_or(path_a);
        let trimmed_b = path_b.strip_suffix('*').unwrap_or(path_b);
        if trimmed_a == trimmed_b {
            return path_a.len() < path_b.len();
        }
        if trimmed_a.len() == trimmed_b.len() {
            return trimmed_a < trimmed_b;
        }
        return trimmed_a.len() > trimmed_b.len();
    }
    !a.matcher_sets.is_empty() && b.matcher_sets.is_empty()
}

/// The path of a route that has one matcher set with one path that is not empty.
fn single_path(route: &Route) -> Option<&str> {
    let [set] = route.matcher_sets.as_slice() else { return None };
    let [path] = set.get("path")?.as_array()?.as_slice() else { return None };
    path.as_str().filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn route(directive: &'static str, paths: &[&str]) -> Said {
        let set = json!({"path": paths}).as_object().cloned().unwrap();
        let matcher_sets = if paths.is_empty() { Vec::new() } else { vec![set] };
        let value = ConfigValue::Route(Route { matcher_sets, ..Route::default() });
        Said { directive, value, written: None }
    }

    fn sorted(mut said: Vec<Said>) -> Vec<String> {
        sort_routes(&mut said, &["vars", "header", "respond"]);
        let show = |one: Said| match one.value {
            ConfigValue::Route(route) => {
                let path = single_path(&route).map(str::to_owned);
                format!("{} {}", one.directive, path.unwrap_or_else(|| route.matcher_sets.len().to_string()))
            }
            _ => unreachable!(),
        };
        said.into_iter().map(show).collect()
    }

    #[test]
    fn directives_come_in_their_order_and_long_paths_first() {
        let said = vec![
            route("respond", &[]),
            route("respond", &["/a*"]),
            route("header", &[]),
            route("respond", &["/a"]),
            route("respond", &["/abc"]),
            route("respond", &["/abd"]),
            route("respond", &["/x", "/y"]),
        ];
        let expected = [
            "header 0",
            "respond /abc",
            "respond /abd",
            "respond /a",
            "respond /a*",
            "respond 1",
            "respond 0",
        ];
        assert_eq!(sorted(said), expected);
    }

    #[test]
    fn vars_come_the_other_way_round() {
        let said = vec![route("vars", &["/abc"]), route("vars", &[]), route("vars", &["/a"])];
        assert_eq!(sorted(said), ["vars 0", "vars /a", "vars /abc"]);
    }

    #[test]
    fn neighbours_with_the_same_matchers_become_one() {
        let routes = |paths: &[&str]| -> RouteList {
            paths
                .iter()
                .filter_map(|path| match route("respond", &[path]).value {
                    ConfigValue::Route(mut route) => {
                        route.handle.push(crate::config::ModuleJson::new("handler", path, &json!({})));
                        Some(route)
                    }
                    _ => None,
                })
                .collect()
        };
        let joined = consolidate(routes(&["/a", "/a", "/b", "/a"]));
        let counts: Vec<usize> = joined.iter().map(|route| route.handle.len()).collect();
        assert_eq!(counts, [2, 1, 1]);
    }
}
