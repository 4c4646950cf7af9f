//! Error codes of HTTP/3 (RFC 9114 section 8.1, RFC 9204 section 6).

use quinn::VarInt;

/// What a stream or a connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Code {
    /// `H3_NO_ERROR`
    NoError = 0x100,
    /// `H3_INTERNAL_ERROR`
    Internal = 0x102,
    /// `H3_STREAM_CREATION_ERROR`
    StreamCreation = 0x103,
    /// `H3_CLOSED_CRITICAL_STREAM`
    ClosedCriticalStream = 0x104,
    /// `H3_FRAME_UNEXPECTED`
    FrameUnexpected = 0x105,
    /// `H3_FRAME_ERROR`
    Frame = 0x106,
    /// `H3_EXCESSIVE_LOAD`
    ExcessiveLoad = 0x107,
    /// `H3_ID_ERROR`
    Id = 0x108,
    /// `H3_SETTINGS_ERROR`
    Settings = 0x109,
    /// `H3_MISSING_SETTINGS`
    MissingSettings = 0x10a,
    /// `H3_REQUEST_REJECTED`: nothing was done about the request
    RequestRejected = 0x10b,
    /// `H3_REQUEST_CANCELLED`
    RequestCancelled = 0x10c,
    /// `H3_REQUEST_INCOMPLETE`
    RequestIncomplete = 0x10d,
    /// `H3_MESSAGE_ERROR`
    Message = 0x10e,
    /// `QPACK_DECOMPRESSION_FAILED`
    Decompression = 0x200,
    /// `QPACK_ENCODER_STREAM_ERROR`
    EncoderStream = 0x201,
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code as u32)
    }
}
