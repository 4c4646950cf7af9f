//! The form in which Caddy keeps the keys of session tickets in a storage: one struct in Go's gob
//! (<https://pkg.go.dev/encoding/gob>), whose fields are the keys and when they changed, and will.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::KEY_BYTES;

/// The secret that a key is made of.
pub(super) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Keys that instances share.
#[derive(Clone)]
pub(super) struct SharedKeys {
    /// Newest first.
    pub(super) secrets: Vec<Secret>,
    /// When the newest was made.
    pub(super) last_rotation: SystemTime,
    /// When there shall be a newer one.
    pub(super) next_rotation: SystemTime,
}

/// The messages that describe the types, as Go writes them: `distributedSTEK` (64) of `[][32]uint8` (66), which
/// is made of `[32]uint8` (65), and twice `Time` (67).
const TYPES: &[u8] =
    b"\x4a\x7f\x03\x01\x01\x0fdistributedSTEK\x01\xff\x80\0\x01\x03\x01\x04Keys\x01\xff\x84\0\
    \x01\x0cLastRotation\x01\xff\x86\0\x01\x0cNextRotation\x01\xff\x86\0\0\0\
    \x1a\xff\x83\x02\x01\x01\x0b[][32]uint8\x01\xff\x84\0\x01\xff\x82\0\0\
    \x0e\xff\x81\x01\x01\x02\xff\x82\0\x01\x06\x01\x40\0\0\
    \x10\xff\x85\x05\x01\x01\x04Time\x01\xff\x86\0\0\0";
/// The type of the value among [`TYPES`].
const VALUE_TYPE: i64 = 64;
/// From the first year of our era, where Go's time begins, to 1970.
const SECONDS_BEFORE_1970: u64 = 62_135_596_800;
/// A time in the form of `Time.MarshalBinary`: its version, seconds, nanoseconds, and minutes from UTC.
const TIME_BYTES: usize = 15;
const TIME_VERSION: u8 = 1;
/// The same with seconds from UTC too.
const LONG_TIME_BYTES: usize = 16;
const LONG_TIME_VERSION: u8 = 2;

impl SharedKeys {
    /// Reads a file of Caddy's or ours.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut all = Reader(bytes);
        // What describes types is passed over: its fields stand in a fixed order.
        let mut value = loop {
            let length = all.length().ok_or("it breaks off")?;
            let mut message = Reader(all.take(length).ok_or("it breaks off")?);
            if message.int().ok_or("a message without type")? > 0 {
                break message;
            }
        };
        let mut keys = Self { secrets: Vec::new(), last_rotation: UNIX_EPOCH, next_rotation: UNIX_EPOCH };
        let mut field = 0;
        loop {
            match value.uint().ok_or("the value breaks off")? {
                0 => break,
                further => field += further.min(u64::from(u8::MAX)),
            }
            match field {
                1 => keys.secrets = value.secrets().ok_or("keys that are none")?,
                2 => keys.last_rotation = value.time().ok_or("a time that is none")?,
                3 => keys.next_rotation = value.time().ok_or("a time that is none")?,
                _ => return Err("a field that is not known"),
            }
        }
        if keys.secrets.is_empty() { Err("there is no key") } else { Ok(keys) }
    }

    /// The file, as Caddy writes it.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut value = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES * (self.secrets.len() + 1)));
        write_uint(&mut value, VALUE_TYPE.unsigned_abs() << 1);
        value.push(1);
        write_uint(&mut value, self.secrets.len() as u64);
        for secret in &self.secrets {
            write_uint(&mut value, KEY_BYTES as u64);
            secret.iter().for_each(|byte| write_uint(&mut value, u64::from(*byte)));
        }
        for time in [self.last_rotation, self.next_rotation] {
            value.push(1);
            write_time(&mut value, time);
        }
        value.push(0);
        let mut file = Zeroizing::new(Vec::with_capacity(TYPES.len() + 4 + value.len()));
        file.extend_from_slice(TYPES);
        write_uint(&mut file, value.len() as u64);
        file.extend_from_slice(&value);
        file
    }
}

/// Small numbers are one byte; others so many as a byte before them says, as a negative number.
fn write_uint(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(small @ 0..0x80) => out.push(small),
        _ => {
            let bytes = number.to_be_bytes();
            let rest = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            let count = u8::try_from(rest.len()).expect("invariant: a number has eight bytes at most");
            out.push(count.wrapping_neg());
            out.extend_from_slice(rest);
        }
    }
}

