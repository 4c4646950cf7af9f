//! Log files, which are rolled before they fill the disk: the file is renamed with the time in its
//! name, and a new one takes its place. What becomes of renamed files is in `backups`.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan as _, Zoned, tz::TimeZone};

use super::backups::{Backups, Reason};
use super::outlet::{Batch, Output};

/// Permissions of a new log file unless the configuration says otherwise.
const MODE_DEFAULT: u32 = 0o600;

/// A log file as the configuration wants it.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Where it is.
    pub path: PathBuf,
    /// Its permissions. `None`: of a new file 0600, of an existing one those that it has.
    pub mode: Option<u32>,
    /// The permissions of folders that are made for it.
    pub dir_mode: DirMode,
    /// When it is rolled; `None` is never.
    pub roll: Option<RollOptions>,
}

/// The permissions of folders that are made for a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirMode {
    /// These.
    Fixed(u32),
    /// Those of the nearest folder that is there, and whoever may read may enter.
    Inherit,
    /// Those of the file, and whoever may read may enter.
    FromFile,
}

/// When a log file is rolled, and what becomes of the old ones.
#[derive(Clone, Debug)]
pub struct RollOptions {
    /// It never grows beyond this.
    pub size_bytes_max: u64,
    /// It is rolled by the first entry after this time.
    pub interval: Option<Duration>,
    /// It is rolled at these times of the day, as (hour, minute).
    pub at: Vec<(i8, i8)>,
    /// What becomes of the old ones.
    pub backups: Arc<Backups>,
}

/// A log file.
pub struct LogFile {
    options: FileOptions,
    file: File,
    /// The file's device and inode, by which one sees that somebody has moved it away.
    identity: (u64, u64),
    /// A device or a pipe is neither moved nor rolled.
    regular: bool,
    size: u64,
    clock: Clock,
}

/// When a file has been rolled, and will be.
struct Clock {
    rolled: Instant,
    next: Option<(Timestamp, Instant)>,
}

impl LogFile {
    /// Opens the file, and makes it and its folders if need be.
    ///
    /// # Errors
    /// The file system says no.
    pub fn open(options: FileOptions) -> io::Result<Self> {
        make_dir(&options)?;
        let (file, metadata) = open(&options)?;
        if let Some(roll) = &options.roll
            && metadata.is_file()
        {
            roll.backups.clean_up();
        }
        let clock = Clock { rolled: Instant::now(), next: next_mark(options.roll.as_ref()) };
        Ok(Self {
            file,
            identity: (metadata.dev(), metadata.ino()),
            regular: metadata.is_file(),
            size: metadata.len(),
            clock,
            options,
        })
    }

