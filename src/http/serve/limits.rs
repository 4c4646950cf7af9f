//! What a connection may take, in time and bytes.

use std::time::Duration;

use socket2::TcpKeepalive;

/// How long a connection may wait, and for how much.
#[derive(Clone, Debug)]
pub struct WireLimits {
    /// A request's head may have this many bytes.
    pub head_bytes_max: usize,
    /// A head must be complete within this time after its first byte, or the connection's start.
    pub head_timeout: Option<Duration>,
    /// A connection may wait this long for its next request.
    pub idle_timeout: Option<Duration>,
    /// A client that owes a body must send something within this time.
    pub read_idle_timeout: Option<Duration>,
    /// A client must take some of an answer within this time.
    pub write_idle_timeout: Option<Duration>,
    /// A request must have come as a whole within this time.
    pub read_timeout: Option<Duration>,
    /// An answer must have gone as a whole within this time after its request's head.
    pub write_timeout: Option<Duration>,
    /// How the kernel asks whether a silent client is still there.
    pub keep_alive: Option<TcpKeepalive>,
}
