//! From system calls: what strace recorded of any program, as a run whose crashes can be explored.
//!
//! [`replay`] reads the output of `strace -f -y -xx -s 1048576`, takes the calls that touch one directory, and makes
//! them on a [`SimFs`](crate::disk::SimFs). HTTP answers on the program's sockets are its acknowledgements ([`acks`]).
//! What comes of it is a [`Recording`]; with a layout to read it by, it is a [`Subject`](crate::explore::Subject)
//! ([`subject`]).
//!
//! # What is assumed
//!
//! * strace followed the program from its start, with all its threads and children, and nobody else changed the
//!   directory meanwhile. What was in it before is given, or nothing was.
//! * Calls that overlapped took place in the order in which they came back. Where that order is impossible (one sees
//!   what another that overlaps it has made), the other is taken first.
//! * An acknowledgement is given once the write of the answer's first line has come back; an operation begins when the
//!   first byte of its request was read.
//! * A file changes by the calls that are replayed alone. Changes by other means (writable shared mappings, copies
//!   within the kernel, io_uring) are told as gaps ([`notes`]): a run with gaps is not the program's.
//! * A write through a descriptor that was opened with `O_SYNC` or `O_DSYNC` is a write and a sync. `O_DIRECT` is
//!   taken for an ordinary write. Modes, owners, times and attributes are not modelled.
//! * The directory is one file system, and `sync` and `syncfs` are of it. There are no symbolic links in it.
//! * A call that failed changed nothing.

pub mod acks;
mod calls;
mod descriptors;
pub mod http;
pub mod line;
pub mod notes;
mod place;
mod process;
mod replay;
pub mod subject;
pub mod value;

pub use place::Roots;
pub use replay::{Recording, replay};

/// Why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TraceError {
    /// The line of the trace, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: Option<&'static str>,
}

impl TraceError {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), help: None }
    }

    fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }
}
