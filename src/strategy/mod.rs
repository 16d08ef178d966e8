//! Commit protocols: one trait, [`Strategy`], and one protocol a module.
//!
//! A strategy is a whole protocol: uploads, blobs, manifests, tags, deletion, collection, recovery, **and** how its
//! links are found by the checker. Reading goes through it too, since layouts differ. It awaits nothing but its
//! [`Fs`] and the locks of [`crate::env`]. The registry puts the registry's rules on top (grammar,
//! manifests and what they reference); a strategy only stores.

pub mod distribution;
pub mod durable;
pub mod hashstate;
pub mod layout;

use async_trait::async_trait;
use bytes::Bytes;

use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::fs::{Fs, FsError};
use crate::oci::{Digest, Name, Tag, UploadId};
use distribution::Distribution;

/// Result of a registry-storage operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a strategy could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such repository.
    #[error("repository {0} is not known")]
    NameUnknown(Name),
    /// No link to the blob in this repository, or no blob behind the link.
    #[error("blob {0} is not known")]
    BlobUnknown(Digest),
    /// No such manifest (or tag) in this repository.
    #[error("manifest {0} is not known")]
    ManifestUnknown(String),
    /// The manifest references content that is not there.
    #[error("the manifest references {0}, which is not known")]
    ManifestBlobUnknown(Digest),
    /// The manifest cannot be parsed or is of a kind that is not accepted.
    #[error("the manifest is not valid: {0}")]
    ManifestInvalid(String),
    /// More bytes than any manifest may have.
    #[error("the manifest has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    ManifestTooLarge {
        /// How many it has.
        size_bytes: u64,
        /// How many it may have.
        limit_bytes: u64,
    },
    /// A range to read that holds none of the blob's bytes.
    #[error("the range begins at {from_bytes} and holds nothing of a blob of {len_bytes} bytes")]
    RangeNotSatisfiable {
        /// Where the range begins.
        from_bytes: u64,
        /// How long the blob is.
        len_bytes: u64,
    },
    /// No such upload session.
    #[error("upload {0} is not known")]
    UploadUnknown(UploadId),
    /// A chunk that does not begin where the upload ends; nothing was written.
    #[error("the upload is at offset {at_bytes}, the chunk begins at {given_bytes}")]
    RangeInvalid {
        /// Where the upload ends.
        at_bytes: u64,
        /// Where the chunk was to go.
        given_bytes: u64,
    },
    /// The bytes do not have the digest that the client gave.
    #[error("the content does not match {0}")]
    DigestInvalid(Digest),
    /// What is stored is torn: a link that holds no digest, a blob of wrong bytes.
    #[error("{path} is corrupt: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The client's body broke off.
    #[error("the request body broke off: {0}")]
    Body(String),
    /// The repository may not grow by what this would add; nothing was linked.
    #[error("{0}")]
    Denied(String),
    /// A sync failed earlier: nothing is written until the next start.
    #[error("storage takes no writes until it is restarted: {0}")]
    Stopped(String),
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A request body, piece by piece.
#[async_trait]
pub trait Body: Send {
    /// The next piece; `None` at the end. Errors: [`Error::Body`].
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// How many bytes are to come, where that was said beforehand. It may not be true.
    fn declared_bytes(&self) -> Option<u64> {
        None
    }
}

/// A body that is at hand: one piece.
#[async_trait]
impl Body for Option<Bytes> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.take().filter(|b| !b.is_empty()))
    }

    fn declared_bytes(&self) -> Option<u64> {
        Some(self.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// A blob that is open for reading.
#[derive(Debug)]
pub struct Blob<H> {
    /// The file; read it with [`crate::fs::File::read_at`].
    pub file: H,
    /// Its length in bytes.
    pub len: u64,
    /// The path of the file.
    pub path: String,
}

/// What a collection does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectOptions {
    /// Also delete manifests that no tag and no index names.
    pub delete_untagged: bool,
    /// Only say what would be deleted.
    pub dry_run: bool,
    /// No one else writes (the offline command): nothing has to be spared for pushes under way.
    pub exclusive: bool,
}

/// What a collection deleted, or would delete; sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: Vec<Digest>,
    /// Manifest revisions removed.
    pub manifests: Vec<(Name, Digest)>,
    /// Layer links removed.
    pub layer_links: Vec<(Name, Digest)>,
}

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkKind {
    /// A layer (or config) of a repository.
    Layer,
    /// A manifest revision of a repository.
    Revision,
    /// What a tag points at.
    TagCurrent(Tag),
    /// What a tag pointed at, once or now.
    TagIndex(Tag),
}

/// One link as it stands on a disk, for the checker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The file that holds it.
    pub path: String,
    /// The repository that it belongs to.
    pub repo: Name,
    /// What it is for.
    pub kind: LinkKind,
    /// The digest in its path, where there is one.
    pub named: Option<Digest>,
    /// The digest that it holds, or why it holds none.
    pub target: std::result::Result<Digest, String>,
    /// Files that must be there for it to resolve: the content of `target` first, then further links on the way
    /// (a tag needs its revision's link).
    pub needs: Vec<String>,
}

/// A commit protocol on a file system of type `F`.
///
/// Every method is one registry operation. What an `Ok` promises after a power cut is the protocol's affair; what it
/// claims is told by [`claims`](Strategy::claims).
#[async_trait]
pub trait Strategy<F: Fs>: Send + Sync {
    /// The name by which it is picked.
    fn name(&self) -> &'static str;

    /// Whether the protocol claims to keep `invariant` under `model` (names as in [`crate::check`] and
    /// [`crate::disk::model`]).
    fn claims(&self, model: &str, invariant: &str) -> bool;

