//! Collection: what no manifest reaches goes, while clients push.
//!
//! 1. **Mark** ([`survey`]): read every repository; nothing is removed yet, so an I/O error ends the cycle harmlessly.
//! 2. With `delete_untagged`: remove dead revisions, parents before children, each round made durable before the next
//!    and before step 3. Otherwise a crash could keep a manifest and take what it references.
//! 3. Remove dead layer links, and the index entries of tags whose revision is gone.
//! 4. Make all removals of links durable, with one `sync_fs`, unless there were none, and let the files go that were
//!    links. If content is to go it also covers those removals that no request waited for (index entries of deleted
//!    tags). They may be under way beside us: an entry that they still have to remove was seen by the mark, and step 3
//!    waits for their lock.
//! 5. Remove the content that no link is left of. No sync: content that comes back, whatever it holds then, is hashed
//!    before anyone relies on it, and removed by the next cycle.
//!
//! Each removal is made under the lock of its object, after asking the [fence](super::fence) whether a push relies on
//! it since the mark. A revision that is spared in step 2 takes all that it references out of the steps after it.
//!
//! **Damage must not spread.** A revision link counts for the digest in its path, torn or not. Where a live manifest
//! of a repository cannot be read (its content is missing or wrong, or of a kind that we do not know), nothing of
//! that repository is removed: what it references is not known. The same holds for a torn tag and `delete_untagged`.
//! Pushing the manifest again, or deleting it, ends that. A torn layer link that nothing references just goes.

mod survey;

use std::collections::BTreeSet;

use super::Durable;
use super::{fence::Spared, names::Aside};
use crate::fs::{ErrorKind, Fs, FsExt, split};
use crate::oci::{Digest, Name, Tag};
use crate::strategy::layout::{blob_data, blob_dir, layer_link, revision_link, tag_index_link};
use crate::strategy::{CollectOptions, Collected, Result};
use survey::{DeadRevision, Survey};

/// One collection under way.
struct Cycle<'a, F: Fs> {
    durable: &'a Durable<F>,
    spared: Spared<'a>,
    options: CollectOptions,
    repositories: Vec<(Name, Survey)>,
    /// Content that some link or live manifest needs.
    needed: BTreeSet<Digest>,
    removed: Vec<(RemovedLink, Aside)>,
    collected: Collected,
}

/// A link that was removed, and whose directory is to follow once that is durable.
enum RemovedLink {
    Layer(Name, Digest),
    Revision(Name, Digest),
    IndexEntry(Name, Tag, Digest),
}

impl<F: Fs> Durable<F> {
    pub(super) async fn collect_garbage(&self, options: CollectOptions) -> Result<Collected> {
        if !options.dry_run {
            self.names.writable()?;
        }
        let turn = self.fence.ask();
        let _lock = self.locks.lock("collection").await;
        let roots = self.fence.begin(&turn, options.dry_run);
        let spared = Spared { fence: &self.fence, roots: &roots, exclusive: options.exclusive };
        let cycle = Cycle {
            durable: self,
            spared,
            options,
            repositories: Vec::new(),
            needed: BTreeSet::new(),
            removed: Vec::new(),
            collected: Collected::default(),
        };
        let collected = cycle.run().await;
        if collected.is_err() && !options.dry_run {
            self.fence.restore(&roots);
        }
        collected
    }
}

