//! `acked-survives`, `deleted-stays-deleted` and `reads-verify`: what a client gets when it asks.
//!
//! Everything is read through the registry's own read path, to the end. A read that completes with wrong bytes breaks
//! `reads-verify` whatever was expected; one that is refused, or breaks off, does not.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::contents::{Contents, OTHER_BYTES};
use super::oracle::Expect;
use super::{Invariant, Observation, short};
use crate::env::sync::hold;
use crate::fs::Fs;
use crate::oci::{Digest, Name, Reference, Tag};
use crate::registry::Registry;

/// Something that a client can ask a repository for by its digest, or resolve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A blob.
    Blob(Name, Digest),
    /// A manifest.
    Manifest(Name, Digest),
    /// The manifest that a tag points at; its bytes are not read.
    Tag(Name, Tag),
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob(repo, digest) => write!(f, "blob {} of {repo}", short(digest)),
            Self::Manifest(repo, digest) => write!(f, "manifest {} of {repo}", short(digest)),
            Self::Tag(repo, tag) => write!(f, "tag {tag} of {repo}"),
        }
    }
}

/// How a read ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It completed, with the bytes of this digest.
    Right(Digest),
    /// It completed, with other bytes than were asked for: how they differ.
    Wrong(String),
    /// It was refused, or broke off: why.
    Refused(String),
}

impl Seen {
    /// Whether it completed with the right bytes.
    pub fn is_right(&self) -> bool {
        matches!(self, Self::Right(_))
    }

    /// What is wrong, if anything is.
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Right(_) => None,
            Self::Wrong(how) => Some(format!("reading it gives {how}")),
            Self::Refused(why) => Some(format!("it cannot be read: {why}")),
        }
    }
}

/// What a registry shows of a disk on which nothing changes any more: each object is read once, whoever asks.
pub struct Sight<'a, F: Fs> {
    registry: &'a Registry<F>,
    contents: &'a Contents,
    seen: Mutex<BTreeMap<Object, Seen>>,
}

impl<'a, F: Fs> Sight<'a, F> {
    /// Nothing is read yet.
    pub fn new(registry: &'a Registry<F>, contents: &'a Contents) -> Self {
        Self { registry, contents, seen: Mutex::default() }
    }

    /// The registry that is looked through.
    pub fn registry(&self) -> &'a Registry<F> {
        self.registry
    }

    /// The bytes that are known.
    pub fn contents(&self) -> &'a Contents {
        self.contents
    }

    /// How a read of `object` ends.
    pub async fn see(&self, object: &Object) -> Seen {
        let known = hold(&self.seen).get(object).cloned();
        if let Some(seen) = known {
            return seen;
        }
        let seen = see(self.registry, self.contents, object).await;
        hold(&self.seen).insert(object.clone(), seen.clone());
        seen
    }
}

/// Asks for `object` and reads it to the end.
pub async fn see<F: Fs>(registry: &Registry<F>, contents: &Contents, object: &Object) -> Seen {
    let seen = match object {
        Object::Blob(repo, digest) => see_blob(registry, contents, repo, digest).await,
        Object::Manifest(repo, digest) => {
            let got = registry.get_manifest(repo, &Reference::Digest(*digest)).await;
            got.map(|stored| completed(digest, contents.check(digest, &stored.bytes)))
        }
        Object::Tag(repo, tag) => registry.strategy().resolve_tag(repo, tag).await.map(Seen::Right),
    };
    seen.unwrap_or_else(|e| Seen::Refused(e.to_string()))
}

async fn see_blob<F: Fs>(
    registry: &Registry<F>,
    contents: &Contents,
    repo: &Name,
    digest: &Digest,
) -> Result<Seen, crate::registry::Error> {
    let mut reader = registry.read_blob(repo, digest, None).await?;
    if let Some(is_right) = contents.known_of(digest, reader.file()).await? {
        return Ok(completed(digest, if is_right { Ok(()) } else { Err(OTHER_BYTES.to_owned()) }));
    }
    let mut comparison = contents.compare(digest);
    while let Some(piece) = reader.next().await? {
        comparison.feed(&piece);
    }
    Ok(completed(digest, comparison.finish()))
}

/// How a read of `digest` that completed is to be seen.
pub(super) fn completed(digest: &Digest, compared: Result<(), String>) -> Seen {
    match compared {
        Ok(()) => Seen::Right(*digest),
        Err(how) => Seen::Wrong(how),
    }
}

/// Judges a blob or a manifest against what is expected of it.
pub fn judge(object: &Object, expect: Expect, seen: &Seen) -> Vec<Observation> {
    let mut observations = Vec::new();
    match expect {
        Expect::Must => {
            let lost = seen.complaint().map(|how| format!("{object} was acknowledged, but {how}"));
            observations.push(Observation::judged(Invariant::AckedSurvives, lost));
        }
        Expect::MustNot => {
            let back = !matches!(seen, Seen::Refused(_));
            let back = back.then(|| format!("{object} is back, though its deletion was acknowledged"));
            observations.push(Observation::judged(Invariant::DeletedStaysDeleted, back));
        }
        Expect::May => {}
    }
    observations.extend(judge_bytes(object, seen));
    observations
}

/// `reads-verify` alone, for whatever read completed.
pub fn judge_bytes(object: &Object, seen: &Seen) -> Option<Observation> {
    let wrong = match seen {
        Seen::Right(_) => None,
        Seen::Wrong(how) => Some(format!("reading {object} completes with {how}")),
        Seen::Refused(_) => return None,
    };
    Some(Observation::judged(Invariant::ReadsVerify, wrong))
}
