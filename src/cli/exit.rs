//! What the process returns. Part of the contract: scripts rely on it.

/// Nothing was found.
pub const NOTHING_FOUND: u8 = 0;
/// `compare`: a strategy broke an invariant that it claims to keep; `explore`, `simulate`, `trace`, `kernel registry`: any
/// invariant was broken; `replay`: it is still broken.
pub const FOUND: u8 = 1;
/// Bad usage, bad input, or an output that cannot be written; `trace`: nothing was found, and not all could be replayed.
pub const BAD_INPUT: u8 = 2;
/// `serve`, `garbage-collect`: the directory or the address cannot be had (another process has it, it is not writable,
/// a recovery failed). Trying again later may help. The number is EX_UNAVAILABLE of sysexits.
pub const UNAVAILABLE: u8 = 69;
/// A bug in pullplug. The number is EX_SOFTWARE of sysexits.
pub const INTERNAL: u8 = 70;
/// `kernel`: it was interrupted, took too long, or the disk hung and was aborted. The number is EX_TEMPFAIL of sysexits.
pub const NO_VERDICT: u8 = 75;
