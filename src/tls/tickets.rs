//! Session tickets, by which clients resume sessions without a full handshake.

use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};

use super::TlsError;
use crate::config::tls::SessionTickets;

/// Whether sessions can be resumed. The keys live as long as the process, so that sessions outlast a
/// reload; each key encrypts for six hours, and decrypts for twelve.
#[derive(Debug)]
pub(super) struct Tickets {
    enabled: bool,
}

static TICKETER: OnceLock<Arc<dyn ProducesTickets>> = OnceLock::new();

impl Tickets {
    /// # Errors
    /// [`TlsError`] for a source of keys that there isn't, or if no keys can be made.
    pub(super) fn new(config: Option<&SessionTickets>) -> Result<Self, TlsError> {
        let Some(config) = config else { return Ok(Self { enabled: true }) };
        if config.disable_rotation {
            return Err(TlsError::Invalid("session tickets: disable_rotation is not supported".to_owned()));
        }
        if let Some(source) = &config.key_source {
            let name = source.name("provider")?;
            if name != "standard" {
                return Err(TlsError::Invalid(format!(
                    "getting module named 'tls.stek.{name}': module not registered: tls.stek.{name}"
                )));
            }
        }
        Ok(Self { enabled: !config.disabled })
    }

    /// Sets `config` up to resume sessions, or never to do so.
    ///
    /// # Errors
    /// [`TlsError`] if there is no randomness for keys.
    pub(super) fn apply(&self, config: &mut ServerConfig, allowed: bool) -> Result<(), TlsError> {
        // Sessions are kept by clients alone: nothing here grows with their number.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if !self.enabled || !allowed {
            config.send_tls13_tickets = 0;
            return Ok(());
        }
        config.ticketer = ticketer()?;
        // One is enough for a client that comes back, and half the work of the default.
        config.send_tls13_tickets = 1;
        Ok(())
    }
}

fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    if let Some(ticketer) = TICKETER.get() {
        return Ok(ticketer.clone());
    }
    let made = Ticketer::new()?;
    Ok(TICKETER.get_or_init(|| made).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_never_change_are_refused() {
        let config = SessionTickets { disable_rotation: true, ..SessionTickets::default() };
        let error = Tickets::new(Some(&config)).err().unwrap().to_string();
        assert!(error.contains("disable_rotation"), "{error}");
        assert!(Tickets::new(Some(&SessionTickets::default())).unwrap().enabled);
    }
}
