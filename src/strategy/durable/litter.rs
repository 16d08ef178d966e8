//! What crashes leave behind: temporary files, sessions that nobody can resume, directories that hold nothing.
//!
//! Ours and other registries' (distribution 3.1 leaves `*.ID.tmp`). None of it is ever shown, so this is only about
//! space; it runs beside the serving, takes the lock of each object that it looks at, and may itself be cut anywhere.
//! A temporary file may be what a link was, until that is durable (rule 8): so the link's name is settled first.
//! Content without a link is not litter: a push may be about to link it, and the collection knows.

use async_trait::async_trait;

use super::Durable;
use super::names::TEMPORARY;
use crate::env::sync::see_part;
use crate::fs::{DirEntry, ErrorKind, FileKind, Fs, FsExt};
use crate::oci::{Digest, Name, Tag, UploadId};
use crate::strategy::layout::{
    BLOBS, REPOSITORIES, layers_dir, revisions_dir, tag_current_link, tag_dir, tag_index_dir, tags_dir, upload_data,
    upload_dir, uploads_dir,
};
use crate::strategy::{LitterSteps, Result};

/// Where litter may lie: the directory of one object.
enum Place {
    Blob(Digest),
    Layer(Digest),
    Revision(Name),
    Tag(Name, Tag),
    Upload(Name, UploadId),
}

impl Place {
    fn parse(dir: &str) -> Option<Self> {
        if let Some(blob) = dir.strip_prefix(BLOBS) {
            let ["", algorithm, _, hex] = blob.split('/').collect::<Vec<_>>()[..] else { return None };
            return Some(Self::Blob(Digest::from_parts(algorithm, hex).ok()?));
        }
        // No component of a name begins with an underscore: the first that does ends the name.
        let (name, part) = dir.strip_prefix(REPOSITORIES)?.strip_prefix('/')?.split_once("/_")?;
        let repo = name.parse().ok()?;
        Some(match part.split('/').collect::<Vec<_>>()[..] {
            ["layers", algorithm, hex] => Self::Layer(Digest::from_parts(algorithm, hex).ok()?),
            ["manifests", "revisions", _, _] => Self::Revision(repo),
            ["manifests", "tags", tag] => Self::Tag(repo, tag.parse().ok()?),
            ["uploads", id] => Self::Upload(repo, id.parse().ok()?),
            _ => return None,
        })
    }
}

#[async_trait]
impl<F: Fs> LitterSteps for Durable<F> {
    fn is_place(&self, dir: &str) -> bool {
        Place::parse(dir).is_some()
    }

    /// Under the lock of the object. A repository's manifests and tags share one: it is taken anew for each of them, and
    /// pushes get their turn.
    async fn collect_litter_in(&self, place: &str) -> Result<u64> {
        match Place::parse(place) {
            None => Ok(0),
            Some(Place::Blob(digest)) => {
                let _lock = self.lock_digests(&[digest]).await;
                self.tidy(place, "data").await
            }
            Some(Place::Layer(digest)) => {
                let _lock = self.lock_digests(&[digest]).await;
                self.tidy(place, "link").await
            }
            Some(Place::Revision(repo)) => {
                let _manifests = self.lock_manifests(&repo).await;
                self.tidy(place, "link").await
            }
            Some(Place::Tag(repo, tag)) => {
                let _manifests = self.lock_manifests(&repo).await;
                self.tidy_tag(&repo, &tag).await
            }
            Some(Place::Upload(repo, id)) => self.tidy_upload(&repo, &id).await,
        }
    }
}

impl<F: Fs> Durable<F> {
    pub(super) async fn remove_litter(&self) -> Result<u64> {
        let mut removed = 0;
        for algorithm in self.dirs_in(BLOBS).await? {
            for shard in self.dirs_in(&algorithm).await? {
                removed += self.tidy_all_in(&shard).await?;
            }
        }
        for repo in self.layout.repositories().await? {
            removed += self.tidy_all_in(&uploads_dir(&repo)).await?;
            for links in [layers_dir(&repo), revisions_dir(&repo)] {
                for algorithm in self.dirs_in(&links).await? {
                    removed += self.tidy_all_in(&algorithm).await?;
                }
            }
            removed += self.tidy_all_in(&tags_dir(&repo)).await?;
        }
        Ok(removed)
    }

