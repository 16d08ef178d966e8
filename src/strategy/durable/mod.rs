//! `durable`: distribution's layout, written so that no crash breaks a promise.
//!
//! It opens a directory that distribution wrote, and the other way round. What it promises holds under every
//! persistence model, `posix` included, where a file's bytes, its length and its name persist independently and a
//! sync of a file or directory makes durable just that file's bytes or that directory's entries.
//!
//! # Rules
//!
//! 1. A file has its whole content, durably, before it gets its name. (Else: torn links, short blobs. For content, which
//!    is relied on only later, it is a sync that *fails* that asks for this order: pages that were marked clean under a
//!    name look right to the next process, until the power goes.)
//! 2. A link gets its name only when the blob and every name on the blob's path are durable. (Else: dangling links.)
//! 3. An answer waits until every name on the paths that it promises is durable. (Else: lost acknowledgements.)
//! 4. A removal takes first what points, and makes that durable before it takes what is pointed at: tags before their
//!    revision, all links before content. (Else: dangling links, manifests without layers.)
//! 5. What is read is settled first: nobody is shown what a crash could undo (`names`).
//! 6. "It exists" is neither "it is durable" nor "it is right". The first is told by `names`; the second by hashing
//!    a file once per start before relying on it. What does not hold is answered "not known", and the client's next
//!    push replaces it: that is all the healing there is.
//! 7. After a failed sync nothing is written until the next start.
//! 8. A link that is replaced or removed keeps another name, a temporary one beside it, until that is durable. (Else: torn
//!    links under `ext4-writeback`, where the blocks of a file that has lost its last name are others' at once. An open
//!    handle would hold them too, but not when the process is killed: then what is in the page cache takes them, before
//!    any sync of the next start.)
//!
//! # Calls and syncs
//!
//! In the steady state, where the directories above are durable already (each new one adds one sync of its parent);
//! the snapshot `durable_syncs` counts them. *file* is an fdatasync, *dir* an fsync of a directory.
//!
//! | operation | calls, in order | syncs |
//! | --- | --- | --- |
//! | start an upload | mkdir; write `startedat`; create `data` | none |
//! | append | write `data`; write a hash state | none |
//! | commit | **file** `data`; mkdir; rename to the blob; **dir** blob; **dir** shard; mkdir; write link `.tmp`; **file**; rename; **dir** link; **dir** `_layers/ALG`; remove the session | 2 file, 4 dir |
//! | commit of a known blob | link as above | 1 file, 2 dir; none if linked |
//! | mount | link as above | 1 file, 2 dir; none if linked |
//! | put a manifest | content `.tmp`, **file**, rename, **dir** blob, **dir** shard; revision link likewise | 2 file, 4 dir; none if known |
//! | … and point a new tag | index entry (hard link); `current/link` `.tmp`, **file**, rename, **dir** `current`, **dir** tag, **dir** `tags` | 1 file, 3 dir |
//! | … and move a tag | the same, and before the rename a hard link of the old one, `.tmp`, which goes last | 1 file, 1 dir |
//! | delete a tag | rename `current/link` to `.tmp`; **dir** `current`; remove the rest | 1 dir |
//! | delete a manifest | its tags as above; rename the revision link; **dir**; remove it | 1 dir, and 1 a tag |
//! | delete a blob | rename the layer link; **dir**; remove it | 1 dir |
//! | read anything | open, read | none, unless it meets a change under way |
//! | start | | 1 `sync_fs` |
//! | collection | see `gc` | 1 `sync_fs`, and 1 for each round of dead revisions |
//!
//! Why none can go, under `posix`: without the *file* sync, a name of a short, zeroed or garbage file survives (rule
//! 1; for `data` it is acknowledged, too). Without the *dir* sync of the blob or its shard, the link survives and the
//! blob does not (rule 2). Without one of the other *dir* syncs, the acknowledged link, tag or deletion is undone
//! (rules 3 and 4). Without the start's `sync_fs`, a blob that a killed process named is there, is relied on, and is
//! lost by a power cut later. Without a collection's, content is gone and a link to it is back. And none is missing:
//! whatever an answer promises is one file's bytes, synced before its rename, and names, synced before the answer.
//!
//! The links are not hard links of one another, though they hold the same words and that would save their *file*
//! syncs: registries that write links in place (distribution up to 3.0) would rewrite the revision with the tag. An
//! index entry can be one (see `put_index_entry`).
//!
//! # Assumptions
//!
//! - A completed sync is kept, and a sync that fails says so. On a disk that lies about its cache every rule is void:
//!   anything that was not written long ago may be lost, torn or dangling. What remains is that wrong bytes are never
//!   served as good ones (files are hashed after a start), and that pushing again heals.
//! - A rename replaces atomically. Under `posix-split-rename` it may leave *neither* name. The one rename over a file
//!   that matters is that of a moved tag: its old value, acknowledged, may be lost by a crash before the answer
//!   (`tag-old-or-new`, and `acked-survives` of that very tag). No rename avoids it: the old value is an entry of that
//!   name, and there is no third way between removing an entry and renaming over it. Overwriting the 71 bytes in place
//!   would do, if writes were never short; a second name to fall back on would do for us alone, and cost another sync.
//!   Nothing else is claimed less under that model: every other rename is to a free name or
//!   over something that promises nothing, and one that leaves *both* names leaves an upload whose file is a blob,
//!   which is never written to (`upload`).
//! - One process writes to the directory (`lock_root`).
//! - Bytes do not change at rest. What is served was hashed by this process within a day ([`VERIFIED_FOR_SECONDS`]) and
//!   not written to since; what rots meanwhile is found out by those who pull it, and then by us: it is unknown, until
//!   a push heals it.

