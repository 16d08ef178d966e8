//! Files of credentials and keys: the one place of the authentication that touches the machine's file system.
//!
//! They are the operator's, and lie outside the directory that a registry is given.

use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {detail}", path = path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

/// All bytes of a file, which must not have more than `limit_bytes`.
#[expect(clippy::disallowed_methods, reason = "credentials lie outside the root that the fs port covers")]
pub(super) fn read_file(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    let bad = |detail: String| FileError { path: path.to_owned(), detail };
    let file = std::fs::File::open(path).map_err(|e| bad(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(bad(format!("it has more than {limit_bytes} bytes")));
    }
    Ok(bytes)
}
