//! What the harness does to a registry, and with which content; and where it looks afterwards.
//!
//! A [`Workload`] is plain data: operations that run before anything can crash ([`setup`](Workload::setup)), the
//! operations among which crashes fall ([`ops`](Workload::ops)), and the bytes that they store. [`run`] runs it once;
//! [`probe`] lists, for each point in it, what is to be looked at after a crash there, and looks. Nothing here knows
//! a disk or how crashes are chosen, but for what makes an explorer's subject of it: one client ([`subject`]), or the two
//! of a [`pair`] ([`together`]).

pub mod client;
pub mod image;
pub mod op;
pub mod pair;
pub mod probe;
pub mod run;
pub mod subject;
pub mod together;

use std::collections::{BTreeMap, BTreeSet};

use crate::check::contents::{Content, Contents, Kind};
use crate::check::oracle::{Event, Mark};
use crate::oci::manifest::ManifestError;
use crate::oci::{Digest, InvalidWord, Manifest, Name, Tag};
use image::{Image, Part};
use op::{Op, UploadKey};

/// The names of all workloads, in the order in which reports show them.
pub const NAMES: [&str; 5] = ["push", "retag", "delete", "gc", "resume"];

/// How many parts the first blob of `resume` is cut into: two chunks are sent before the process is cut, the rest
/// after.
const RESUME_PARTS: u64 = 4;

/// Operations, what they need beforehand, and the bytes that they store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name in reports and options.
    pub name: String,
    /// What is done, answered **and made durable** before the first crash.
    pub setup: Vec<Op>,
    /// What crashes fall into. The registry is opened anew before the first of them.
    pub ops: Vec<Op>,
    /// The bytes.
    pub contents: Contents,
}

/// Why a workload could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// No workload has that name.
    #[error("there is no workload {0:?}; known are {known}", known = NAMES.join(", "))]
    Unknown(String),
    /// No pair of workloads has that name.
    #[error("there is no pair {0:?}; known are {known}", known = pair::PAIRS.join("; "))]
    UnknownPair(String),
    /// The image holds a manifest that cannot be parsed, or no manifest at all.
    #[error("the image cannot be pushed: {0}")]
    Image(String),
    /// A repository or a tag has no valid name.
    #[error(transparent)]
    Word(#[from] InvalidWord),
}

impl From<ManifestError> for WorkloadError {
    fn from(e: ManifestError) -> Self {
        Self::Image(e.to_string())
    }
}

impl Workload {
    /// The workload called `name`, on two images (most use only the first). They should have no blob in common: a
    /// blob that is there already is not pushed again.
    ///
    /// * `push`: the first image, as `v1`, into an empty registry.
    /// * `retag`: with the first image there as `v1`, the second is pushed as `v1`.
    /// * `delete`: with the first image there as `v1`, its manifest is deleted.
    /// * `gc`: with the first image there as `v1`, and the second pushed as `v2` and its manifest deleted, garbage is
    ///   collected: twice, as a protocol may spare for one cycle what it found at its start. The registry is in
    ///   service, so nobody promises that nobody else writes.
    /// * `resume`: the first image's first blob comes in chunks; after two the process is cut and started again, and
    ///   the client asks where to go on. Then the rest of the image, as `v1`.
    pub fn named(name: &str, first: &Image, second: &Image) -> Result<Self, WorkloadError> {
        let (v1, v2) = ("v1".parse()?, "v2".parse()?);
        let mut plan = Plan::new("lib/app".parse()?);
        let setup = match name {
            "push" | "resume" => Vec::new(),
            "retag" | "delete" => plan.push(first, &v1)?,
            "gc" => {
                let mut setup = plan.push(first, &v1)?;
                setup.extend(plan.push(second, &v2)?);
                setup.push(plan.delete_root(second)?);
                setup
            }
            _ => return Err(WorkloadError::Unknown(name.to_owned())),
        };
        let ops = match name {
            "push" => plan.push(first, &v1)?,
            "retag" => plan.push(second, &v1)?,
            "delete" => vec![plan.delete_root(first)?],
            "gc" => vec![Op::Collect { exclusive: false }; 2],
            _ => {
                let mut ops = plan.resume_first_blob(first)?;
                ops.extend(plan.push(first, &v1)?);
                ops
            }
        };
        Ok(Self { name: name.to_owned(), setup, ops, contents: plan.contents })
    }

