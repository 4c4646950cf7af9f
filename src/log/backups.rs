//! Rolled log files: their names, how long they are kept, and their compression.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::go_time::Layout;

/// The layout of the time in a rolled file's name.
pub const TIME_LAYOUT_DEFAULT: &str = "2006-01-02T15-04-05.000";

/// Why a file was rolled; the word stands in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was full.
    Size,
    /// It was time to.
    Time,
}

/// How rolled files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They aren't.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// The rolled files of one log file: `NAME-TIME-REASON.EXT` beside `NAME.EXT`.
#[derive(Debug)]
pub struct Backups {
    dir: PathBuf,
    /// `NAME`.
    stem: String,
    /// `.EXT`, or nothing.
    extension: String,
    /// How many are kept.
    pub keep_max: usize,
    /// How many days they are kept.
    pub keep_days_max: u32,
    /// Whether the time in their names is local instead of UTC.
    pub local_time: bool,
    /// How they are compressed.
    pub compression: Compression,
    layout: Layout,
    work: Mutex<Work>,
}

/// Whether a thread is at work on rolled files.
#[derive(Debug, Default)]
struct Work {
    running: bool,
    /// There is more to do when it is done.
    again: bool,
}

/// A rolled file.
#[derive(Debug)]
struct Backup {
    path: PathBuf,
    time: Timestamp,
    compressed: bool,
}

impl Compression {
    /// What is appended to a compressed file's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

impl Backups {
    /// The rolled files of the log file at `path`. A `layout` whose times can't be read back would
    /// leave files behind for ever, so the default takes its place.
    pub fn new(
        path: &Path,
        layout: &str,
        keep_max: usize,
        keep_days_max: u32,
        local_time: bool,
        compression: Compression,
    ) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dot = name.rfind('.').unwrap_or(name.len());
        let (stem, extension) = name.split_at(dot);
        let layout = Some(Layout::new(layout)).filter(reads_back);
        Self {
            dir: path.parent().unwrap_or(Path::new("")).to_owned(),
            stem: stem.to_owned(),
            extension: extension.to_owned(),
            keep_max,
            keep_days_max,
            local_time,
            compression,
            layout: layout.unwrap_or_else(|| Layout::new(TIME_LAYOUT_DEFAULT)),
            work: Mutex::default(),
        }
    }

    fn zone(&self) -> TimeZone {
        if self.local_time { TimeZone::system() } else { TimeZone::UTC }
    }

    fn file(&self) -> PathBuf {
        self.dir.join(format!("{}{}", self.stem, self.extension))
    }

    fn backup_file(&self, reason: Reason, time: Timestamp) -> PathBuf {
        let time = self.layout.format(time, &self.zone());
        let reason = match reason {
            Reason::Size => "size",
            Reason::Time => "time",
        };
        self.dir.join(format!("{}-{time}-{reason}{}", self.stem, self.extension))
    }

