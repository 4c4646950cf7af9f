//! `storage export` and `storage import`: certificates, keys and authorities as a tar archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Command, Failure, print, program_name, root};
use crate::app::source;
use crate::config::Config;
use crate::modules;
use crate::tls::{self, FileStorage, SharedStorage};

/// Nothing that is kept in the storage is larger.
const VALUE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files hold keys: they are their owner's alone.
const MODE: u32 = 0o600;
/// The name of standard input and output.
const STREAM: &str = "-";

/// The flags of `storage`.
#[derive(clap::Args)]
pub(super) struct Storage {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Exports storage assets as a tarball
    ///
    /// Writes everything in the configured storage, certificates and keys included, as a tar archive.
    Export(Export),
    /// Imports storage assets from a tarball
    ///
    /// Stores every file of a tar archive in the configured storage, in place of what is there.
    Import(Import),
}

#[derive(clap::Args)]
struct Export {
    /// Configuration file that says where the storage is (required)
    #[arg(long, short, value_name = "path")]
    config: Option<PathBuf>,
    /// Output path; - is stdout (required)
    #[arg(long, short, value_name = "path")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Import {
    /// Configuration file that says where the storage is (required)
    #[arg(long, short, value_name = "path")]
    config: Option<PathBuf>,
    /// Tar of assets to load; - is stdin (required)
    #[arg(long, short, value_name = "path")]
    input: Option<PathBuf>,
}

impl Command for Storage {
    const NAME: &'static str = "storage";
    const ABOUT: &'static str = "Commands for working with storage";
    const DETAILS: &'static str = "\
Exports and imports what is in the storage: certificates, keys, authorities. Both in one line move it elsewhere:

  storage export --config Caddyfile.old --output - | storage import --config Caddyfile.new --input -

An archive holds private keys: keep it like one. Run both as the user that the storage belongs to.";

    fn run(self) -> Result<(), Failure> {
        match self.what {
            Some(What::Export(flags)) => export(flags),
            Some(What::Import(flags)) => import(flags),
            None => {
                let args: Vec<_> = std::env::args_os().take(1).collect();
                let mut all = root(program_name(&args));
                let own = all.find_subcommand_mut(Self::NAME);
                print(&own.map(|own| own.render_long_help().to_string()).unwrap_or_default())
            }
        }
    }
}

/// A flag that has to be there.
fn required<'f>(flag: Option<&'f PathBuf>, name: &str) -> Result<&'f Path, Failure> {
    flag.map(PathBuf::as_path)
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| Failure::other(format!("--{name} is required")))
}

/// The storage that a configuration uses.
fn storage_of(config: &Path) -> Result<SharedStorage, Failure> {
    let registry = modules::registry();
    let json = source::load(&registry, Some(config), None)?.json;
    let config =
        if json.is_null() { Config::default() } else { Config::from_json(json).map_err(Failure::other)? };
    match &config.storage {
        Some(json) => tls::open_storage(json, &registry.tls.storages).map_err(Failure::other),
        None => Ok(Arc::new(FileStorage::standard())),
    }
}

fn export(flags: Export) -> Result<(), Failure> {
    let config = required(flags.config.as_ref(), "config")?;
    let output = required(flags.output.as_ref(), "output")?;
    let storage = storage_of(config)?;
    let keys = storage.keys("").map_err(Failure::other)?;
    if output == Path::new(STREAM) {
        return write_archive(&*storage, &keys, io::stdout().lock());
    }
    let opening = |error| Failure::io(format!("opening output file {}", output.display()), error);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(MODE).open(output).map_err(opening)?;
    // Only a new file has got the mode by now.
    if file.metadata().map_err(opening)?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(MODE)).map_err(opening)?;
    }
    write_archive(&*storage, &keys, file)
}

fn write_archive(storage: &dyn tls::Storage, keys: &[String], out: impl Write) -> Result<(), Failure> {
    let writing = |error| Failure::io("writing archive", error);
    let mut archive = tar::Builder::new(out);
    for key in keys {
        // What has gone meanwhile is not missed.
        let Some(value) = storage.load_if_there(key).map_err(Failure::other)? else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(MODE);
        header.set_size(value.len() as u64);
        header.set_mtime(modified(storage.modified(key).map_err(Failure::other)?));
        archive.append_data(&mut header, key, value.as_slice()).map_err(writing)?;
    }
    archive.into_inner().and_then(|mut out| out.flush()).map_err(writing)
}

/// When a value was stored, in seconds since 1970.
fn modified(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

fn import(flags: Import) -> Result<(), Failure> {
    let config = required(flags.config.as_ref(), "config")?;
    let input = required(flags.input.as_ref(), "input")?;
    let storage = storage_of(config)?;
    if input == Path::new(STREAM) {
        read_archive(&*storage, io::stdin().lock())?;
    } else {
        let opening = |error| Failure::io(format!("opening input file {}", input.display()), error);
        read_archive(&*storage, File::open(input).map_err(opening)?)?;
    }
    print("Successfully imported storage")
}

fn read_archive(storage: &dyn tls::Storage, input: impl Read) -> Result<(), Failure> {
    let reading = |error| Failure::io("reading archive", error);
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries().map_err(reading)? {
        let entry = entry.map_err(reading)?;
        match entry.header().entry_type() {
            tar::EntryType::Regular => {}
            tar::EntryType::Directory => continue,
            _ => return Err(Failure::other("reading archive: it holds something that is no file")),
        }
        let path = entry.path().map_err(reading)?.into_owned();
        let key = path.to_str().filter(|key| tls::is_key(key));
        let Some(key) = key.map(str::to_owned) else {
            return Err(Failure::other(format!(
                "reading archive: {} would lie outside of the storage",
                path.display()
            )));
        };
        let mut value = Vec::new();
        entry.take(VALUE_BYTES_MAX + 1).read_to_end(&mut value).map_err(reading)?;
        if value.len() as u64 > VALUE_BYTES_MAX {
            return Err(Failure::other(format!(
                "reading archive: {key} is larger than anything in a storage"
            )));
        }
        storage.store(&key, &value).map_err(Failure::other)?;
    }
    Ok(())
}
