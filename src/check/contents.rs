//! The bytes that the judges know: every piece of content that a run may store, under its digests.
//!
//! A judge compares what it reads with the bytes known for a digest instead of hashing them again: the digests were
//! computed here, once. Content that is not known is hashed.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::fs::{File, FsError};
use crate::oci::{Algorithm, Digest, Hasher};

/// What is said of bytes of which it is known only that they are not the right ones.
pub const OTHER_BYTES: &str = "other bytes";

/// What a piece of content is, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Opaque bytes: a layer or a config.
    Blob,
    /// A manifest or an index.
    Manifest {
        /// The type under which it is pushed.
        media_type: String,
        /// Its config and layers.
        blobs: Vec<Digest>,
        /// The manifests that an index lists.
        manifests: Vec<Digest>,
    },
}

/// One piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Bytes,
    /// What they are.
    pub kind: Kind,
}

/// Content by digest. Clones share the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<Digest, Content>);

impl Contents {
    /// Adds content under its digest of `algorithm` (and under its canonical one) and returns the former.
    pub fn insert(&mut self, algorithm: Algorithm, content: Content) -> Digest {
        let digest = Digest::of(algorithm, &content.bytes);
        if algorithm != Algorithm::Sha256 {
            self.0.insert(Digest::sha256(&content.bytes), content.clone());
        }
        self.0.insert(digest, content);
        digest
    }

    /// The content with this digest.
    pub fn get(&self, digest: &Digest) -> Option<&Content> {
        self.0.get(digest)
    }

    /// The sha256 digest of what `digest` names: itself, or that of known content.
    pub fn canonical(&self, digest: &Digest) -> Option<Digest> {
        match digest.algorithm() {
            Algorithm::Sha256 => Some(*digest),
            Algorithm::Sha512 => self.0.get(digest).map(|c| Digest::sha256(&c.bytes)),
        }
    }

    /// Begins to compare bytes with what `digest` names.
    pub fn compare(&self, digest: &Digest) -> Comparison<'_> {
        let known = self.0.get(digest).map(|c| &c.bytes[..]);
        Comparison { digest: *digest, known, hasher: Hasher::new(digest.algorithm()), at: 0, differs_at: None }
    }

    /// Whether `bytes` are what `digest` names; if not, how they differ.
    pub fn check(&self, digest: &Digest, bytes: &[u8]) -> Result<(), String> {
        let mut comparison = self.compare(digest);
        comparison.feed(bytes);
        comparison.finish()
    }

    /// Whether a file's bytes are those that `digest` names, where its file system knows that without reading them.
    ///
    /// Errors: those of the file system.
    pub async fn known_of<H: File>(&self, digest: &Digest, file: &H) -> Result<Option<bool>, FsError> {
        let (Some(content), Some(canonical)) = (self.0.get(digest), self.canonical(digest)) else { return Ok(None) };
        let len = content.bytes.len() as u64;
        match file.knows_sha256(len, canonical.as_bytes()).await? {
            Some(begins) => Ok(Some(begins && file.metadata().await?.len == len)),
            None => Ok(None),
        }
    }

    /// The digests, sorted; content that was added under sha512 appears under both.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.0.keys()
    }

    /// What a manifest references: blobs, then manifests. Nothing for a blob or for what is not known.
    pub fn references(&self, digest: &Digest) -> (&[Digest], &[Digest]) {
        match self.0.get(digest).map(|c| &c.kind) {
            Some(Kind::Manifest { blobs, manifests, .. }) => (blobs, manifests),
            _ => (&[], &[]),
        }
    }
}

/// Bytes that are being compared, piece by piece, with what a digest names.
#[derive(Debug)]
pub struct Comparison<'a> {
    digest: Digest,
    known: Option<&'a [u8]>,
    /// In use where the content is not known.
    hasher: Hasher,
    at: usize,
    differs_at: Option<usize>,
}

impl Comparison<'_> {
    /// Takes the next bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        let Some(known) = self.known else {
            self.hasher.update(piece);
            self.at += piece.len();
            return;
        };
        let expected = known.get(self.at..).unwrap_or_default();
        if self.differs_at.is_none() && !expected.starts_with(piece) {
            let same = expected.iter().zip(piece).take_while(|(a, b)| a == b).count();
            self.differs_at = Some(self.at + same);
        }
        self.at += piece.len();
    }

    /// Whether all of it was right; if not, how it differs.
    pub fn finish(self) -> Result<(), String> {
        let (len, digest) = (self.at, self.digest);
        let Some(known) = self.known else {
            let is = self.hasher.finish();
            return if is == digest { Ok(()) } else { Err(format!("{len} bytes that hash to {is}")) };
        };
        let whole = known.len();
        match self.differs_at {
            Some(at) => Err(format!("{len} bytes, wrong from byte {at} on (of {whole})")),
            None if len < whole => Err(format!("{len} of {whole} bytes")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_bytes() {
        let mut contents = Contents::default();
        let content = Content { bytes: Bytes::from_static(b"layer"), kind: Kind::Blob };
        let digest = contents.insert(Algorithm::Sha512, content);
        assert_eq!(digest, Digest::of(Algorithm::Sha512, b"layer"));
        for known in [digest, Digest::sha256(b"layer")] {
            let check = |bytes: &[u8]| contents.check(&known, bytes).unwrap_err();
            assert_eq!(contents.check(&known, b"layer"), Ok(()));
            assert_eq!(check(b"laye"), "4 of 5 bytes");
            assert_eq!(check(b""), "0 of 5 bytes");
            assert_eq!(check(b"lay\0r"), "5 bytes, wrong from byte 3 on (of 5)");
            assert_eq!(check(b"layers"), "6 bytes, wrong from byte 5 on (of 5)");
            let mut pieces = contents.compare(&known);
            b"layer".iter().for_each(|b| pieces.feed(&[*b]));
            assert_eq!(pieces.finish(), Ok(()));
        }
        let unknown = Digest::sha256(b"x");
        assert!(contents.check(&unknown, b"x").is_ok() && contents.check(&unknown, b"y").is_err());
        assert_eq!(contents.references(&digest), (&[][..], &[][..]));
    }
}