mod blob;
mod fence;
mod gc;
mod litter;
mod manifest;
mod names;
mod upload;

pub use blob::VERIFIED_FOR_SECONDS;

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use super::layout::{Layout, blob_data, revision_link};
use super::{Blob, Body, CollectOptions, Collected, Link, LinkKind, LitterSteps, Result, Strategy};
use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::env::sync::LockTable;
use crate::fs::{Fs, FsExt};
use crate::oci::{Algorithm, Digest, Name, Tag, UploadId};

/// The name of this strategy.
pub const NAME: &str = "durable";

/// The one model under which something is not claimed.
const SPLIT_RENAME: &str = "posix-split-rename";

/// See the [module's documentation](self).
///
/// Its locks, in the order in which a task takes them: the collection's, an upload's, a repository's (its manifests
/// and tags), digests' in ascending order (content, and layer links of that name), a directory's sync.
pub struct Durable<F: Fs> {
    fs: F,
    world: World,
    layout: Layout<F>,
    locks: LockTable,
    names: names::Names<F>,
    verified: blob::Verified,
    /// Sessions that this process began or found, by directory.
    sessions: Mutex<BTreeMap<String, upload::Session>>,
    fence: fence::Fence,
}

impl<F: Fs> Durable<F> {
    /// The strategy on `fs`. Nothing is read or written before [`recover`](Strategy::recover), which must come first.
    pub fn new(fs: F, world: World) -> Self {
        Self {
            layout: Layout::new(fs.clone()),
            names: names::Names::new(fs.clone(), world.clone()),
            locks: LockTable::default(),
            verified: blob::Verified::default(),
            sessions: Mutex::default(),
            fence: fence::Fence::new(),
            fs,
            world,
        }
    }
}

#[async_trait]
impl<F: Fs> Strategy<F> for Durable<F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn claims(&self, model: &str, invariant: &str) -> bool {
        !(model == SPLIT_RENAME && matches!(invariant, "tag-old-or-new" | "acked-survives"))
    }

    async fn recover(&self) -> Result<()> {
        // What a killed process, or another registry, left in the page cache is read as if it were there to stay.
        self.names.settle_everything().await
    }

    async fn collect_litter(&self) -> Result<u64> {
        self.remove_litter().await
    }

    fn litter_steps(&self) -> Option<&dyn LitterSteps> {
        Some(self)
    }

    async fn start_upload(&self, repo: &Name) -> Result<UploadId> {
        self.begin_upload(repo).await
    }

    async fn upload_offset(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        self.offset_of(repo, id).await
    }

    async fn append(&self, repo: &Name, id: &UploadId, at_bytes: Option<u64>, body: &mut dyn Body) -> Result<u64> {
        self.append_chunk(repo, id, at_bytes, body).await
    }

    async fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.cancel(repo, id).await
    }

    async fn commit(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        last: &mut dyn Body,
    ) -> Result<u64> {
        self.commit_upload(repo, id, digest, at_bytes, last).await
    }

    async fn mount(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<u64> {
        self.mount_blob(repo, from, digest).await
    }

    async fn has_content(&self, digest: &Digest) -> Result<bool> {
        // Content lies under its sha256 digest; which one belongs to another, only the repositories' links say.
        Ok(digest.algorithm() != Algorithm::Sha256 || self.fs.exists(&blob_data(digest)).await?)
    }

    async fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>> {
        self.find_blob(repo, digest).await
    }

    async fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.unlink_blob(repo, digest).await
    }

    async fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        manifest: &Bytes,
        references: &[Digest],
        tag: Option<&Tag>,
    ) -> Result<()> {
        self.store_manifest(repo, digest, manifest, references, tag).await
    }

    async fn get_manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes> {
        self.read_manifest(repo, digest).await
    }

    async fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.remove_manifest(repo, digest).await
    }

    async fn resolve_tag(&self, repo: &Name, tag: &Tag) -> Result<Digest> {
        self.tag_target(repo, tag).await
    }

    async fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        self.remove_tag(repo, tag).await
    }

    async fn tags(&self, repo: &Name) -> Result<Vec<Tag>> {
        self.list_tags(repo).await
    }

    async fn revisions(&self, repo: &Name) -> Result<Vec<Digest>> {
        self.list_revisions(repo).await
    }

    async fn repositories(&self) -> Result<Vec<Name>> {
        self.list_repositories().await
    }

    async fn collect(&self, options: CollectOptions) -> Result<Collected> {
        self.collect_garbage(options).await
    }

    async fn purge_uploads(&self, before: UnixSeconds, dry_run: bool) -> Result<u64> {
        self.purge(before, dry_run).await
    }

    async fn links_at(&self, path: &str) -> Result<Vec<Link>> {
        let mut links = self.layout.links_at(path).await?;
        for link in &mut links {
            if let (LinkKind::TagIndex(_), Ok(target)) = (&link.kind, &link.target) {
                // An index entry is history: its content is there, its revision may have been deleted since.
                let revision = revision_link(&link.repo, target);
                link.needs.retain(|need| *need != revision);
            }
        }
        Ok(links)
    }

    fn content_path(&self, digest: &Digest) -> String {
        blob_data(digest)
    }
}