    /// Whether garbage is collected in it.
    pub fn collects(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Collect { .. }))
    }

    /// What the operations change, setup first, for the [`Oracle`](crate::check::oracle::Oracle).
    pub fn events(&self) -> Vec<Option<Event>> {
        let mut uploads: BTreeMap<UploadKey, (Name, Digest)> = BTreeMap::new();
        let mut events = Vec::new();
        for op in self.setup.iter().chain(&self.ops) {
            events.push(match op {
                Op::StartUpload { upload, repo, content } => {
                    uploads.insert(*upload, (repo.clone(), *content));
                    Some(Event::StartUpload(*upload))
                }
                Op::Commit { upload } => uploads.get(upload).map(|(repo, digest)| Event::PutBlob {
                    repo: repo.clone(),
                    digest: *digest,
                    upload: Some(*upload),
                }),
                Op::Mount { repo, content, .. } => {
                    Some(Event::PutBlob { repo: repo.clone(), digest: *content, upload: None })
                }
                Op::PutManifest { repo, content, tag } => Some(Event::PutManifest {
                    repo: repo.clone(),
                    digest: *content,
                    blobs: self.contents.references(content).0.to_vec(),
                    tag: tag.clone(),
                }),
                Op::DeleteManifest { repo, content } => Some(Event::DeleteManifest(repo.clone(), *content)),
                Op::DeleteTag { repo, tag } => Some(Event::DeleteTag(repo.clone(), tag.clone())),
                Op::DeleteBlob { repo, content } => Some(Event::DeleteBlob(repo.clone(), *content)),
                Op::Collect { .. } => Some(Event::Collect),
                Op::Append { .. } | Op::Resume { .. } | Op::CollectLitter | Op::PurgeUploads | Op::Restart => None,
            });
        }
        events
    }

    /// The marks of a history in which the setup is done and `passed` of the marks of [`ops`](Self::ops) were passed,
    /// for the oracle. `passed` are as [`run::run`] reports them.
    pub fn history(&self, passed: &[Mark]) -> Vec<Mark> {
        let before = self.setup.len();
        let setup = (0..before).flat_map(|i| [Mark::Begin(i), Mark::End(i)]);
        let ops = passed.iter().map(|mark| match mark {
            Mark::Begin(i) => Mark::Begin(before + i),
            Mark::End(i) => Mark::End(before + i),
            Mark::Lost(i) => Mark::Lost(before + i),
        });
        setup.chain(ops).collect()
    }

    /// The first `n` marks of operations that run one after the other.
    pub fn serial_marks(n: usize) -> Vec<Mark> {
        (0..n).map(|m| if m % 2 == 0 { Mark::Begin(m / 2) } else { Mark::End(m / 2) }).collect()
    }
}

/// A workload in the making: what was pushed so far.
struct Plan {
    repo: Name,
    contents: Contents,
    uploads: UploadKey,
    pushed: BTreeSet<Digest>,
}

impl Plan {
    fn new(repo: Name) -> Self {
        Self { repo, contents: Contents::default(), uploads: 0, pushed: BTreeSet::new() }
    }

    /// Pushes every blob that is not there yet, each by a POST and a PUT, then the manifests. The first root gets
    /// `tag`, others keep their own.
    fn push(&mut self, image: &Image, tag: &Tag) -> Result<Vec<Op>, WorkloadError> {
        let mut ops = Vec::new();
        for part in image.blobs() {
            if let Some(upload) = self.start(part) {
                ops.extend([upload.1, Op::Commit { upload: upload.0 }]);
            }
        }
        let first = root(image)?;
        for part in image.manifests() {
            self.learn_manifest(part)?;
            let mut tags: Vec<Tag> = image.tags_of(&part.digest).filter(|t| *t != tag).cloned().collect();
            if part.digest == first {
                let own = image.roots().first().and_then(|r| r.tag.as_ref());
                tags.retain(|t| Some(t) != own);
                tags.insert(0, tag.clone());
            }
            let put = |content, tag| Op::PutManifest { repo: self.repo.clone(), content, tag };
            if tags.is_empty() {
                ops.push(put(part.digest, None));
            }
            // By a tag, a manifest is stored under its canonical digest, whatever the image lists it under.
            ops.extend(tags.into_iter().map(|tag| put(Digest::sha256(&part.bytes), Some(tag))));
        }
        Ok(ops)
    }

    /// The upload of a part that is not there yet.
    fn start(&mut self, part: &Part) -> Option<(UploadKey, Op)> {
        if !self.pushed.insert(part.digest) {
            return None;
        }
        let content = Content { bytes: part.bytes.clone(), kind: Kind::Blob };
        self.contents.insert(part.digest.algorithm(), content);
        self.uploads += 1;
        let op = Op::StartUpload { upload: self.uploads, repo: self.repo.clone(), content: part.digest };
        Some((self.uploads, op))
    }

    fn learn_manifest(&mut self, part: &Part) -> Result<(), WorkloadError> {
        let manifest = Manifest::parse(&part.bytes, Some(&part.media_type))?;
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        for needed in manifest.references() {
            let list = if needed.is_manifest { &mut manifests } else { &mut blobs };
            list.push(needed.digest);
        }
        let kind = Kind::Manifest { media_type: part.media_type.clone(), blobs, manifests };
        self.contents.insert(part.digest.algorithm(), Content { bytes: part.bytes.clone(), kind });
        Ok(())
    }

    /// The deletion of the first root by its digest.
    fn delete_root(&mut self, image: &Image) -> Result<Op, WorkloadError> {
        let root = root(image)?;
        let content = self.contents.canonical(&root).unwrap_or(root);
        Ok(Op::DeleteManifest { repo: self.repo.clone(), content })
    }

    fn resume_first_blob(&mut self, image: &Image) -> Result<Vec<Op>, WorkloadError> {
        let blob = image.blobs().first().ok_or_else(|| WorkloadError::Image("it has no blob".to_owned()))?;
        let bytes = blob.bytes.len() as u64 / RESUME_PARTS;
        let Some((upload, start)) = self.start(blob) else { return Ok(Vec::new()) };
        let append = Op::Append { upload, bytes };
        Ok(vec![start, append.clone(), append, Op::Restart, Op::Resume { upload }, Op::Commit { upload }])
    }
}

/// The digest of the image's first root.
fn root(image: &Image) -> Result<Digest, WorkloadError> {
    let root = image.roots().first().map(|root| root.digest);
    root.ok_or_else(|| WorkloadError::Image("it has no manifest".to_owned()))
}

#[cfg(test)]
mod tests;
