//! Every limit, with its unit in its name.

/// Largest manifest that is accepted or read back (distribution-spec asks for at least 4 MiB).
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// Largest link file that is read; a sha512 digest takes 135 bytes.
pub const MAX_LINK_BYTES: u64 = 1024;
/// How much of a blob is read, hashed or copied in one piece.
pub const IO_CHUNK_BYTES: usize = 256 << 10;
/// Age at which an unfinished upload is purged: 168 hours, as in distribution.
pub const UPLOAD_PURGE_AGE_SECONDS: u64 = 168 * 3600;
/// Largest blob of an image that is loaded from a directory: all of it is kept in memory, in many simulated disks.
pub const MAX_IMAGE_BLOB_BYTES: u64 = 64 << 20;
/// Most bytes of all of an image that is loaded from a directory.
pub const MAX_IMAGE_BYTES: u64 = 256 << 20;
/// Largest `oci-layout` or `index.json` that is read.
pub const MAX_LAYOUT_FILE_BYTES: u64 = 4 << 20;
