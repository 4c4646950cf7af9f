//! Where this process keeps its data and its configuration: Caddy's places, so that what Caddy left
//! there is found. They follow the environment (XDG base directories, then the home directory).

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The subdirectory that Caddy uses below each base directory.
const SUBDIRECTORY: &str = "caddy";

/// The user's home directory; `.` if the environment doesn't name one.
pub fn home() -> PathBuf {
    said("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where certificates, keys and the local certificate authority are kept.
pub fn data() -> PathBuf {
    if let Some(base) = said("XDG_DATA_HOME") {
        return PathBuf::from(base).join(SUBDIRECTORY);
    }
    match said("HOME") {
        None => PathBuf::from("./caddy"),
        Some(home) if cfg!(target_os = "macos") => {
            PathBuf::from(home).join("Library/Application Support/Caddy")
        }
        Some(home) => PathBuf::from(home).join(".local/share").join(SUBDIRECTORY),
    }
}

/// Where the configuration is saved.
pub fn config() -> PathBuf {
    if let Some(base) = said("XDG_CONFIG_HOME") {
        return PathBuf::from(base).join(SUBDIRECTORY);
    }
    match said("HOME") {
        None => PathBuf::from("./caddy"),
        Some(home) if cfg!(target_os = "macos") => {
            PathBuf::from(home).join("Library/Application Support/Caddy")
        }
        Some(home) => PathBuf::from(home).join(".config").join(SUBDIRECTORY),
    }
}

/// The file that holds the last configuration that ran, for `run --resume`.
pub fn autosave() -> PathBuf {
    config().join("autosave.json")
}

/// Whether nothing in the environment says where to keep things, so that they land in the working
/// directory.
pub fn are_unknown() -> bool {
    said("HOME").is_none()
        && ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"].iter().any(|name| said(name).is_none())
}

/// A variable that is set to something.
fn said(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
