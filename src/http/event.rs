//! What a request did, for whoever wants to tell others: the notifications, the metrics, the access log.
//!
//! A response to a push, pull, mount or delete that succeeded carries an [`Event`] in its extensions. A middleware
//! takes it from there; the endpoints know of none.

use bytes::Bytes;

use crate::oci::{Digest, Name, Tag};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Content came in.
    Push,
    /// Content goes out: the response has begun, whether its body arrives is not known.
    Pull,
    /// A blob of another repository became one of this.
    Mount,
    /// A blob, manifest or tag was deleted.
    Delete,
}

/// One thing done to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// Where.
    pub repo: Name,
    /// The blob or manifest, by the digest in which the client named it; `None` where a tag alone was deleted.
    pub digest: Option<Digest>,
    /// Its length in bytes; 0 where it was deleted.
    pub size: u64,
    /// Its media type; empty where it was deleted.
    pub media_type: String,
    /// The tag by which the client named it; of several (`?tag=`), the first.
    pub tag: Option<Tag>,
    /// Where a mounted blob comes from.
    pub from_repo: Option<Name>,
    /// The bytes of a manifest that was pushed or pulled.
    pub manifest: Option<Bytes>,
}

impl Event {
    /// That content or a tag was deleted.
    pub(super) fn deleted(repo: Name, digest: Option<Digest>, tag: Option<Tag>) -> Self {
        let (action, media_type) = (Action::Delete, String::new());
        Self { action, repo, digest, size: 0, media_type, tag, from_repo: None, manifest: None }
    }
}