    /// Renames the log file, for having been rolled at `time`.
    pub(super) fn rename(&self, reason: Reason, mut time: Timestamp) -> io::Result<()> {
        let mut to = self.backup_file(reason, time);
        // The names tell times apart by a millisecond or less, and what is there must not be lost.
        for step in [1.millisecond(), 1.second(), 1.minute(), 1.hour(), 24.hours()] {
            for _ in 0..60 {
                if !exists(&to) && !exists(&suffixed(&to, self.compression.suffix())) {
                    return std::fs::rename(self.file(), to);
                }
                time = time.checked_add(step).map_err(io::Error::other)?;
                to = self.backup_file(reason, time);
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no name is free for the rolled log file"))
    }

    /// Removes what is not kept and compresses the rest, on a thread that ends when it is done.
    pub(super) fn clean_up(self: &Arc<Self>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if work.running {
            work.again = true;
            return;
        }
        let this = self.clone();
        let thread = std::thread::Builder::new().name("log-cleanup".into()).spawn(move || this.work());
        // Without a thread the files wait for the next time.
        work.running = thread.is_ok();
    }

    fn work(&self) {
        loop {
            if let Err(error) = self.clean_up_now(Timestamp::now()) {
                let file = self.file();
                tracing::error!(target: "log", file = %file.display(), %error, "cleaning up old log files failed");
            }
            let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut work.again) {
                work.running = false;
                return;
            }
        }
    }

    fn clean_up_now(&self, now: Timestamp) -> io::Result<()> {
        let mut backups = self.list()?;
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        let oldest = match self.keep_days_max {
            0 => None,
            days => now.checked_sub(24.hours().checked_mul(i64::from(days)).unwrap_or_default()).ok(),
        };
        let mut kept = 0;
        let mut last_time = None;
        let mut result = Ok(());
        for backup in backups {
            // A file and its half-made compressed form are one.
            if last_time != Some(backup.time) {
                kept += 1;
                last_time = Some(backup.time);
            }
            let surplus = self.keep_max > 0 && kept > self.keep_max;
            let done = if surplus || oldest.is_some_and(|oldest| backup.time < oldest) {
                absent_is_fine(std::fs::remove_file(&backup.path))
            } else if !backup.compressed && self.compression != Compression::None {
                self.compress(&backup.path)
            } else {
                Ok(())
            };
            result = result.and(done);
        }
        result
    }

    fn list(&self) -> io::Result<Vec<Backup>> {
        let dir = if self.dir.as_os_str().is_empty() { Path::new(".") } else { &self.dir };
        let mut backups = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some((time, compressed)) = name.to_str().and_then(|name| self.time_in(name))
                && entry.file_type()?.is_file()
            {
                backups.push(Backup { path: self.dir.join(&name), time, compressed });
            }
        }
        Ok(backups)
    }

    /// The time in a rolled file's name, and whether it is compressed; `None` if it is no such name.
    fn time_in(&self, name: &str) -> Option<(Timestamp, bool)> {
        let rest = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let bare = rest.strip_suffix(".gz").or_else(|| rest.strip_suffix(".zst"));
        let compressed = bare.and_then(|bare| bare.strip_suffix(&self.extension));
        let middle = compressed.or_else(|| rest.strip_suffix(&self.extension))?;
        let (time, _reason) = middle.rsplit_once('-')?;
        let time = self.layout.parse(time)?.to_zoned(self.zone()).ok()?;
        Some((time.timestamp(), compressed.is_some()))
    }

    /// Puts a compressed form in a file's place. It appears under its name only when it is whole.
    fn compress(&self, path: &Path) -> io::Result<()> {
        let mut from = match File::open(path) {
            Ok(file) => file,
            Err(error) => return absent_is_fine(Err(error)),
        };
        let metadata = from.metadata()?;
        let to = suffixed(path, self.compression.suffix());
        let draft = suffixed(&to, ".tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(metadata.mode());
        let file = options.open(&draft)?;
        let written = file
            .set_permissions(metadata.permissions())
            .and_then(|()| pack(self.compression, &mut from, &file))
            .and_then(|()| std::fs::rename(&draft, &to));
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
            return written;
        }
        // Only root may give files away.
        let _ = std::os::unix::fs::fchown(&file, Some(metadata.uid()), Some(metadata.gid()));
        absent_is_fine(std::fs::remove_file(path))
    }
}

fn pack(compression: Compression, from: &mut File, to: &File) -> io::Result<()> {
    match compression {
        Compression::None => {}
        Compression::Gzip => {
            let mut packer = flate2::write::GzEncoder::new(to, flate2::Compression::default());
            io::copy(from, &mut packer)?;
            packer.finish()?;
        }
        Compression::Zstd => zstd::stream::copy_encode(from, to, zstd::DEFAULT_COMPRESSION_LEVEL)?,
    }
    Ok(())
}