    /// Opens the file anew if there is another one in its place, or none: somebody has moved it, or
    /// another log that writes to it has rolled it.
    fn follow(&mut self) -> io::Result<()> {
        match std::fs::metadata(&self.options.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) == self.identity => {
                self.size = metadata.len();
                return Ok(());
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => make_dir(&self.options)?,
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let (file, metadata) = open(&self.options)?;
        self.file = file;
        self.identity = (metadata.dev(), metadata.ino());
        self.size = metadata.len();
        Ok(())
    }

    /// Renames the file and begins a new one with the same owner and permissions.
    fn roll(&mut self, reason: Reason) -> io::Result<()> {
        let Some(roll) = &self.options.roll else { return Ok(()) };
        let backups = roll.backups.clone();
        let old = self.file.metadata()?;
        backups.rename(reason, Timestamp::now())?;
        let mode = self.options.mode.unwrap_or(old.mode() & 0o7777);
        let options = FileOptions { mode: Some(mode), ..self.options.clone() };
        let (file, metadata) = open(&options)?;
        if (metadata.uid(), metadata.gid()) != (old.uid(), old.gid()) {
            // Only root may give files away; a log of our own is better than none.
            let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
        }
        self.file = file;
        self.identity = (metadata.dev(), metadata.ino());
        self.size = metadata.len();
        backups.clean_up();
        Ok(())
    }

    /// Rolls the file if it is time to.
    fn roll_by_time(&mut self) -> io::Result<()> {
        let Some(roll) = &self.options.roll else { return Ok(()) };
        let mark = self.clock.next.filter(|(mark, _)| *mark <= Timestamp::now());
        let elapsed = roll.interval.is_some_and(|interval| self.clock.rolled.elapsed() >= interval);
        if mark.is_none() && !elapsed {
            return Ok(());
        }
        self.clock = Clock { rolled: Instant::now(), next: next_mark(Some(roll)) };
        // An empty file would only become an empty old one.
        if self.size > 0 { self.roll(Reason::Time) } else { Ok(()) }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Output for LogFile {
    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        if !self.regular {
            return self.file.write_all(batch.bytes());
        }
        self.follow()?;
        self.roll_by_time()?;
        let Some(max) = self.options.roll.as_ref().map(|roll| roll.size_bytes_max) else {
            return self.write_all(batch.bytes());
        };
        // Entries are written together as far as they fit.
        let (mut start, mut end) = (0, 0);
        for entry in batch.entries() {
            let full = self.size + (end - start) as u64;
            if full > 0 && full + entry.len() as u64 > max {
                self.write_all(&batch.bytes()[start..end])?;
                start = end;
                self.roll(Reason::Size)?;
            }
            end += entry.len();
        }
        self.write_all(&batch.bytes()[start..end])
    }

    fn due(&self) -> Option<Instant> {
        self.clock.next.filter(|_| self.regular).map(|(_, due)| due)
    }

    fn tick(&mut self) -> io::Result<()> {
        self.follow()?;
        self.roll_by_time()
    }
}

/// Opens the file for appending, with the permissions that it should have.
fn open(options: &FileOptions) -> io::Result<(File, Metadata)> {
    let mode = options.mode.unwrap_or(MODE_DEFAULT);
    let file = OpenOptions::new().append(true).create(true).mode(mode).open(&options.path)?;
    let metadata = file.metadata()?;
    // The umask may have taken some away, and a file that was there has its own.
    let wanted = options.mode.filter(|mode| metadata.is_file() && metadata.mode() & 0o777 != mode & 0o777);
    if let Some(mode) = wanted {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok((file, metadata))
}

/// Makes the folders that the file is to be in.
fn make_dir(options: &FileOptions) -> io::Result<()> {
    let dir = options.path.parent().unwrap_or(Path::new("/"));
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let mode = match options.dir_mode {
        DirMode::Fixed(mode) => mode,
        DirMode::Inherit => {
            let nearest = dir.ancestors().skip(1).find(|dir| dir.is_dir() || dir.as_os_str().is_empty());
            let nearest = nearest.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            enterable(std::fs::metadata(nearest)?.mode() & 0o777)
        }
        DirMode::FromFile => enterable(options.mode.unwrap_or(0)) | 0o200,
    };
    DirBuilder::new().recursive(true).mode(mode).create(dir)
}

/// Whoever may read a folder may also enter it.
fn enterable(mode: u32) -> u32 {
    mode | (mode & 0o444) >> 2
}

/// The next of the times of the day at which a file is rolled, by the calendar and by our clock.
fn next_mark(roll: Option<&RollOptions>) -> Option<(Timestamp, Instant)> {
    let roll = roll?;
    let zone = if roll.backups.local_time { TimeZone::system() } else { TimeZone::UTC };
    let now = Timestamp::now();
    let mark = mark_after(&roll.at, &now.to_zoned(zone))?;
    let wait = Duration::try_from(mark.duration_since(now)).unwrap_or_default();
    Some((mark, Instant::now() + wait))
}

/// The first of the times of the day `at` that comes after `now`.
fn mark_after(at: &[(i8, i8)], now: &Zoned) -> Option<Timestamp> {
    let days = [Some(now.clone()), now.checked_add(1.day()).ok()];
    let marks = days.iter().flatten().flat_map(|day| {
        at.iter().filter_map(move |(hour, minute)| {
            let time = day.date().at(*hour, *minute, 0, 0);
            Some(time.to_zoned(day.time_zone().clone()).ok()?.timestamp())
        })
    });
    marks.filter(|mark| *mark > now.timestamp()).min()
}

#[cfg(test)]
mod tests {
    use super::super::backups::{Compression, TIME_LAYOUT_DEFAULT};
    use super::*;

    fn options(dir: &Path, size_bytes_max: u64) -> FileOptions {
        let path = dir.join("sub/access.log");
        let backups = Backups::new(&path, TIME_LAYOUT_DEFAULT, 3, 0, false, Compression::None);
        FileOptions {
            path,
            mode: None,
            dir_mode: DirMode::Fixed(0o700),
            roll: Some(RollOptions {
                size_bytes_max,
                interval: None,
                at: Vec::new(),
                backups: backups.into(),
            }),
        }
    }

    fn batch(entries: impl IntoIterator<Item = String>) -> Batch {
        let mut batch = Batch::default();
        entries.into_iter().for_each(|entry| batch.push(entry.as_bytes()));
        batch
    }

    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(dir.join("sub"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .filter_map(|(name, path)| Some((name, std::fs::read_to_string(path).ok()?)))
            .collect();
        files.sort();
        files
    }

    /// Waits for the clean-up thread.
    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "timed out");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_full_file_is_rolled_between_entries_and_only_some_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(options(dir.path(), 100)).unwrap();
        log.write(&batch((0..95).map(|number| format!("entry {number:03}\n")))).unwrap();
        // Ten entries of ten bytes fill a file; the current one holds the last five.
        until(|| files(dir.path()).len() == 4);
        let files = files(dir.path());
        let all: String = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(all.lines().count(), 35);
        let (current, text) = files.last().unwrap();
        assert_eq!(current, "access.log");
        assert!(text.starts_with("entry 090\n") && text.len() == 50, "{text}");
        for (name, text) in &files[..3] {
            assert!(name.starts_with("access-2") && name.ends_with("-size.log"), "{name}");
            assert_eq!(text.len(), 100, "{name}");
        }
    }

    #[test]
    fn what_is_in_the_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/access.log"), [b'x'; 95]).unwrap();
        let mut log = LogFile::open(options(dir.path(), 100)).unwrap();
        log.write(&batch(["123\n".to_owned(), "456\n".to_owned()])).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("sub/access.log")).unwrap(), "456\n");
    }

    #[test]
    fn an_interval_rolls_with_the_next_entry() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), 100);
        options.roll.as_mut().unwrap().interval = Some(Duration::from_millis(20));
        let mut log = LogFile::open(options).unwrap();
        log.write(&batch(["a\n".to_owned()])).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        log.write(&batch(["b\n".to_owned()])).unwrap();
        let files = files(dir.path());
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files[0].0.ends_with("-time.log") && files[0].1 == "a\n", "{files:?}");
    }

    #[test]
    fn a_file_that_somebody_moved_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(options(dir.path(), 100)).unwrap();
        log.write(&batch(["a\n".to_owned()])).unwrap();
        std::fs::rename(dir.path().join("sub/access.log"), dir.path().join("sub/moved")).unwrap();
        log.write(&batch(["b\n".to_owned()])).unwrap();
        let owned = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(files(dir.path()), [owned("access.log", "b\n"), owned("moved", "a\n")]);
    }

    #[test]
    fn permissions_of_files_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/access.log");
        let open = |mode: Option<u32>, dir_mode| {
            let _ = std::fs::remove_dir_all(dir.path().join("sub"));
            drop(LogFile::open(FileOptions { mode, dir_mode, ..options(dir.path(), 100) }).unwrap());
            (mode_of(file.parent().unwrap()), mode_of(&file))
        };
        assert_eq!(open(None, DirMode::Fixed(0o700)), (0o700, 0o600));
        assert_eq!(open(Some(0o640), DirMode::FromFile), (0o750, 0o640));
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o740)).unwrap();
        assert_eq!(open(Some(0o666), DirMode::Inherit), (0o750, 0o666));
        // A rolled file's successor is like it.
        let mut log = LogFile::open(FileOptions { mode: Some(0o644), ..options(dir.path(), 3) }).unwrap();
        log.write(&batch(["a\n".to_owned(), "b\n".to_owned()])).unwrap();
        assert_eq!((mode_of(&file), files(dir.path()).len()), (0o644, 2));
    }

    #[test]
    fn the_next_time_of_the_day() {
        let now: Timestamp = "2024-02-28T13:30:00Z".parse().unwrap();
        let now = now.to_zoned(TimeZone::UTC);
        let next = |at: &[(i8, i8)]| mark_after(at, &now).map(|mark| mark.to_string());
        assert_eq!(next(&[(0, 0), (14, 5), (13, 30)]).as_deref(), Some("2024-02-28T14:05:00Z"));
        assert_eq!(next(&[(13, 30), (6, 0)]).as_deref(), Some("2024-02-29T06:00:00Z"));
        assert_eq!(next(&[]), None);
    }
}