fn write_time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.push(TIME_BYTES as u8);
    out.push(TIME_VERSION);
    out.extend_from_slice(&(since.as_secs().saturating_add(SECONDS_BEFORE_1970)).to_be_bytes());
    out.extend_from_slice(&since.subsec_nanos().to_be_bytes());
    out.extend_from_slice(&[0, 0]);
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn uint(&mut self) -> Option<u64> {
        match *self.take(1)?.first()? {
            small @ 0..0x80 => Some(small.into()),
            negative => {
                let count = usize::from(negative.wrapping_neg());
                let bytes = self.take(count).filter(|_| count <= 8)?;
                Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
            }
        }
    }

    /// The sign is the last bit.
    fn int(&mut self) -> Option<i64> {
        let number = self.uint()?;
        let magnitude = i64::try_from(number >> 1).ok()?;
        Some(if number & 1 == 1 { !magnitude } else { magnitude })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.uint()?).ok()
    }

    fn secrets(&mut self) -> Option<Vec<Secret>> {
        let count = self.length()?;
        // Each takes some bytes, so that there are no more than the file has.
        (0..count).map(|_| self.secret()).collect()
    }

    fn secret(&mut self) -> Option<Secret> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        if self.length()? != KEY_BYTES {
            return None;
        }
        for byte in secret.iter_mut() {
            *byte = u8::try_from(self.uint()?).ok()?;
        }
        Some(secret)
    }

    fn time(&mut self) -> Option<SystemTime> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        match (length, bytes.first()) {
            (TIME_BYTES, Some(&TIME_VERSION)) | (LONG_TIME_BYTES, Some(&LONG_TIME_VERSION)) => {}
            _ => return None,
        }
        let seconds = u64::from_be_bytes(bytes[1..9].try_into().ok()?);
        let nanos = u32::from_be_bytes(bytes[9..13].try_into().ok()?);
        // Before 1970 is as good as 1970: long ago.
        let since = Duration::new(seconds.saturating_sub(SECONDS_BEFORE_1970), nanos.min(999_999_999));
        UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files that Caddy 2.11.7 has written, behind [`TYPES`]: one key, and three of at most three.
    const ONE: &str = "5aff80010120ffadffc003ffcbffcc6922ff90ffd0ffecff85fff0fff919fffa1a20ffc9fff3090fff9461ffc8ffee\
        47ffdd4c7b4565ffaa010f010000000ee29e6de6197aa8cc0000010f010000000ee29e6deb197aa8cc000000";
    const THREE: &str = "ffbbff800103200b67ffc8fff9ffdb73fffaffc2ffc2ffb5ffdd40fff0fff9ffa5641fffe2ff85ffd24fffd744ff9a\
        140e66ff832afff1ffd4412038ffea6ffff612092a2641fff114ffc77f4555ffa3612a3977ffda65ffdb29397dffb7ffedffdbffb54f\
        ffe520ffadffc003ffcbffcc6922ff90ffd0ffecff85fff0fff919fffa1a20ffc9fff3090fff9461ffc8ffee47ffdd4c7b4565ffaa01\
        0f010000000ee29e6df01a9bc722000001 0f010000000ee29e6df51a9bc722000000";

    fn file(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        [TYPES, &digits.chunks(2).map(pair).collect::<Vec<_>>()].concat()
    }

    #[test]
    fn caddys_files_are_read_and_written_to_the_byte() {
        for (hex, count) in [(ONE, 1), (THREE, 3)] {
            let keys = SharedKeys::decode(&file(hex)).unwrap();
            assert_eq!(keys.secrets.len(), count);
            assert_eq!(
                keys.next_rotation.duration_since(keys.last_rotation).unwrap(),
                Duration::from_secs(5)
            );
            assert_eq!(*keys.encode(), file(hex));
        }
        let keys = SharedKeys::decode(&file(ONE)).unwrap();
        assert_eq!(keys.secrets[0][..4], [0xad, 0xc0, 3, 0xcb]);
        // The oldest of the other file.
        assert_eq!(SharedKeys::decode(&file(THREE)).unwrap().secrets[2], keys.secrets[0]);
        let at = keys.last_rotation.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(at, Duration::new(1_795_978_982, 427_469_004));
    }

    #[test]
    fn a_spoilt_file_is_refused_and_harms_nobody() {
        let whole = file(ONE);
        for length in 0..whole.len() {
            assert!(SharedKeys::decode(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xf8, 0xff] {
                let mut spoilt = whole.clone();
                spoilt[at] = value;
                _ = SharedKeys::decode(&spoilt);
            }
        }
        let keys = |value: &[u8]| SharedKeys::decode(&[&[value.len() as u8], value].concat()).err();
        assert_eq!(keys(&[0xff, 0x80, 0]), Some("there is no key"));
        assert_eq!(keys(&[0xff, 0x80, 4, 1, 0]), Some("a field that is not known"));
        assert_eq!(keys(&[0xff, 0x80, 1, 1, 31, 0]), Some("keys that are none"));
    }

    #[test]
    fn numbers_take_the_fewest_bytes() {
        for (number, bytes) in [
            (0, &[0][..]),
            (0x7f, &[0x7f]),
            (0x80, &[0xff, 0x80]),
            (0x100, &[0xfe, 1, 0]),
            (u64::MAX, &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let mut out = Vec::new();
            write_uint(&mut out, number);
            assert_eq!(out, bytes);
            assert_eq!(Reader(bytes).uint(), Some(number));
        }
    }
}
