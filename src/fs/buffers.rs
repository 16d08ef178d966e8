//! Buffers for large reads, used again.
//!
//! An allocator gives a buffer of this size back to the kernel when it is freed, and gets the next one page by page:
//! that took more of a pull's time than reading did. Only whole pieces of [`IO_CHUNK_BYTES`] get one.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::env::limits::IO_CHUNK_BYTES;
use crate::env::sync::hold;

/// How many free buffers are kept: 16 MiB, as much as sixteen pulls at once hold.
const MAX_KEPT: usize = 64;

/// The free buffers. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// What `fill` puts into a buffer for `len` bytes. It comes back when the last clone of the bytes is dropped.
    pub(super) fn filled<E>(&self, len: usize, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
        if len != IO_CHUNK_BYTES {
            let mut bytes = Vec::with_capacity(len);
            fill(&mut bytes)?;
            return Ok(Bytes::from(bytes));
        }
        let kept = hold(&self.0).pop();
        let bytes = kept.unwrap_or_else(|| Vec::with_capacity(IO_CHUNK_BYTES));
        let mut lent = Lent { bytes, home: self.clone() };
        fill(&mut lent.bytes)?;
        Ok(Bytes::from_owner(lent))
    }
}

/// A buffer on loan.
struct Lent {
    bytes: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = hold(&self.home.0);
        if kept.len() < MAX_KEPT {
            self.bytes.clear();
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buffers: &Buffers, len: usize, byte: u8) -> Bytes {
        let fill = |bytes: &mut Vec<u8>| {
            bytes.resize(len, byte);
            Ok::<_, ()>(())
        };
        buffers.filled(len, fill).unwrap()
    }

    #[test]
    fn a_buffer_is_used_again_only_when_nobody_reads_it() {
        let buffers = Buffers::default();
        let first = of(&buffers, IO_CHUNK_BYTES, 1);
        let (at, part) = (first.as_ptr(), first.slice(5..9));
        drop(first);
        let second = of(&buffers, IO_CHUNK_BYTES, 2);
        assert_ne!(second.as_ptr(), at);
        assert_eq!(part, [1; 4][..]);
        drop(part);
        let third = of(&buffers, IO_CHUNK_BYTES, 3);
        assert_eq!(third.as_ptr(), at);
        assert_eq!(third, vec![3; IO_CHUNK_BYTES]);
        assert_eq!(second, vec![2; IO_CHUNK_BYTES]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_failed_read_loses_nothing() {
        let buffers = Buffers::default();
        let many: Vec<Bytes> = (0..MAX_KEPT + 9).map(|_| of(&buffers, IO_CHUNK_BYTES, 0)).collect();
        drop(many);
        assert_eq!(hold(&buffers.0).len(), MAX_KEPT);
        assert_eq!(buffers.filled(IO_CHUNK_BYTES, |_| Err("no")), Err("no"));
        of(&buffers, IO_CHUNK_BYTES - 1, 0);
        of(&buffers, IO_CHUNK_BYTES + 1, 0);
        assert_eq!(hold(&buffers.0).len(), MAX_KEPT);
    }
}
