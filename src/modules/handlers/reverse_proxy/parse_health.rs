//! The subdirectives of `reverse_proxy` about health checks.

use super::json::{ActiveHealthChecks, PassiveHealthChecks, ReverseProxy};
use super::parse::duration;
use crate::adapt::{Cursor, Error};
use crate::config::{Secret, parse_integer, split_host_port};
use crate::http::parse_status;

/// Reads a subdirective about active health checks; false if it is none.
pub(super) fn active(name: &str, cursor: &mut Cursor, proxy: &mut ReverseProxy) -> Result<bool, Error> {
    if !name.starts_with("health_") {
        return Ok(false);
    }
    let mut said = proxy.health_checks.clone().unwrap_or_default().active.unwrap_or_default();
    if !read_active(name, cursor, &mut said)? {
        return Ok(false);
    }
    proxy.health_checks.get_or_insert_default().active = Some(said);
    Ok(true)
}

fn read_active(name: &str, cursor: &mut Cursor, active: &mut ActiveHealthChecks) -> Result<bool, Error> {
    match name {
        "health_uri" => [active.uri] = cursor.args()?,
        "health_path" => [active.path] = cursor.args()?,
        "health_method" => [active.method] = cursor.args()?,
        "health_request_body" => [active.body] = cursor.args()?,
        "health_body" => [active.expect_body] = cursor.args()?,
        "health_interval" => active.interval = duration(cursor, "bad interval value")?,
        "health_timeout" => active.timeout = duration(cursor, "bad timeout value")?,
        "health_passes" => active.passes = count(cursor, "invalid passes count")?,
        "health_fails" => active.fails = count(cursor, "invalid fails count")?,
        "health_follow_redirects" => {
            let [] = cursor.all_args()?;
            active.follow_redirects = true;
        }
        "health_status" => {
            let [status] = cursor.args()?;
            active.expect_status = parse_status(&status)
                .map_err(|error| cursor.err(format!("bad status value '{status}': {error}")))?;
        }
        "health_upstream" => {
            let [upstream] = cursor.args()?;
            let (_, port) = split_host_port(&upstream)
                .map_err(|error| cursor.err(format!("health_upstream is malformed '{upstream}': {error}")))?;
            parse_integer(port)
                .map_err(|error| cursor.err(format!("bad port number '{upstream}': {error}")))?;
            active.upstream = upstream;
        }
        "health_port" => {
            let [port] = cursor.args()?;
            if !active.upstream.is_empty() {
                let message = "the 'health_port' subdirective is ignored if 'health_upstream' is used!";
                return Err(cursor.err(message));
            }
            active.port = parse_integer(&port)
                .map_err(|error| cursor.err(format!("bad port number '{port}': {error}")))?;
        }
        "health_headers" => {
            active.headers.clear();
            let nesting = cursor.nesting();
            while cursor.next_block(nesting) {
                let field = cursor.val().to_owned();
                let mut values = cursor.remaining_args();
                if values.is_empty() {
                    values.push(String::new());
                }
                active.headers.entry(field).or_default().extend(values.into_iter().map(Secret::from));
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a subdirective about passive health checks; false if it is none.
pub(super) fn passive(name: &str, cursor: &mut Cursor, proxy: &mut ReverseProxy) -> Result<bool, Error> {
    let mut said = proxy.health_checks.clone().unwrap_or_default().passive.unwrap_or_default();
    if !read_passive(name, cursor, &mut said)? {
        return Ok(false);
    }
    proxy.health_checks.get_or_insert_default().passive = Some(said);
    Ok(true)
}

fn read_passive(name: &str, cursor: &mut Cursor, passive: &mut PassiveHealthChecks) -> Result<bool, Error> {
    match name {
        "max_fails" => passive.max_fails = count(cursor, "invalid maximum fail count")?,
        "fail_duration" => passive.fail_duration = duration(cursor, "bad duration value")?,
        "unhealthy_latency" => passive.unhealthy_latency = duration(cursor, "bad duration value")?,
        "unhealthy_request_count" => {
            passive.unhealthy_request_count = count(cursor, "invalid maximum connection count")?;
        }
        "unhealthy_status" => {
            let statuses = cursor.remaining_args();
            if statuses.is_empty() {
                return Err(cursor.arg_err());
            }
            for status in statuses {
                let status = parse_status(&status)
                    .map_err(|error| cursor.err(format!("bad status value '{status}': {error}")))?;
                passive.unhealthy_status.push(status);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn count(cursor: &mut Cursor, complaint: &str) -> Result<i64, Error> {
    let [text] = cursor.args()?;
    parse_integer(&text).map_err(|error| cursor.err(format!("{complaint} '{text}': {error}")))
}