    /// Runs at start-up before anything is served: as little as safety needs.
    async fn recover(&self) -> Result<()>;

    /// Runs after [`recover`](Strategy::recover), beside the serving: removes what crashes left behind and nobody
    /// can use. Returns how many files and directories went.
    async fn collect_litter(&self) -> Result<u64>;

    /// The same, step by step, where it is made of steps that do not depend on one another.
    fn litter_steps(&self) -> Option<&dyn LitterSteps> {
        None
    }

    /// Opens an upload session.
    async fn start_upload(&self, repo: &Name) -> Result<UploadId>;

    /// How many bytes the session holds.
    async fn upload_offset(&self, repo: &Name, id: &UploadId) -> Result<u64>;

    /// Appends a chunk and returns the new offset. With `at_bytes`, refuses a chunk that does not begin at the end
    /// ([`Error::RangeInvalid`]). When the body breaks off, what came so far is kept.
    async fn append(&self, repo: &Name, id: &UploadId, at_bytes: Option<u64>, body: &mut dyn Body) -> Result<u64>;

    /// Ends the session without a blob.
    async fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()>;

    /// Appends a last chunk (as [`append`](Strategy::append); an empty one is none) and, when the body has said that it
    /// is at its end, verifies the whole against
    /// `digest`, and makes it a blob of `repo`. Returns its length in bytes. The session ends with success.
    async fn commit(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        last: &mut dyn Body,
    ) -> Result<u64>;

    /// Makes a blob of `from` a blob of `repo` too, and returns its length in bytes.
    async fn mount(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<u64>;

    /// Whether content of this digest may be stored, in whichever repository: cheap, and wrong only in saying that it
    /// may.
    async fn has_content(&self, digest: &Digest) -> Result<bool>;

    /// Opens a blob of `repo`.
    async fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>>;

    /// Takes the blob out of the repository; its bytes stay until a collection.
    async fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()>;

    /// Stores a manifest (whose digest and references were checked) and points `tag` at it.
    /// `references` are the blobs and manifests that it needs.
    async fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        manifest: &Bytes,
        references: &[Digest],
        tag: Option<&Tag>,
    ) -> Result<()>;

    /// The bytes of a manifest of `repo`.
    async fn get_manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes>;

    /// Deletes a manifest and the tags that point at it.
    async fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()>;

    /// The manifest that a tag points at.
    async fn resolve_tag(&self, repo: &Name, tag: &Tag) -> Result<Digest>;

    /// Deletes a tag; its manifest stays.
    async fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()>;

    /// The tags of a repository, sorted. [`Error::NameUnknown`] where there is none.
    async fn tags(&self, repo: &Name) -> Result<Vec<Tag>>;

    /// The manifests of a repository, sorted.
    async fn revisions(&self, repo: &Name) -> Result<Vec<Digest>>;

    /// All repositories, sorted.
    async fn repositories(&self) -> Result<Vec<Name>>;

    /// Garbage collection: removes what no manifest reaches.
    async fn collect(&self, options: CollectOptions) -> Result<Collected>;

    /// Removes upload sessions that were started before `before`, or with `dry_run` only looks; returns how many.
    async fn purge_uploads(&self, before: UnixSeconds, dry_run: bool) -> Result<u64>;

    /// The links that the file at `path` holds: none where it is no link file, or not there.
    async fn links_at(&self, path: &str) -> Result<Vec<Link>>;

    /// The path at which content of this (canonical) digest lies.
    fn content_path(&self, digest: &Digest) -> String;
}

/// Litter collection by places: directories that are known by their paths, none of which lies in another.
///
/// Who offers this promises that [`collect_litter`](Strategy::collect_litter) looks for such directories, does with each
/// what [`collect_litter_in`](LitterSteps::collect_litter_in) does, and changes nothing else. A step looks at nothing
/// outside its place and only removes and renames what is in it (or removes it). So what one step does, no other sees,
/// and what litter collection does to something is done by the steps of the places in which that lies. Oracles count on
/// it, and hold steps to it: a call that leads out of the place is refused. It is not for protocols that rename
/// directories: where a rename may persist in pieces, such a one could lie in two places.
#[async_trait]
pub trait LitterSteps: Send + Sync {
    /// Whether the directory `dir` is a place, there or not.
    fn is_place(&self, dir: &str) -> bool;

    /// Removes the litter in a place. Returns how many files and directories went.
    async fn collect_litter_in(&self, place: &str) -> Result<u64>;
}

/// What puts a commit protocol on any file system. Whatever runs or judges a registry takes one; each of [`NAMES`] is
/// one, and so may yours be, from any crate.
pub trait Protocol: Send + Sync {
    /// The name in reports.
    fn name(&self) -> &str;

    /// The protocol on `fs`. `None` if there is no such protocol: only a name can be wrong.
    fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>>;
}

impl Protocol for str {
    fn name(&self) -> &str {
        self
    }

    fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
        build(self, fs, world)
    }
}

impl Protocol for String {
    fn name(&self) -> &str {
        self
    }

    fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
        build(self, fs, world)
    }
}

/// The names of all strategies, in the order in which reports show them.
pub const NAMES: [&str; 4] = ["distribution-2.0", "distribution-2.8", "distribution-3.1", "durable"];

/// The strategy called `name` on `fs`; `None` if there is none of that name.
pub fn build<F: Fs>(name: &str, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
    match name {
        "distribution-2.0" => Some(Box::new(Distribution::v2_0(fs, world))),
        "distribution-2.8" => Some(Box::new(Distribution::v2_8(fs, world))),
        "distribution-3.1" => Some(Box::new(Distribution::v3_1(fs, world))),
        durable::NAME => Some(Box::new(durable::Durable::new(fs, world))),
        _ => None,
    }
}
