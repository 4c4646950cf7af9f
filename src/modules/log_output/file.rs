//! `output file`: a log file, rolled when it is full or when it is time to.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		output file access.log {
//! 			roll_size 5MiB
//! 			roll_keep 2
//! 			roll_keep_for 30d
//! 		}
//! 	}
//! 	respond "Hello"
//! }
//! ```

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::adapt::{Cursor, Error, SubmoduleReader, SubmoduleSyntax};
use crate::config::logging::WRITER_TAG;
use crate::config::schema::ModuleSchema;
use crate::config::{Duration, ModuleJson, is_default, parse_bytes};
use crate::log::{
    Backups, Compression, Destination, DirMode, FileOptions, LogError, LogFile, RollOptions,
    TIME_LAYOUT_DEFAULT, WriterType, global,
};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    log_writers: &[WriterType { id: NAME, provision }],
    submodules: &[SubmoduleSyntax { namespace: NAMESPACE, name: NAME, syntax: SYNTAX, parse }],
    schemas: &[ModuleSchema::of::<FileWriter>("caddy.logging.writers", NAME)],
    ..Module::EMPTY
};

const NAME: &str = "file";
const SYNTAX: &str = "file <filename> {
	mode <mode>
	dir_mode <mode|inherit|from_file>
	roll_disabled
	roll_size <size>
	roll_interval <duration>
	roll_minutes <minutes...>
	roll_at <times...>
	roll_uncompressed
	roll_compression <none|gzip|zstd>
	roll_local_time
	roll_keep <num>
	roll_keep_for <days>
	backup_time_format <layout>
}";

const MIB: u64 = 1 << 20;
const DAY_NANOS: i64 = 24 * 3600 * 1_000_000_000;
/// What holds if nothing, or zero, is said.
const ROLL_SIZE_MIB_DEFAULT: u64 = 100;
const ROLL_KEEP_DEFAULT: i64 = 10;
const ROLL_KEEP_DAYS_DEFAULT: i64 = 90;

/// The JSON form (<https://caddyserver.com/docs/json/logging/logs/writer/file/>).
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FileWriter {
    /// Where the file is, with placeholders.
    #[serde(skip_serializing_if = "is_default")]
    filename: String,
    /// Its permissions.
    #[serde(skip_serializing_if = "is_default")]
    mode: Mode,
    /// The permissions of folders that are made for it: a mode, `inherit` or `from_file`.
    #[serde(skip_serializing_if = "is_default")]
    dir_mode: String,
    /// Whether it is rolled; unset means yes.
    #[serde(skip_serializing_if = "is_default")]
    roll: Option<bool>,
    /// The most MiB in it.
    #[serde(skip_serializing_if = "is_default")]
    roll_size_mb: i64,
    /// How long it is written to.
    #[serde(skip_serializing_if = "is_default")]
    roll_interval: Duration,
    /// The minutes of each hour at which it is rolled.
    #[serde(skip_serializing_if = "is_default")]
    roll_minutes: Vec<i64>,
    /// The times of each day at which it is rolled, as `15:04`.
    #[serde(skip_serializing_if = "is_default")]
    roll_at: Vec<String>,
    /// Whether rolled files are compressed; `roll_compression` is preferred.
    #[serde(skip_serializing_if = "is_default")]
    roll_gzip: Option<bool>,
    /// `none`, `gzip` or `zstd`.
    #[serde(skip_serializing_if = "is_default")]
    roll_compression: String,
    /// Whether the times in names of rolled files are local instead of UTC.
    #[serde(skip_serializing_if = "is_default")]
    roll_local_time: bool,
    /// How many rolled files are kept.
    #[serde(skip_serializing_if = "is_default")]
    roll_keep: i64,
    /// How many days they are kept.
    #[serde(skip_serializing_if = "is_default")]
    roll_keep_days: i64,
    /// Go's layout for the times in their names.
    #[serde(skip_serializing_if = "is_default")]
    backup_time_format: String,
}

/// Permissions, written in octal digits; zero is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mode(u32);

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        // As in Go, where a text is filled up with zeros first.
        let text = format!("{text:0>4}");
        let digits = text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(&text, 8).ok().filter(|_| digits);
        mode.map(Self).ok_or_else(|| format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileMode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-7]*$"})
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn parse(reader: &mut SubmoduleReader<'_>) -> Result<Value, Error> {
    let cursor = &mut reader.cursor;
    cursor.next();
    let [filename] = cursor.last_args()?;
    let mut writer = FileWriter { filename, ..FileWriter::default() };
    while cursor.next_block(0) {
        parse_option(&mut writer, cursor)?;
    }
    Ok(json!(writer))
}

