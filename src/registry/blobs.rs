//! Blobs: stat, read in pieces, delete.
//!
//! A blob is read by [`IO_CHUNK_BYTES`] at a time, whatever its size. Whether its bytes are the right ones is decided by
//! the strategy when it opens it; a file that ends early is an error in any case.

use std::ops::Range;

use bytes::Bytes;

use super::{Error, Registry, Result, blob_descriptor};
use crate::env::limits::IO_CHUNK_BYTES;
use crate::fs::{FileExt, Fs};
use crate::oci::{Descriptor, Digest, Name};
use crate::strategy::Blob;

impl<F: Fs> Registry<F> {
    /// Whether `repo` has the blob, and how long it is. Reads none of its bytes.
    pub async fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<Descriptor> {
        Ok(blob_descriptor(digest, self.blob_bytes(repo, digest).await?))
    }

    /// The length of a blob of `repo`, from memory or from storage.
    pub(super) async fn blob_bytes(&self, repo: &Name, digest: &Digest) -> Result<u64> {
        let Some(cache) = &self.descriptors else { return Ok(self.strategy.open_blob(repo, digest).await?.len) };
        if let Some(len_bytes) = cache.get(repo, digest) {
            return Ok(len_bytes);
        }
        let since = cache.since();
        let len_bytes = self.strategy.open_blob(repo, digest).await?.len;
        cache.remember(since, repo, digest, len_bytes);
        Ok(len_bytes)
    }

    /// Opens a blob for reading: all of it, or the bytes in `range` (its end is cut to the blob's).
    ///
    /// Errors: [`Error::BlobUnknown`]; [`Error::RangeNotSatisfiable`] for a range that holds none of its bytes.
    pub async fn read_blob(
        &self,
        repo: &Name,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader<F::File>> {
        self.read_part(repo, digest, |_| range).await
    }

    /// As [`read_blob`](Self::read_blob), the bytes that `part` picks when it is told the blob's length.
    pub async fn read_part(
        &self,
        repo: &Name,
        digest: &Digest,
        part: impl FnOnce(u64) -> Option<Range<u64>> + Send,
    ) -> Result<BlobReader<F::File>> {
        let blob = self.strategy.open_blob(repo, digest).await;
        if let (Err(Error::BlobUnknown(_)), Some(cache)) = (&blob, &self.descriptors) {
            // Storage found it damaged, or somebody else took it: whoever is to push it again must hear that.
            drop(cache.removing(repo, digest));
        }
        let blob = blob?;
        let Range { start, end } = match part(blob.len) {
            None => 0..blob.len,
            Some(Range { start, end }) if start < end.min(blob.len) => start..end.min(blob.len),
            Some(range) => return Err(Error::RangeNotSatisfiable { from_bytes: range.start, len_bytes: blob.len }),
        };
        Ok(BlobReader { blob, at: start, end, failed: None })
    }

    /// Takes the blob out of the repository; its bytes stay until a collection.
    pub async fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let _removal = self.descriptors.as_ref().map(|cache| cache.removing(repo, digest));
        self.strategy.delete_blob(repo, digest).await
    }
}

/// A blob that is being read.
#[derive(Debug)]
pub struct BlobReader<H> {
    blob: Blob<H>,
    at: u64,
    end: u64,
    /// Why it went wrong: an error must not be followed by what looks like the end.
    failed: Option<Error>,
}

impl<H: FileExt> BlobReader<H> {
    /// How many bytes are still to come.
    pub fn remaining_bytes(&self) -> u64 {
        self.end - self.at
    }

    /// The bytes that are still to come, counted from the beginning of the blob.
    pub fn range(&self) -> Range<u64> {
        self.at..self.end
    }

    /// Length of the whole blob in bytes, whatever the range.
    pub fn blob_bytes(&self) -> u64 {
        self.blob.len
    }

    /// The file that is read.
    pub fn file(&self) -> &H {
        &self.blob.file
    }

    /// The next piece, at most [`IO_CHUNK_BYTES`] long; `None` at the end. After an error, the same error again.
    ///
    /// Errors: [`Error::Corrupt`] where the file ends early; those of the file system.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.is_at_end() {
            return Ok(None);
        }
        let piece = self.piece().await;
        if let Err(error) = &piece {
            self.failed = Some(error.clone());
        }
        piece.map(Some)
    }

    async fn piece(&mut self) -> Result<Bytes> {
        let len = self.remaining_bytes().min(IO_CHUNK_BYTES as u64) as usize;
        let piece = self.blob.file.read_full(self.at, len).await?;
        self.at += piece.len() as u64;
        if piece.len() < len {
            let detail = format!("it ends after {} of {} bytes", self.at, self.blob.len);
            return Err(Error::Corrupt { path: self.blob.path.clone(), detail });
        }
        Ok(piece)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SimFile, SimFs};
    use crate::env::run_now;
    use crate::fs::{File, OpenMode};

    const LEN: usize = 2 * IO_CHUNK_BYTES + 5;

    fn content() -> Vec<u8> {
        (0..LEN as u32).flat_map(|i| i.to_le_bytes()).step_by(3).take(LEN).collect()
    }

    /// A reader of the whole of `content`, and a second handle on its file.
    fn reader(content: &[u8]) -> (BlobReader<SimFile>, SimFile) {
        let fs = SimFs::new();
        run_now(async {
            let writer = fs.open("blob", OpenMode::CreateNew).await.unwrap();
            writer.write_full(0, Bytes::copy_from_slice(content)).await.unwrap();
            let file = fs.open("blob", OpenMode::Read).await.unwrap();
            let (len, path) = (content.len() as u64, "blob".to_owned());
            (BlobReader { blob: Blob { file, len, path }, at: 0, end: len, failed: None }, writer)
        })
    }

    /// Every piece, and how it ended.
    fn drain(reader: &mut BlobReader<SimFile>) -> (Vec<Bytes>, Result<()>) {
        let mut pieces = Vec::new();
        loop {
            match run_now(reader.next()) {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => return (pieces, Ok(())),
                Err(e) => return (pieces, Err(e)),
            }
        }
    }

    #[test]
    fn a_blob_comes_in_bounded_pieces() {
        let content = content();
        let (pieces, end) = drain(&mut reader(&content).0);
        assert_eq!(end, Ok(()));
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [IO_CHUNK_BYTES, IO_CHUNK_BYTES, 5]);
        assert_eq!(pieces.concat(), content);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_that_stays() {
        let content = content();
        for len in [0, 1, IO_CHUNK_BYTES, LEN - 1] {
            let (mut reader, file) = reader(&content);
            run_now(file.set_len(len as u64)).unwrap();
            let (pieces, end) = drain(&mut reader);
            assert_eq!(pieces.concat(), content[..len / IO_CHUNK_BYTES * IO_CHUNK_BYTES]);
            assert!(matches!(&end, Err(Error::Corrupt { detail, .. }) if detail.contains("ends after")), "{end:?}");
            assert_eq!(drain(&mut reader), (vec![], end), "an error is not followed by an end");
        }
    }
}
