//! `demo`: the gate and something behind it, with nothing else installed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{Command, Failure, env_file, print};
use crate::app::{adapter, provision};
use crate::http::Engine;
use crate::{demo, modules};

/// What guards the demo: the Caddyfile that this repository ships.
const CADDYFILE: &str = include_str!("../../Caddyfile");
/// Its site and its upstream, which the flags can move to other ports.
const SITE: &str = ":8081 {\n";
const UPSTREAM: &str = "http://localhost:11434 ";
/// The variable that it reads the key from.
const KEY_VARIABLE: &str = "OLLAMA_API_KEY";
/// Answers under way may take so long when the demo ends.
const GRACE: Duration = Duration::from_secs(1);

/// The flags of `demo`.
#[derive(clap::Args)]
pub(super) struct Demo {
    /// Port of the gate
    #[arg(long, value_name = "port", default_value_t = 8081)]
    port: u16,
    /// Port of the stand-in behind it
    #[arg(long, value_name = "port", default_value_t = 11434)]
    model_port: u16,
    /// How fast the stand-in speaks
    #[arg(long, value_name = "number", default_value_t = 12.5)]
    words_per_second: f64,
}

impl Command for Demo {
    const NAME: &'static str = "demo";
    const ABOUT: &'static str = "Shows the gate at work, with a stand-in for a model server behind it";
    const DETAILS: &'static str = "\
Starts a small stand-in for a model server, which speaks Ollama's API and OpenAI's and streams words; makes \
a key; guards the stand-in with the Caddyfile that the project ships; and prints what to try, with the key \
and without. Both listen on this machine alone. Ctrl-C ends it.

If OLLAMA_API_KEY is set, that is the key.";

    fn run(self) -> Result<(), Failure> {
        let pace = Duration::try_from_secs_f64(self.words_per_second.recip())
            .map_err(|_| Failure::other("--words-per-second must be a number above 0"))?;
        let model = listen(self.model_port, "the stand-in", "--model-port")?;
        // The gate shares its port with whoever allows that, so it would not notice another gateway there.
        drop(listen(self.port, "the gate", "--port")?);
        let key = key()?;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(self.serve(model, pace, &key)))
            .map_err(|error| Failure::io("the demo", error))
    }
}

impl Demo {
    async fn serve(&self, model: TcpListener, pace: Duration, key: &Key) -> io::Result<()> {
        let registry = modules::registry();
        let caddyfile = caddyfile(self.port, self.model_port);
        let adapted = adapter::adapt(&registry, adapter::CADDYFILE, "Caddyfile", caddyfile.as_bytes())
            .map_err(io::Error::other)?;
        let provisioned = provision::provision(adapted.json, &registry).map_err(io::Error::other)?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        model.set_nonblocking(true)?;
        let model = tokio::net::TcpListener::from_std(model)?;
        let engine = Engine::start(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))?;
        engine.apply(provisioned.listens).await.map_err(io::Error::other)?;
        print(&invitation(self.port, key)).map_err(io::Error::other)?;
        tokio::select! {
            never = demo::serve(model, pace) => match never {},
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        engine.shutdown(Some(GRACE)).await;
        Ok(())
    }
}

/// Takes a port on this machine's own interface.
fn listen(port: u16, who: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            Failure::other(format!(
                "port {port}, where {who} was to listen, is in use; give another one with {flag}"
            ))
        } else {
            Failure::io(format!("listening on port {port} for {who}"), error)
        }
    })
}

/// The key, and whether it may be shown: one that the user brought is theirs to keep.
struct Key {
    shown: String,
}

/// Takes the key from the environment, or makes one and puts it there.
fn key() -> Result<Key, Failure> {
    if std::env::var_os(KEY_VARIABLE).is_some_and(|key| !key.is_empty()) {
        return Ok(Key { shown: format!("${KEY_VARIABLE}") });
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::other(format!("making a key: {error}")))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("sk-demo-{digits}");
    env_file::set(KEY_VARIABLE, &key);
    Ok(Key { shown: key })
}

/// The shipped Caddyfile, on this machine's own interface and at these ports.
fn caddyfile(port: u16, model_port: u16) -> String {
    CADDYFILE.replacen(SITE, &format!(":{port} {{\n\tbind 127.0.0.1\n"), 1).replacen(
        UPSTREAM,
        &format!("http://localhost:{model_port} "),
        1,
    )
}

/// What to try.
fn invitation(port: u16, key: &Key) -> String {
    let key = &key.shown;
    // In double quotes, since the key may be a variable of the shell's.
    format!(
        r#"The gate stands at http://localhost:{port}, with a stand-in for a model server behind it.

With the key, an answer comes word by word:

  curl -N http://localhost:{port}/api/chat \
    -H "Authorization: Bearer {key}" \
    -d '{{"model": "stand-in", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'

Without it, the gate stays shut:

  curl -i http://localhost:{port}/api/chat

Ctrl-C ends it."#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_caddyfile_is_the_demos_but_for_its_addresses() {
        for part in [SITE, UPSTREAM] {
            assert_eq!(CADDYFILE.matches(part).count(), 1, "{part}");
        }
        let ours = caddyfile(8081, 11434);
        let without_bind: Vec<&str> = ours.lines().filter(|line| *line != "\tbind 127.0.0.1").collect();
        assert_eq!(without_bind, CADDYFILE.lines().collect::<Vec<_>>());
        let moved = caddyfile(1, 2);
        assert!(moved.starts_with(":1 {\n\tbind 127.0.0.1\n"), "{moved}");
        assert!(moved.contains("http://localhost:2 {"), "{moved}");
    }

    #[test]
    fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let failure = listen(port, "the gate", "--port").unwrap_err().to_string();
        assert!(failure.contains(&port.to_string()) && failure.contains("--port"), "{failure}");
    }

    #[test]
    fn a_key_of_the_users_is_not_shown() {
        let text = invitation(8081, &Key { shown: format!("${KEY_VARIABLE}") });
        assert!(text.contains("-H \"Authorization: Bearer $OLLAMA_API_KEY\""), "{text}");
    }
}