/// Whether two different times of a second survive being written and read.
fn reads_back(layout: &Layout) -> bool {
    [1_700_000_000, 1_717_171_717].into_iter().all(|second| {
        let Ok(time) = Timestamp::from_second(second) else { return false };
        let read = layout.parse(&layout.format(time, &TimeZone::UTC));
        read.and_then(|read| read.to_zoned(TimeZone::UTC).ok()).is_some_and(|read| read.timestamp() == time)
    })
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Somebody else may have removed a file first.
fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn backups(dir: &Path, keep: usize, days: u32, compression: Compression) -> Backups {
        Backups::new(&dir.join("access.log"), TIME_LAYOUT_DEFAULT, keep, days, false, compression)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const TIME: &str = "2024-02-05T03:04:09.012Z";

    #[test]
    fn names_of_rolled_files() {
        let dir = tempfile::tempdir().unwrap();
        let backups = backups(dir.path(), 10, 90, Compression::None);
        for _ in 0..2 {
            std::fs::write(backups.file(), "x").unwrap();
            backups.rename(Reason::Size, TIME.parse().unwrap()).unwrap();
        }
        std::fs::write(backups.file(), "x").unwrap();
        backups.rename(Reason::Time, TIME.parse().unwrap()).unwrap();
        assert_eq!(
            names(dir.path()),
            [
                "access-2024-02-05T03-04-09.012-size.log",
                "access-2024-02-05T03-04-09.012-time.log",
                "access-2024-02-05T03-04-09.013-size.log",
            ]
        );
        for name in names(dir.path()) {
            assert!(backups.time_in(&name).is_some(), "{name}");
        }
        for no in ["access.log", "access-x-size.log", "access-2024-02-05T03-04-09.012-size.txt", "other.log"]
        {
            assert_eq!(backups.time_in(no), None, "{no}");
        }
    }

    #[test]
    fn old_and_surplus_files_go_and_the_rest_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        for (name, body) in [
            ("access-2024-02-05T03-04-09.001-size.log", "one"),
            ("access-2024-02-05T03-04-09.002-size.log", "two"),
            ("access-2024-02-05T03-04-09.003-size.log.gz", "not touched"),
            ("access-2024-02-01T03-04-09.000-time.log", "surplus"),
            ("access.log", "current"),
            ("access-notes.log", "of somebody else"),
        ] {
            std::fs::write(dir.path().join(name), body).unwrap();
        }
        let now: Timestamp = TIME.parse().unwrap();
        backups(dir.path(), 3, 90, Compression::Gzip).clean_up_now(now).unwrap();
        assert_eq!(
            names(dir.path()),
            [
                "access-2024-02-05T03-04-09.001-size.log.gz",
                "access-2024-02-05T03-04-09.002-size.log.gz",
                "access-2024-02-05T03-04-09.003-size.log.gz",
                "access-notes.log",
                "access.log",
            ]
        );
        let packed = File::open(dir.path().join("access-2024-02-05T03-04-09.002-size.log.gz")).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "two");

        let later = now.checked_add(49.hours()).unwrap();
        backups(dir.path(), 0, 2, Compression::None).clean_up_now(later).unwrap();
        assert_eq!(names(dir.path()), ["access-notes.log", "access.log"]);
    }

    #[test]
    fn zstd_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("access-2024-02-05T03-04-09.001-size.log");
        std::fs::write(&file, "body").unwrap();
        backups(dir.path(), 3, 0, Compression::Zstd).clean_up_now(TIME.parse().unwrap()).unwrap();
        let packed = File::open(suffixed(&file, ".zst")).unwrap();
        assert_eq!(zstd::stream::decode_all(packed).unwrap(), b"body");
        assert!(!exists(&file));
    }

    #[test]
    fn a_layout_that_does_not_read_back_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let new = |layout| Backups::new(&dir.path().join("a.log"), layout, 1, 1, false, Compression::None);
        let name = |layout| new(layout).backup_file(Reason::Time, TIME.parse().unwrap());
        assert!(name("15h").ends_with("a-2024-02-05T03-04-09.012-time.log"));
        assert!(name("2006-01-02-15-04-05").ends_with("a-2024-02-05-03-04-09-time.log"));
    }
}