impl<F: Fs> Cycle<'_, F> {
    async fn run(mut self) -> Result<Collected> {
        for repo in self.durable.layout.repositories().await? {
            let survey = self.durable.survey(&repo, self.spared, self.options.delete_untagged).await?;
            self.needed.extend(&survey.needed);
            self.repositories.push((repo, survey));
        }
        self.remove_revisions().await?;
        self.remove_links().await?;
        self.remove_blobs().await?;
        self.collected.manifests.sort();
        self.collected.layer_links.sort();
        Ok(self.collected)
    }

    async fn remove_revisions(&mut self) -> Result<()> {
        let rounds = self.repositories.iter().map(|(_, survey)| survey.dead_revisions.len()).max().unwrap_or(0);
        for round in 0..rounds {
            for at in 0..self.repositories.len() {
                let survey = &mut self.repositories[at].1;
                for dead in survey.dead_revisions.get_mut(round).map(std::mem::take).unwrap_or_default() {
                    self.remove_revision(at, dead).await?;
                }
            }
            if !self.removed.is_empty() {
                self.settle_removals().await?;
            }
        }
        Ok(())
    }

    /// Removes one revision link, unless a push relies on it by now.
    async fn remove_revision(&mut self, at: usize, dead: DeadRevision) -> Result<()> {
        let (repo, survey) = &mut self.repositories[at];
        let _manifests = self.durable.lock_manifests(repo).await;
        let kept = [&dead.named, &dead.target].into_iter().any(|d| self.spared.link(d) || survey.keep.contains(d));
        if kept {
            self.needed.extend([dead.named, dead.target].iter().chain(&dead.references));
            survey.keep.extend(dead.references);
            return Ok(());
        }
        if !self.options.dry_run {
            let aside = self.durable.names.unlink(&revision_link(repo, &dead.named)).await?;
            self.removed.push((RemovedLink::Revision(repo.clone(), dead.named), aside));
        }
        self.collected.manifests.push((repo.clone(), dead.named));
        Ok(())
    }

    async fn remove_links(&mut self) -> Result<()> {
        let durable = self.durable;
        for (repo, survey) in &self.repositories {
            for (named, target) in &survey.dead_layers {
                let _lock = durable.lock_digests(&[*named]).await;
                if [named, target].into_iter().any(|d| self.spared.link(d) || survey.keep.contains(d)) {
                    self.needed.extend([*named, *target]);
                    continue;
                }
                if !self.options.dry_run {
                    let _loosely = durable.names.loosely();
                    let aside = durable.names.unlink(&layer_link(repo, named)).await?;
                    self.removed.push((RemovedLink::Layer(repo.clone(), *named), aside));
                }
                self.collected.layer_links.push((repo.clone(), *named));
            }
            for (tag, named) in survey.dead_index.iter().filter(|_| !self.options.dry_run) {
                let _manifests = durable.lock_manifests(repo).await;
                if !durable.fs.exists(&revision_link(repo, named)).await? {
                    let _loosely = durable.names.loosely();
                    let aside = durable.names.unlink(&tag_index_link(repo, tag, named)).await?;
                    self.removed.push((RemovedLink::IndexEntry(repo.clone(), tag.clone(), *named), aside));
                }
            }
        }
        Ok(())
    }

    /// Makes all removals durable, then removes the directories of those links. One that holds a new link by now
    /// stays: it is not empty.
    async fn settle_removals(&mut self) -> Result<()> {
        let durable = self.durable;
        durable.names.settle_everything().await?;
        for (link, aside) in std::mem::take(&mut self.removed) {
            let (path, _locks) = match &link {
                RemovedLink::Layer(repo, digest) => (layer_link(repo, digest), durable.lock_digests(&[*digest]).await),
                RemovedLink::Revision(repo, digest) => {
                    (revision_link(repo, digest), vec![durable.lock_manifests(repo).await])
                }
                RemovedLink::IndexEntry(repo, tag, digest) => {
                    (tag_index_link(repo, tag, digest), vec![durable.lock_manifests(repo).await])
                }
            };
            durable.names.let_go(aside).await;
            if let Some((dir, _)) = split(&path) {
                durable.names.remove_dir(dir).await?;
            }
        }
        Ok(())
    }

    async fn remove_blobs(&mut self) -> Result<()> {
        let durable = self.durable;
        let mut dead = Vec::new();
        for digest in durable.layout.blobs().await? {
            if !self.needed.contains(&digest) && durable.fs.exists(&blob_data(&digest)).await? {
                dead.push(digest);
            }
        }
        // Those of step 3 are among the loose ones.
        let is_due = !self.removed.is_empty() || !dead.is_empty();
        if !self.options.dry_run && is_due && durable.names.take_loose() {
            self.settle_removals().await?;
        }
        for digest in dead {
            let _lock = durable.lock_digests(&[digest]).await;
            let path = blob_data(&digest);
            if self.spared.blob(&digest) {
                continue;
            }
            if !self.options.dry_run {
                durable.names.writable()?;
                match durable.fs.unlink(&path).await {
                    Err(e) if e.kind != ErrorKind::NotFound => return Err(e.into()),
                    _ => durable.names.forget_below(&blob_dir(&digest)),
                }
                durable.names.remove_dir(&blob_dir(&digest)).await?;
            }
            self.collected.blobs.push(digest);
        }
        Ok(())
    }
}