fn parse_option(writer: &mut FileWriter, cursor: &mut Cursor) -> Result<(), Error> {
    match cursor.val() {
        "roll_minutes" => {
            let number = |text: &str| number("roll_minutes", text);
            writer.roll_minutes = list(cursor, "roll_minutes", number)?;
        }
        "roll_at" => writer.roll_at = list(cursor, "roll_at", |text| Ok(text.to_owned()))?,
        option @ ("roll_disabled" | "roll_uncompressed" | "roll_local_time") => {
            match option {
                "roll_disabled" => writer.roll = Some(false),
                "roll_uncompressed" => writer.roll_gzip = Some(false),
                _ => writer.roll_local_time = true,
            }
            let [] = cursor.last_args()?;
        }
        option => {
            let option = option.to_owned();
            let [value] = cursor.all_args().map_err(|error| match is_option(&option) {
                true => error,
                false => unrecognized(cursor, &option),
            })?;
            parse_value(writer, &option, &value).map_err(|problem| match problem {
                Some(problem) => cursor.err(problem),
                None => unrecognized(cursor, &option),
            })?;
        }
    }
    Ok(())
}

fn unrecognized(cursor: &Cursor, option: &str) -> Error {
    cursor.err(format!("unrecognized subdirective '{option}'"))
}

fn is_option(name: &str) -> bool {
    SYNTAX.lines().any(|line| line.trim().split(' ').next() == Some(name))
}

/// Reads an option with one value; the error is `None` if there is no such option.
fn parse_value(writer: &mut FileWriter, option: &str, value: &str) -> Result<(), Option<String>> {
    match option {
        "mode" => writer.mode = Mode::parse(value).map_err(|error| format!("parsing mode: {error}"))?,
        "dir_mode" => {
            let value = value.trim();
            if !matches!(value.to_lowercase().as_str(), "inherit" | "from_file") {
                Mode::parse(value).map_err(|error| format!("parsing dir_mode: {error}"))?;
            }
            value.clone_into(&mut writer.dir_mode);
        }
        "roll_size" => {
            let size = parse_bytes(value).map_err(|error| format!("parsing size: {error}"))?;
            writer.roll_size_mb = i64::try_from(size.div_ceil(MIB)).unwrap_or(i64::MAX);
        }
        "roll_compression" => {
            let value = value.trim().to_lowercase();
            if !matches!(value.as_str(), "none" | "gzip" | "zstd") {
                let message = "parsing roll_compression: must be 'none', 'gzip' or 'zstd'";
                return Err(Some(message.to_owned()));
            }
            writer.roll_compression = value;
        }
        "roll_keep" => writer.roll_keep = number("roll_keep", value)?,
        "roll_keep_for" => {
            let keep: Duration =
                value.parse().map_err(|error| format!("parsing roll_keep_for duration: {error}"))?;
            if keep < Duration::ZERO {
                return Err(Some(format!("negative roll_keep_for duration: {keep}")));
            }
            let nanos = keep.as_nanos();
            writer.roll_keep_days = nanos / DAY_NANOS + i64::from(nanos % DAY_NANOS > 0);
        }
        "roll_interval" => {
            writer.roll_interval =
                value.parse().map_err(|error| format!("parsing roll_interval duration: {error}"))?;
        }
        "backup_time_format" => value.clone_into(&mut writer.backup_time_format),
        _ => return Err(None),
    }
    Ok(())
}

