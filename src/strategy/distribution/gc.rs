//! The collection and the purge of uploads, as the offline tool and the janitor run them.
//!
//! Mark, then sweep, without a lock and without a period of grace: what is pushed in between may go. An error while
//! marking, such as an empty link, ends the collection before anything is removed. distribution walks its sets in
//! random order; here they are sorted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Distribution, upload};
use crate::env::clock::UnixSeconds;
use crate::fs::{Fs, FsExt};
use crate::oci::{Digest, Manifest, Name, Tag};
use crate::strategy::{CollectOptions, Collected, Error, Result, layout};

/// What the mark phase finds.
#[derive(Default)]
struct Marks {
    /// What stays.
    reached: BTreeSet<Digest>,
    /// Untagged manifests, with the tags of their repository.
    untagged: BTreeMap<(Name, Digest), Vec<Tag>>,
    /// Layer links whose blob was not reached when their repository was visited.
    layers: Vec<(Name, Digest)>,
}

impl<F: Fs> Distribution<F> {
    /// Marks and sweeps.
    pub(super) async fn mark_and_sweep(&self, options: CollectOptions) -> Result<Collected> {
        let mut marks = Marks::default();
        for repo in self.layout.repositories_with(&[self.driver.version.repository_mark]).await? {
            self.mark_repository(&repo, options, &mut marks).await?;
        }
        if self.driver.version.deep_collection {
            let reached = &marks.reached;
            marks.untagged.retain(|(_, digest), _| !reached.contains(digest));
        }
        let mut collected = Collected::default();
        for ((repo, digest), tags) in &marks.untagged {
            if !options.dry_run {
                self.remove_manifest(repo, digest, tags).await?;
            }
            collected.manifests.push((repo.clone(), *digest));
        }
        let mut doomed = Vec::new();
        for blob in self.layout.blobs().await? {
            if !marks.reached.contains(&blob) && self.driver.fs.exists(&layout::blob_data(&blob)).await? {
                doomed.push(blob);
            }
        }
        for blob in doomed {
            if !options.dry_run {
                self.driver.delete(&layout::blob_dir(&blob)).await?;
            }
            collected.blobs.push(blob);
        }
        // Two links that hold one digest, an alias and its canonical one, are found twice; the second removal fails.
        for (repo, digest) in marks.layers {
            if !options.dry_run {
                self.driver.delete(&layout::layer_link(&repo, &digest)).await?;
            }
            collected.layer_links.push((repo, digest));
        }
        Ok(collected)
    }

    async fn mark_repository(&self, repo: &Name, options: CollectOptions, marks: &mut Marks) -> Result<()> {
        for named in self.layout.revisions(repo).await? {
            let Some(digest) = self.layout.follow(&layout::revision_link(repo, &named)).await? else { continue };
            if self.stat_manifest(repo, &digest).await?.is_none() {
                continue;
            }
            if options.delete_untagged && self.tags_at(repo, &digest).await?.is_empty() {
                match self.layout.tags(repo).await {
                    Ok(tags) => drop(marks.untagged.insert((repo.clone(), digest), tags)),
                    // Neither kept nor listed for removal; but its blob goes.
                    Err(Error::NameUnknown(_)) if self.driver.version.deep_collection => {}
                    Err(e) => return Err(e),
                }
                continue;
            }
            marks.reached.insert(digest);
            self.mark_references(repo, &digest, marks).await?;
        }
        if self.driver.version.deep_collection {
            for named in self.layout.layer_links(repo).await? {
                let Some(digest) = self.layout.follow(&layout::layer_link(repo, &named)).await? else { continue };
                let known = self.stat_blob(repo, &digest).await?.is_some();
                if known && !marks.reached.contains(&digest) {
                    marks.layers.push((repo.clone(), digest));
                }
            }
        }
        Ok(())
    }

    /// Marks what a manifest references; in a deep collection also what its children do.
    async fn mark_references(&self, repo: &Name, digest: &Digest, marks: &mut Marks) -> Result<()> {
        let mut to_visit = vec![*digest];
        while let Some(digest) = to_visit.pop() {
            let bytes = self.manifest(repo, &digest).await?;
            let unreadable = |e| Error::ManifestInvalid(format!("{digest} in {repo}: {e}"));
            let manifest = Manifest::parse(&bytes, None).map_err(unreadable)?;
            for reference in manifest.references().iter().chain(manifest.optional_references()) {
                let fresh = marks.reached.insert(reference.digest);
                let deep = fresh && self.driver.version.deep_collection;
                // Whatever keeps a child from being found keeps it from being visited.
                if deep && matches!(self.stat_manifest(repo, &reference.digest).await, Ok(Some(_))) {
                    to_visit.push(reference.digest);
                }
            }
        }
        Ok(())
    }

    /// Removes what the index of each tag holds of a manifest, then its revision.
    async fn remove_manifest(&self, repo: &Name, digest: &Digest, tags: &[Tag]) -> Result<()> {
        for tag in tags {
            self.driver.delete_if_there(&layout::tag_index_entry_dir(repo, tag, digest)).await?;
        }
        Ok(self.driver.delete(&layout::revision_dir(repo, digest)).await?)
    }

    /// Removes the sessions that began before `before`. One whose `startedat` is missing or torn stays for ever.
    pub(super) async fn purge(&self, before: UnixSeconds, dry_run: bool) -> Result<u64> {
        let mut purged = 0;
        for repo in self.layout.repositories_with(&["_uploads"]).await? {
            for id in self.layout.uploads(&repo).await? {
                let old = match upload::started_at(&self.driver, &repo, &id).await {
                    Ok(at) => at.is_some_and(|at| at < before),
                    Err(Error::Corrupt { .. }) => false,
                    Err(e) => return Err(e),
                };
                if old && (dry_run || self.driver.delete_if_there(&layout::upload_dir(&repo, &id)).await?) {
                    purged += 1;
                }
            }
        }
        Ok(purged)
    }
}
