//! `respond`: one answer to everything, for trying things out.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;

use serde_json::{Value, json};

use super::{Command, Failure, print, process};
use crate::config::NetworkAddress;

/// The flags of `respond`.
#[derive(clap::Args)]
pub(super) struct Respond {
    /// The address to listen at; of a range, each port is a server
    #[arg(long, short, value_name = "address", default_value = ":0")]
    listen: String,
    /// The status code
    #[arg(long, short, value_name = "code")]
    status: Option<u16>,
    /// The body
    #[arg(long, short, value_name = "text", default_value = "")]
    body: String,
    /// Enable the access log
    #[arg(long)]
    access_log: bool,
    /// Log at debug level
    #[arg(long, short = 'v')]
    debug: bool,
    /// Set a header field, as "Field: value"; may be given several times
    #[arg(long = "header", short = 'H', value_name = "field")]
    headers: Vec<String>,
    /// The status code if it is a number of three digits, else the body
    #[arg(value_name = "body|status")]
    words: Vec<String>,
}

/// So much of stdin is taken as a body.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Command for Respond {
    const NAME: &'static str = "respond";
    const ABOUT: &'static str = "Simple, hard-coded HTTP responses for development and testing";
    const DETAILS: &'static str = "\
Answers every request alike: 200 without a body, unless the flags, the argument, or a pipe to stdin say \
otherwise. The addresses that it listens at are printed.

In the body {{.N}} is the number of the server, from 0, {{.Port}} its port and {{.Address}} its address.";

    fn run(self) -> Result<(), Failure> {
        let (status, body) = self.answer()?;
        let headers = process::header_fields("header", &self.headers)?;
        let listen: NetworkAddress = self.listen.parse().map_err(Failure::other)?;
        let mut servers = serde_json::Map::new();
        for (number, address) in listen.expand().enumerate() {
            let handler = json!({
                "handler": "static_response",
                "status_code": status.to_string(),
                "headers": headers,
                "body": fill_in(&body, number, &address)?,
            });
            let mut server = json!({
                "listen": [address.to_string()],
                "routes": [{"handle": [handler]}],
                "automatic_https": {"disable_redirects": true},
            });
            if self.access_log {
                server["logs"] = json!({});
            }
            servers.insert(format!("static{number}"), server);
        }
        process::serve(json!({"http": {"servers": Value::Object(servers)}}), self.debug, async |instance| {
            for address in instance.local_addresses().await {
                print(&format!("Server address: {address}"))?;
            }
            Ok(())
        })
    }
}

impl Respond {
    /// The status and the body: flags before the argument, the argument before stdin.
    fn answer(&self) -> Result<(u16, String), Failure> {
        let word = match self.words.as_slice() {
            [] => "",
            [word] => word.as_str(),
            _ => return Err(Failure::other("too many unflagged arguments")),
        };
        let (mut status, mut body) = (self.status, self.body.clone());
        if !word.is_empty() {
            if !body.is_empty() && status.is_some() {
                return Err(Failure::other(format!("unflagged argument \"{word}\" is overridden by flags")));
            }
            match word.parse::<u16>() {
                Ok(code) if status.is_none() && (100..=999).contains(&code) => status = Some(code),
                _ if body.is_empty() => word.clone_into(&mut body),
                _ => {}
            }
        }
        if body.is_empty() {
            body = piped().map_err(|error| Failure::io("reading stdin", error))?;
        }
        Ok((status.unwrap_or(200), body))
    }
}

/// What comes through a pipe; nothing if stdin is none.
fn piped() -> std::io::Result<String> {
    let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    if !stdin.metadata()?.file_type().is_fifo() {
        return Ok(String::new());
    }
    let mut body = Vec::new();
    stdin.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Fills in what differs between servers.
fn fill_in(body: &str, number: usize, address: &NetworkAddress) -> Result<String, Failure> {
    let mut filled = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after
            .split_once("}}")
            .ok_or_else(|| Failure::other("template: `{{` without `}}` in the body"))?;
        filled.push_str(before);
        match name.trim() {
            ".N" => filled.push_str(&number.to_string()),
            ".Port" => filled.push_str(&address.start_port.to_string()),
            ".Address" => filled.push_str(&address.join_host_port()),
            other => return Err(Failure::other(format!("template: there is no `{{{{{other}}}}}`"))),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(status: Option<u16>, body: &str, words: &[&str]) -> Result<(u16, String), Failure> {
        Respond {
            listen: String::new(),
            status,
            body: body.to_owned(),
            access_log: false,
            debug: false,
            headers: Vec::new(),
            words: words.iter().map(ToString::to_string).collect(),
        }
        .answer()
    }

    #[test]
    fn flags_come_before_the_argument() {
        assert_eq!(respond(None, "b", &["404"]).unwrap(), (404, "b".to_owned()));
        assert_eq!(respond(Some(201), "", &["404"]).unwrap(), (201, "404".to_owned()));
        assert_eq!(respond(None, "", &["hello there"]).unwrap(), (200, "hello there".to_owned()));
        assert_eq!(respond(None, "b", &["word"]).unwrap(), (200, "b".to_owned()));
        assert!(respond(Some(200), "b", &["404"]).is_err());
        assert!(respond(None, "", &["a", "b"]).is_err());
    }

    #[test]
    fn bodies_are_filled_in() {
        let address: NetworkAddress = "127.0.0.1:8080".parse().unwrap();
        let filled = fill_in("{{.N}} {{ .Port }} {{.Address}} { }}", 3, &address).unwrap();
        assert_eq!(filled, "3 8080 127.0.0.1:8080 { }}");
        assert!(fill_in("{{.Nope}}", 0, &address).is_err());
        assert!(fill_in("{{.N", 0, &address).is_err());
    }
}
