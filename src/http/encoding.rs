//! What compresses answers (`Content-Encoding`): modules give it, and `encode` uses it.

use std::io;

use serde_json::Value;

use super::ProvisionError;

/// A way to compress, as it was configured. It is built once per load and shared by all requests.
pub trait Encoding: Send + Sync {
    /// Begins to compress one body.
    ///
    /// # Errors
    /// There is no memory for it.
    fn begin(&self) -> io::Result<Box<dyn Encoder>>;
}

/// One body that is being compressed.
pub trait Encoder: Send {
    /// Takes a piece of the body. What comes of it may stay inside for a while.
    ///
    /// # Errors
    /// The compressor's own; none is to be expected.
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// Gives out all that is inside: whoever has it can read all pieces so far.
    ///
    /// # Errors
    /// As with [`Encoder::write`].
    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Gives out the rest and the end. Nothing follows.
    ///
    /// # Errors
    /// As with [`Encoder::write`].
    fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()>;
}

/// The row of one encoding.
pub struct EncodingType {
    /// Its name in `Accept-Encoding` and `Content-Encoding`, and in the configuration.
    pub name: &'static str,
    /// Builds it from its JSON.
    pub provision: fn(&Value) -> Result<Box<dyn Encoding>, ProvisionError>,
}
