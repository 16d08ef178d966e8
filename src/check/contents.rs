//! The bytes that the judges know: every piece of content that a run may store, under its digests.
//!
//! A judge compares what it reads with the bytes known for a digest instead of hashing them again: the digests were
//! computed here, once. Content that is not known is hashed.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::oci::{Algorithm, Digest};

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

    /// Whether `bytes` are what `digest` names.
    pub fn is(&self, digest: &Digest, bytes: &[u8]) -> bool {
        match self.0.get(digest) {
            Some(known) => known.bytes == bytes,
            None => Digest::of(digest.algorithm(), bytes) == *digest,
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
            assert!(contents.is(&known, b"layer") && !contents.is(&known, b"laye") && !contents.is(&known, b"lay\0r"));
        }
        assert!(contents.is(&Digest::sha256(b"x"), b"x") && !contents.is(&Digest::sha256(b"x"), b"y"));
        assert_eq!(contents.references(&digest), (&[][..], &[][..]));
    }
}
