//! The streams of a connection that carry no request (RFC 9114 section 6.2).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::BytesMut;
use quinn::ReadError;

use super::Shared;
use super::code::Code;
use super::frames::{
    self, CANCEL_PUSH, DATA, GOAWAY, HEADERS, MAX_PUSH_ID, OF_HTTP_2, PUSH_PROMISE, SETTINGS,
};
use super::reader::{Reader, Source, put_varint, varint};

/// What a stream in one direction is for.
const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const ENCODER: u64 = 0x02;
const DECODER: u64 = 0x03;

/// `SETTINGS_MAX_FIELD_SECTION_SIZE`
const FIELD_SECTION_MAX: u64 = 0x06;
/// Settings of HTTP/2, which must not be there (RFC 9114 section 7.2.4.1).
const SETTINGS_OF_HTTP_2: [u64; 5] = [0x00, 0x02, 0x03, 0x04, 0x05];

/// A frame on the control stream is kept until it is whole if it is one that we know; it may have so
/// many bytes. Settings have a dozen each.
const FRAME_BYTES_MAX: u64 = 4 * 1024;
/// `Set Dynamic Table Capacity` to nothing (RFC 9204 section 4.3.1), which is all that a client may say
/// there.
const NO_TABLE: u8 = 0b0010_0000;

/// Opens our control stream. QPACK needs no streams without a dynamic table.
pub(super) async fn open(
    connection: &quinn::Connection,
    section_bytes_max: usize,
) -> Result<quinn::SendStream, quinn::WriteError> {
    let mut control = connection.open_uni().await?;
    let mut settings = BytesMut::new();
    put_varint(&mut settings, FIELD_SECTION_MAX);
    put_varint(&mut settings, section_bytes_max as u64);
    let mut bytes = BytesMut::new();
    put_varint(&mut bytes, CONTROL);
    bytes.extend_from_slice(&frames::start(SETTINGS, settings.len()));
    bytes.extend_from_slice(&settings);
    control.write_all(&bytes).await?;
    Ok(control)
}

/// Tells the client that no stream from `id` on is served.
pub(super) async fn go_away(control: &mut quinn::SendStream, id: u64) -> Result<(), quinn::WriteError> {
    let mut payload = BytesMut::new();
    put_varint(&mut payload, id);
    let mut frame = frames::start(GOAWAY, payload.len());
    frame.extend_from_slice(&payload);
    control.write_all(&frame).await
}

/// What a client has said beside its requests.
pub(super) struct Said {
    /// Whether it has opened its control stream, and QPACK's two.
    opened: [AtomicBool; 3],
    /// So many bytes it takes in a field section.
    section_bytes_max: AtomicU64,
}

impl Default for Said {
    fn default() -> Self {
        Self { opened: Default::default(), section_bytes_max: AtomicU64::new(u64::MAX) }
    }
}

impl Said {
    /// Whether it is the first of these streams, of which there may be one.
    fn opens_first(&self, nth: usize) -> bool {
        !self.opened[nth].swap(true, Relaxed)
    }

    /// So many bytes the client takes in a field section.
    pub(super) fn section_bytes_max(&self) -> u64 {
        self.section_bytes_max.load(Relaxed)
    }
}

/// Why a stream ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With it the connection does.
    Connection(Code),
    /// It alone does.
    Quiet,
}

impl From<Code> for End {
    fn from(code: Code) -> Self {
        Self::Connection(code)
    }
}

/// Reads a stream that the client has opened, to its end.
pub(super) async fn read(shared: &Shared, recv: quinn::RecvStream) {
    if let End::Connection(code) = listen(&shared.said, recv).await {
        shared.connection.close(code.into(), b"");
    }
}

/// Takes in what the client says on a stream that it has opened.
pub(super) async fn listen(said: &Said, source: impl Source) -> End {
    let mut reader = Reader::new(source);
    match next(&mut reader).await {
        Ok(Some(kind)) => follow(said, kind, &mut reader).await,
        // It was reset, or ended, before it said what it is.
        Ok(None) | Err(_) => End::Quiet,
    }
}

async fn follow(said: &Said, kind: u64, reader: &mut Reader<impl Source>) -> End {
    let nth = match kind {
        CONTROL => 0,
        ENCODER => 1,
        DECODER => 2,
        // Only servers push.
        PUSH => return Code::StreamCreation.into(),
        _ => {
            reader.stop(Code::StreamCreation);
            return End::Quiet;
        }
    };
    if !said.opens_first(nth) {
        return Code::StreamCreation.into();
    }
    let end = match kind {
        CONTROL => control(said, reader).await,
        ENCODER => encoder(reader).await,
        // Acknowledges what we never do.
        _ => drain(reader).await,
    };
    match end {
        Ok(()) | Err(Failure::Lost(ReadError::Reset(_))) => Code::ClosedCriticalStream.into(),
        Err(Failure::Code(code)) => code.into(),
        Err(Failure::Lost(_)) => End::Quiet,
    }
}