fn number(option: &str, text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("parsing {option} number: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Reads arguments each of which may be several, with commas between.
fn list<T>(
    cursor: &mut Cursor,
    option: &str,
    item: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    let args = cursor.remaining_args();
    if args.is_empty() {
        return Err(cursor.arg_err());
    }
    let mut items = Vec::new();
    for text in args.iter().flat_map(|arg| arg.split(',')).map(str::trim) {
        if text.is_empty() {
            return Err(cursor.err(format!("parsing {option}: empty value")));
        }
        items.push(item(text).map_err(|problem| cursor.err(problem))?);
    }
    Ok(items)
}

fn provision(json: &ModuleJson) -> Result<Option<Destination>, LogError> {
    let writer: FileWriter = json.decode(WRITER_TAG)?;
    let path = global::expand(&writer.filename)?;
    if path.is_empty() {
        return Err(LogError::invalid("a log file needs a filename"));
    }
    let path = std::path::absolute(&path)
        .map_err(|error| LogError::invalid(format!("log file '{path}': {error}")))?;
    let mode = Some(writer.mode.0 & 0o777).filter(|mode| *mode != 0);
    let options = FileOptions {
        mode,
        dir_mode: dir_mode(&writer.dir_mode)?,
        roll: match writer.roll {
            Some(false) => None,
            _ => Some(roll(&writer, &path)?),
        },
        path,
    };
    let name = options.path.display().to_string();
    Ok(Some(Destination {
        key: format!("file:{name}:{}", json!(writer)),
        name,
        standard_stream: false,
        open: Box::new(|| Ok(Box::new(LogFile::open(options)?))),
    }))
}

fn dir_mode(text: &str) -> Result<DirMode, LogError> {
    Ok(match text.trim().to_lowercase().as_str() {
        "" | "0" => DirMode::Fixed(0o700),
        "inherit" => DirMode::Inherit,
        "from_file" => DirMode::FromFile,
        mode => {
            let Mode(mode) =
                Mode::parse(mode).map_err(|error| LogError::invalid(format!("dir_mode: {error}")))?;
            DirMode::Fixed(mode & 0o777)
        }
    })
}

fn roll(writer: &FileWriter, path: &Path) -> Result<RollOptions, LogError> {
    let size_mib = match u64::try_from(writer.roll_size_mb) {
        Ok(0) => ROLL_SIZE_MIB_DEFAULT,
        Ok(size) => size,
        Err(_) => return Err(LogError::invalid("roll_size_mb cannot be negative")),
    };
    let compression = match (writer.roll_compression.trim().to_lowercase().as_str(), writer.roll_gzip) {
        ("none", _) | ("", Some(false)) => Compression::None,
        ("gzip" | "", _) => Compression::Gzip,
        ("zstd", _) => Compression::Zstd,
        (other, _) => return Err(LogError::invalid(format!("invalid roll_compression: {other}"))),
    };
    let or = |said: i64, default: i64| if said == 0 { default } else { said };
    let layout = Some(writer.backup_time_format.as_str()).filter(|layout| !layout.is_empty());
    // A negative number keeps all of them.
    let keep_max = usize::try_from(or(writer.roll_keep, ROLL_KEEP_DEFAULT)).unwrap_or(0);
    let keep_days_max = u32::try_from(or(writer.roll_keep_days, ROLL_KEEP_DAYS_DEFAULT)).unwrap_or(0);
    let layout = layout.unwrap_or(TIME_LAYOUT_DEFAULT);
    let backups = Backups::new(path, layout, keep_max, keep_days_max, writer.roll_local_time, compression);
    Ok(RollOptions {
        size_bytes_max: size_mib.saturating_mul(MIB),
        interval: writer.roll_interval.positive(),
        at: times_of_day(writer),
        backups: Arc::new(backups),
    })
}

/// The times of `roll_minutes` and `roll_at`. As in Caddy, one that there isn't is only warned of.
fn times_of_day(writer: &FileWriter) -> Vec<(i8, i8)> {
    let mut times = Vec::new();
    for said in &writer.roll_minutes {
        match i8::try_from(*said) {
            Ok(minute @ 0..60) => times.extend((0..24).map(|hour| (hour, minute))),
            _ => {
                tracing::warn!(target: "log", minute = *said, "there is no such minute to roll a log file at")
            }
        }
    }
    for said in &writer.roll_at {
        let time =
            said.split_once(':').and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
        match time {
            Some((hour @ 0..24, minute @ 0..60)) => times.push((hour, minute)),
            _ => tracing::warn!(target: "log", time = said, "there is no such time to roll a log file at"),
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(json: Value) -> FileWriter {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn options_that_are_not_said_have_defaults() {
        let options = roll(&writer(json!({})), Path::new("a.log")).unwrap();
        assert_eq!(options.size_bytes_max, 100 * MIB);
        assert_eq!((options.backups.keep_max, options.backups.keep_days_max), (10, 90));
        assert_eq!(options.backups.compression, Compression::Gzip);
        let compression = |json| roll(&writer(json), Path::new("a.log")).unwrap().backups.compression;
        assert_eq!(compression(json!({"roll_gzip": false})), Compression::None);
        assert_eq!(compression(json!({"roll_gzip": false, "roll_compression": "zstd"})), Compression::Zstd);
        let all = roll(&writer(json!({"roll_keep": -1, "roll_keep_days": -1})), Path::new("a.log")).unwrap();
        assert_eq!((all.backups.keep_max, all.backups.keep_days_max), (0, 0));
    }

    #[test]
    fn times_of_the_day() {
        let times =
            times_of_day(&writer(json!({"roll_minutes": [30, 60], "roll_at": ["6:05", "24:00", "x"]})));
        assert_eq!(times.len(), 25);
        assert!(times.contains(&(23, 30)) && times.contains(&(6, 5)));
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(Mode::parse("640"), Ok(Mode(0o640)));
        assert_eq!(json!(Mode(0o640)), json!("0640"));
        assert_eq!(Mode::parse(""), Ok(Mode(0)));
        for no in ["8", "+7", "0o7", "rw"] {
            assert!(Mode::parse(no).is_err(), "{no}");
        }
    }

    #[test]
    fn a_name_of_no_file_is_refused() {
        let json: ModuleJson = serde_json::from_value(json!({"output": "file"})).unwrap();
        assert!(provision(&json).is_err());
    }
}
