//! What a client may ask of the server: sizes, numbers, and how long it may take its time.

use std::time::Duration;

/// Connections at once; more wait in the kernel until one ends.
pub const MAX_CONNECTIONS: usize = 4096;
/// Connections that the kernel keeps for us to accept.
pub const LISTEN_BACKLOG_CONNECTIONS: u32 = 1024;
/// Longest request header, and most of a body that one connection buffers.
pub const MAX_HEADER_BYTES: usize = 256 << 10;
/// Most fields in a request header.
pub const MAX_HEADER_FIELDS: usize = 128;
/// Requests at once on one HTTP/2 connection.
pub const MAX_HTTP2_STREAMS: u32 = 128;
/// From the first byte of a request to the end of its header, and for a TLS handshake.
pub const HEADER_TIMEOUT_SECONDS: u64 = 30;
/// Between two requests on one connection.
pub const IDLE_TIMEOUT_SECONDS: u64 = 180;
/// Between two pieces of a request body, and between two pieces of a response that the client takes.
pub const BODY_TIMEOUT_SECONDS: u64 = 120;
/// How long requests may take to finish once the server is told to stop.
pub const DRAIN_TIMEOUT_SECONDS: u64 = 30;
/// How long accepting pauses when it fails for want of something (descriptors, memory).
pub const ACCEPT_PAUSE_MILLIS: u64 = 50;

/// The limits that an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`HEADER_TIMEOUT_SECONDS`].
    pub header_timeout: Duration,
    /// See [`IDLE_TIMEOUT_SECONDS`].
    pub idle_timeout: Duration,
    /// See [`BODY_TIMEOUT_SECONDS`].
    pub body_timeout: Duration,
    /// See [`DRAIN_TIMEOUT_SECONDS`].
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            header_timeout: Duration::from_secs(HEADER_TIMEOUT_SECONDS),
            idle_timeout: Duration::from_secs(IDLE_TIMEOUT_SECONDS),
            body_timeout: Duration::from_secs(BODY_TIMEOUT_SECONDS),
            drain_timeout: Duration::from_secs(DRAIN_TIMEOUT_SECONDS),
        }
    }
}
