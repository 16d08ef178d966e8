//! What crashes leave behind: temporary files, sessions that nobody can resume, directories that hold nothing.
//!
//! Ours and other registries' (distribution 3.1 leaves `*.ID.tmp`). None of it is ever shown, so this is only about
//! space; it runs beside the serving, takes the lock of each object that it looks at, and may itself be cut anywhere.
//! Content without a link is not litter: a push may be about to link it, and the collection knows.

use super::Durable;
use super::names::TEMPORARY;
use crate::env::sync::see_part;
use crate::fs::{ErrorKind, FileKind, Fs, FsExt};
use crate::oci::{Digest, Name, Tag, UploadId};
use crate::strategy::Result;
use crate::strategy::layout::{
    BLOBS, layers_dir, revisions_dir, tag_current_link, tag_dir, tag_index_dir, upload_data, upload_dir,
};

impl<F: Fs> Durable<F> {
    pub(super) async fn remove_litter(&self) -> Result<u64> {
        let mut removed = 0;
        for algorithm in self.dirs(BLOBS).await? {
            for shard in self.dirs(&format!("{BLOBS}/{algorithm}")).await? {
                removed += self.tidy_digests(&format!("{BLOBS}/{algorithm}/{shard}"), &algorithm, "data").await?;
            }
        }
        for repo in self.layout.repositories().await? {
            for id in self.layout.uploads(&repo).await? {
                removed += self.tidy_upload(&repo, &id).await?;
            }
            let layers = layers_dir(&repo);
            for algorithm in self.dirs(&layers).await? {
                removed += self.tidy_digests(&format!("{layers}/{algorithm}"), &algorithm, "link").await?;
            }
            removed += self.tidy_manifests(&repo).await?;
        }
        Ok(removed)
    }

    /// Directories named by digests of `algorithm`, under the locks of those digests.
    async fn tidy_digests(&self, dir: &str, algorithm: &str, file: &str) -> Result<u64> {
        let mut removed = 0;
        for hex in self.dirs(dir).await? {
            let Ok(digest) = Digest::from_parts(algorithm, &hex) else { continue };
            let _lock = self.lock_digests(&[digest]).await;
            removed += self.tidy(&format!("{dir}/{hex}"), file).await?;
        }
        Ok(removed)
    }

    /// Revisions and tags of a repository. Its lock is taken anew for each of them: pushes get their turn.
    async fn tidy_manifests(&self, repo: &Name) -> Result<u64> {
        let mut removed = 0;
        let revisions = revisions_dir(repo);
        for algorithm in self.dirs(&revisions).await? {
            for hex in self.dirs(&format!("{revisions}/{algorithm}")).await? {
                let _manifests = self.lock_manifests(repo).await;
                removed += self.tidy(&format!("{revisions}/{algorithm}/{hex}"), "link").await?;
            }
        }
        for tag in self.tags_of(repo).await? {
            let _manifests = self.lock_manifests(repo).await;
            removed += self.tidy_tag(repo, &tag).await?;
        }
        Ok(removed)
    }

    async fn tidy_tag(&self, repo: &Name, tag: &Tag) -> Result<u64> {
        let (dir, current) = (tag_dir(repo, tag), tag_current_link(repo, tag));
        if !self.fs.exists(&current).await? {
            // Deleted, or never there. Index entries that are left keep nobody's tag.
            self.names.settle(&current).await?;
            let _loosely = self.names.loosely();
            return self.remove_all(&dir).await;
        }
        let mut removed = self.tidy(&format!("{dir}/current"), "link").await?;
        let index = tag_index_dir(repo, tag);
        for algorithm in self.dirs(&index).await? {
            for hex in self.dirs(&format!("{index}/{algorithm}")).await? {
                removed += self.tidy(&format!("{index}/{algorithm}/{hex}"), "link").await?;
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
        let states = format!("{dir}/hashstates");
        for algorithm in self.dirs(&states).await? {
            removed += self.tidy(&format!("{states}/{algorithm}"), "0").await?;
        }
        Ok(removed)
    }

    /// Removes the temporary files in `dir`, and `dir` if it is empty then: the absence of `file`, which was to be in
    /// it, is made durable first, as someone may have been told of it.
    async fn tidy(&self, dir: &str, file: &str) -> Result<u64> {
        let entries = self.fs.list(dir).await?;
        let is_litter = |name: &str| name.ends_with(TEMPORARY);
        let mut removed = 0;
        for entry in entries.iter().filter(|e| e.kind == FileKind::File && is_litter(&e.name)) {
            self.names.writable()?;
            self.fs.unlink(&format!("{dir}/{}", entry.name)).await?;
            removed += 1;
        }
        if removed == entries.len() as u64 {
            self.names.settle(&format!("{dir}/{file}")).await?;
            removed += u64::from(self.names.remove_dir(dir).await?);
        }
        Ok(removed)
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

    async fn dirs(&self, dir: &str) -> Result<Vec<String>> {
        let entries = self.fs.list(dir).await?;
        Ok(entries.into_iter().filter(|entry| entry.kind == FileKind::Dir).map(|entry| entry.name).collect())
    }
}
