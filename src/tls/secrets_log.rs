//! `insecure_secrets_log`: session secrets in a file, for looking into captured traffic.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustls::KeyLog;

use super::TlsError;

/// How many lines may wait for the disk; more are dropped.
const LINES_MAX: usize = 1024;

/// Writes NSS key log lines to a file, on a thread of its own so that no handshake waits for it.
#[derive(Debug)]
pub(super) struct SecretsLog {
    lines: SyncSender<String>,
}

impl SecretsLog {
    /// Opens `path`, which only its owner can read, for appending.
    ///
    /// # Errors
    /// [`TlsError::Write`] with the file.
    pub(super) fn open(path: &Path) -> Result<Self, TlsError> {
        let failed = |source| TlsError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
        let (lines, received) = sync_channel(LINES_MAX);
        thread::Builder::new()
            .name("tls-secrets".into())
            .spawn(move || write_all(file, &received))
            .map_err(failed)?;
        tracing::warn!(path = %path.display(), "TLS SECURITY COMPROMISED: secrets logging is enabled!");
        Ok(Self { lines })
    }
}

/// Ends when the last sender is gone.
fn write_all(mut file: File, lines: &Receiver<String>) {
    for line in lines {
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(%error, "writing TLS secrets");
        }
    }
}

impl KeyLog for SecretsLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // A full queue loses lines: debugging must not slow down handshakes.
        let _ = self.lines.try_send(line);
    }
}