    /// Removes the litter in each place that lies right in `dir`.
    async fn tidy_all_in(&self, dir: &str) -> Result<u64> {
        let mut removed = 0;
        for place in self.dirs_in(dir).await? {
            removed += self.collect_litter_in(&place).await?;
        }
        Ok(removed)
    }

    async fn tidy_tag(&self, repo: &Name, tag: &Tag) -> Result<u64> {
        let (dir, current) = (tag_dir(repo, tag), tag_current_link(repo, tag));
        if !self.fs.exists(&current).await? {
            // Deleted, or never there. Index entries that are left keep nobody's tag.
            self.names.settle(&current).await?;
            let _loosely = self.names.loosely();
            self.remove_lone_entries(repo, tag).await?;
            return self.remove_all(&dir).await;
        }
        let mut removed = self.tidy(&format!("{dir}/current"), "link").await?;
        let index = tag_index_dir(repo, tag);
        for algorithm in self.dirs_in(&index).await? {
            for entry in self.dirs_in(&algorithm).await? {
                removed += self.tidy(&entry, "link").await?;
            }
        }
        Ok(removed)
    }

    /// A session goes if it cannot be resumed; temporary files in a session that nobody works on go too.
    async fn tidy_upload(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        let dir = upload_dir(repo, id);
        let _session = self.locks.lock(&dir).await;
        if see_part(&self.sessions, &dir).contains_key(&dir) {
            return Ok(0);
        }
        let has_data = self.fs.exists(&upload_data(repo, id)).await?;
        if !has_data || self.started_at(repo, id).await?.is_none() {
            return self.remove_all(&dir).await;
        }
        let mut removed = self.tidy(&dir, "data").await?;
        for algorithm in self.dirs_in(&format!("{dir}/hashstates")).await? {
            removed += self.tidy(&algorithm, "0").await?;
        }
        Ok(removed)
    }

    /// Removes the temporary files in `dir`, and `dir` if it is empty then. What became of `file`, which was to be in it, is
    /// made durable first: someone may have been told of it, and a temporary file may be what it was.
    async fn tidy(&self, dir: &str, file: &str) -> Result<u64> {
        let entries = self.fs.list(dir).await?;
        let is_litter = |entry: &&DirEntry| entry.kind == FileKind::File && entry.name.ends_with(TEMPORARY);
        let litter: Vec<&DirEntry> = entries.iter().filter(is_litter).collect();
        let is_all = litter.len() == entries.len();
        if is_all || !litter.is_empty() {
            self.names.settle(&format!("{dir}/{file}")).await?;
        }
        for entry in &litter {
            self.names.writable()?;
            match self.fs.unlink(&format!("{dir}/{}", entry.name)).await {
                Err(e) if e.kind != ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        let removed = if is_all { u64::from(self.names.remove_dir(dir).await?) } else { 0 };
        Ok(litter.len() as u64 + removed)
    }

    /// Removes a directory with all that is in it, and counts.
    async fn remove_all(&self, dir: &str) -> Result<u64> {
        let mut removed = 0;
        let mut stack = vec![(dir.to_owned(), FileKind::Dir, false)];
        while let Some((path, kind, emptied)) = stack.pop() {
            self.names.writable()?;
            let result = if kind == FileKind::File {
                self.fs.unlink(&path).await
            } else if emptied {
                self.fs.rmdir(&path).await
            } else {
                let entries = self.fs.list(&path).await?;
                stack.push((path.clone(), FileKind::Dir, true));
                stack.extend(entries.into_iter().rev().map(|e| (format!("{path}/{}", e.name), e.kind, false)));
                continue;
            };
            match result {
                Ok(()) => removed += 1,
                Err(e) if e.kind == ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.names.forget_below(dir);
        Ok(removed)
    }

    /// The paths of the directories in `dir`.
    async fn dirs_in(&self, dir: &str) -> Result<Vec<String>> {
        let entries = self.fs.list(dir).await?.into_iter().filter(|entry| entry.kind == FileKind::Dir);
        Ok(entries.map(|entry| format!("{dir}/{}", entry.name)).collect())
    }
}