/// Why a critical stream can't be read on.
enum Failure {
    Code(Code),
    Lost(ReadError),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Lost(error)
    }
}

/// The client's control stream.
async fn control(said: &Said, reader: &mut Reader<impl Source>) -> Result<(), Failure> {
    let (mut has_settings, mut push_id_max, mut goaway) = (false, 0, u64::MAX);
    while let Some(kind) = next(reader).await? {
        let length = next(reader).await?.ok_or(Failure::Code(Code::Frame))?;
        match kind {
            SETTINGS if !has_settings => {
                has_settings = true;
                settings(said, &payload(reader, length).await?).map_err(Failure::Code)?;
            }
            _ if !has_settings => return Err(Failure::Code(Code::MissingSettings)),
            // We promise no pushes, so there is nothing to cancel.
            CANCEL_PUSH => return Err(Failure::Code(Code::Id)),
            GOAWAY => {
                let id = whole_varint(&payload(reader, length).await?)?;
                if id > goaway {
                    return Err(Failure::Code(Code::Id));
                }
                goaway = id;
            }
            MAX_PUSH_ID => {
                let id = whole_varint(&payload(reader, length).await?)?;
                if id < push_id_max {
                    return Err(Failure::Code(Code::Id));
                }
                push_id_max = id;
            }
            DATA | HEADERS | SETTINGS | PUSH_PROMISE => return Err(Failure::Code(Code::FrameUnexpected)),
            kind if OF_HTTP_2.contains(&kind) => return Err(Failure::Code(Code::FrameUnexpected)),
            _ => skip(reader, length).await?,
        }
    }
    Ok(())
}

/// Takes in what the client asks for.
fn settings(said: &Said, mut payload: &[u8]) -> Result<(), Code> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let (id, length) = varint(payload).ok_or(Code::Frame)?;
        payload = &payload[length..];
        let (value, length) = varint(payload).ok_or(Code::Frame)?;
        payload = &payload[length..];
        if SETTINGS_OF_HTTP_2.contains(&id) || seen.contains(&id) {
            return Err(Code::Settings);
        }
        seen.push(id);
        if id == FIELD_SECTION_MAX {
            said.section_bytes_max.store(value, Relaxed);
        }
    }
    Ok(())
}

/// The client's QPACK encoder, which has nothing to say.
async fn encoder(reader: &mut Reader<impl Source>) -> Result<(), Failure> {
    loop {
        let held = reader.held();
        if held.iter().any(|byte| *byte != NO_TABLE) {
            return Err(Failure::Code(Code::EncoderStream));
        }
        reader.skip(reader.held().len());
        if !reader.more().await? {
            return Ok(());
        }
    }
}

async fn drain(reader: &mut Reader<impl Source>) -> Result<(), Failure> {
    loop {
        reader.skip(reader.held().len());
        if !reader.more().await? {
            return Ok(());
        }
    }
}

/// The next integer; nothing at the end of the stream.
async fn next(reader: &mut Reader<impl Source>) -> Result<Option<u64>, ReadError> {
    loop {
        if let Some((value, length)) = varint(reader.held()) {
            reader.skip(length);
            return Ok(Some(value));
        }
        if !reader.more().await? {
            return Ok(None);
        }
    }
}

async fn payload(reader: &mut Reader<impl Source>, length: u64) -> Result<bytes::Bytes, Failure> {
    let length = usize::try_from(length).ok().filter(|length| *length as u64 <= FRAME_BYTES_MAX);
    let length = length.ok_or(Failure::Code(Code::ExcessiveLoad))?;
    while reader.held().len() < length {
        if !reader.more().await? {
            return Err(Failure::Code(Code::Frame));
        }
    }
    Ok(reader.take(length))
}

fn whole_varint(payload: &[u8]) -> Result<u64, Failure> {
    match varint(payload) {
        Some((value, length)) if length == payload.len() => Ok(value),
        _ => Err(Failure::Code(Code::Frame)),
    }
}

async fn skip(reader: &mut Reader<impl Source>, mut length: u64) -> Result<(), Failure> {
    while length > 0 {
        let held = reader.held().len();
        let part = usize::try_from(length).map_or(held, |length| length.min(held));
        reader.skip(part);
        length -= part as u64;
        if length > 0 && !reader.more().await? {
            return Err(Failure::Code(Code::Frame));
        }
    }
    Ok(())
}
