//! The configuration in force, kept on disk for `run --resume`.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde_json::Value;

use crate::config::dirs;

/// Saves a configuration. That it can't be is logged and no more: the configuration runs.
pub(super) async fn save(config: &Value) {
    let text = config.to_string();
    let saved = tokio::task::spawn_blocking(move || write(&dirs::autosave(), text.as_bytes())).await;
    let file = dirs::autosave();
    let file = file.display();
    match saved.map_err(io::Error::other).and_then(|saved| saved) {
        Ok(()) => tracing::info!(target: "", %file, "autosaved config (load with --resume flag)"),
        Err(error) => tracing::error!(target: "", %file, %error, "unable to autosave config"),
    }
}

/// Replaces a file in one step, so that nobody reads half of it. Only its owner may.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owner_s() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("caddy/autosave.json");
        write(&path, b"a longer text").unwrap();
        write(&path, b"short").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
