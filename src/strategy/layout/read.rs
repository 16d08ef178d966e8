//! Reading the layout: links, and what a repository holds.
//!
//! Reads only, and takes things as they are: a missing directory is an empty one, names that the grammar does not
//! allow are passed over (nobody can ask for them), and a torn link is told apart from a missing one.

use super::{Place, REPOSITORIES, REPOSITORY_PARTS};
use crate::env::limits::MAX_LINK_BYTES;
use crate::fs::{ErrorKind, FileKind, Fs, FsExt};
use crate::oci::{Algorithm, Digest, Name, Tag, UploadId};
use crate::strategy::{Error, Link, LinkKind, Result};

/// What a link file that is there holds: a digest, or why it is none.
pub type LinkFile = std::result::Result<Digest, String>;

/// The digest that `content`, a link file's whole content, stands for, or why it is torn.
///
/// ```
/// use pullplug::strategy::layout::parse_link;
/// assert_eq!(parse_link(b""), Err("it is empty".to_owned()));
/// assert_eq!(parse_link(&[0; 71]), Err("it is 71 zero bytes".to_owned()));
/// ```
pub fn parse_link(content: &[u8]) -> LinkFile {
    if content.is_empty() {
        return Err("it is empty".to_owned());
    }
    if content.iter().all(|b| *b == 0) {
        return Err(format!("it is {} zero bytes", content.len()));
    }
    let text = std::str::from_utf8(content).map_err(|_| format!("its {} bytes are not text", content.len()))?;
    text.parse().map_err(|e: crate::oci::InvalidWord| e.to_string())
}

/// A reader of the layout on a file system.
#[derive(Debug, Clone)]
pub struct Layout<F> {
    fs: F,
}

impl<F: Fs> Layout<F> {
    /// A reader on `fs`, whose root is the directory that a registry is given.
    pub fn new(fs: F) -> Self {
        Self { fs }
    }

    /// The file system.
    pub fn fs(&self) -> &F {
        &self.fs
    }

    /// The link file at `path`; `None` if there is none.
    pub async fn read_link(&self, path: &str) -> Result<Option<LinkFile>> {
        match self.fs.read(path, MAX_LINK_BYTES).await {
            Ok(content) => Ok(Some(parse_link(&content))),
            Err(e) if absent(e.kind) => Ok(None),
            Err(e) if e.kind == ErrorKind::InvalidInput => Ok(Some(Err(e.detail))),
            Err(e) => Err(e.into()),
        }
    }

    /// The digest in the link file at `path`; `None` if there is none. A torn link is [`Error::Corrupt`].
    pub async fn follow(&self, path: &str) -> Result<Option<Digest>> {
        let torn = |detail| Error::Corrupt { path: path.to_owned(), detail };
        self.read_link(path).await?.transpose().map_err(torn)
    }

    /// All repositories, sorted by name: directories that hold one of [`REPOSITORY_PARTS`].
    pub async fn repositories(&self) -> Result<Vec<Name>> {
        self.repositories_with(&REPOSITORY_PARTS).await
    }

    /// The repositories that hold one of `parts`, sorted by name.
    pub async fn repositories_with(&self, parts: &[&str]) -> Result<Vec<Name>> {
        let mut found = Vec::new();
        let mut to_visit = vec![String::new()];
        while let Some(below) = to_visit.pop() {
            let name = below.strip_prefix('/').and_then(|name| name.parse::<Name>().ok());
            if name.is_none() && !below.is_empty() {
                continue;
            }
            let mut is_repository = false;
            for dir in self.directories(&format!("{REPOSITORIES}{below}")).await? {
                if dir.starts_with('_') {
                    is_repository |= parts.contains(&dir.as_str());
                } else {
                    to_visit.push(format!("{below}/{dir}"));
                }
            }
            found.extend(name.filter(|_| is_repository));
        }
        found.sort();
        Ok(found)
    }

    /// The tags of a repository, sorted, resolvable or not. [`Error::NameUnknown`] if it has no directory for them.
    pub async fn tags(&self, repo: &Name) -> Result<Vec<Tag>> {
        match self.fs.read_dir(&super::tags_dir(repo)).await {
            Ok(entries) => Ok(entries.into_iter().filter_map(|entry| entry.name.parse().ok()).collect()),
            Err(e) if absent(e.kind) => Err(Error::NameUnknown(repo.clone())),
            Err(e) => Err(e.into()),
        }
    }

    /// The manifest revisions of a repository whose link is there (whatever it holds), sorted.
    pub async fn revisions(&self, repo: &Name) -> Result<Vec<Digest>> {
        self.linked(&super::revisions_dir(repo)).await
    }

    /// The digests under which a repository has layer links (whatever they hold), sorted.
    pub async fn layer_links(&self, repo: &Name) -> Result<Vec<Digest>> {
        self.linked(&super::layers_dir(repo)).await
    }

    /// The digests in a tag's index whose link is there (whatever it holds), sorted.
    pub async fn tag_index(&self, repo: &Name, tag: &Tag) -> Result<Vec<Digest>> {
        self.linked(&super::tag_index_dir(repo, tag)).await
    }

    /// The upload sessions of a repository that have a directory, whole or not, sorted.
    pub async fn uploads(&self, repo: &Name) -> Result<Vec<UploadId>> {
        let names = self.directories(&super::uploads_dir(repo)).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The offsets of an upload session's hash states, ascending.
    pub async fn hash_states(&self, repo: &Name, id: &UploadId, algorithm: Algorithm) -> Result<Vec<u64>> {
        let entries = self.fs.list(&super::hash_states_dir(repo, id, algorithm)).await?;
        let mut offsets: Vec<u64> = entries.iter().filter_map(|entry| entry.name.parse().ok()).collect();
        offsets.sort_unstable();
        Ok(offsets)
    }

    /// All blobs that have a directory, with data or without, sorted.
    pub async fn blobs(&self) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in self.directories(super::BLOBS).await? {
            let dir = format!("{}/{algorithm}", super::BLOBS);
            for shard in self.directories(&dir).await? {
                let names = self.directories(&format!("{dir}/{shard}")).await?;
                let below = names.iter().filter(|hex| hex.starts_with(&shard));
                found.extend(below.filter_map(|hex| Digest::from_parts(&algorithm, hex).ok()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The links that the file at `path` holds, for [`Strategy::links_at`](crate::strategy::Strategy::links_at).
    pub async fn links_at(&self, path: &str) -> Result<Vec<Link>> {
        let (repo, kind, named) = match Place::parse(path) {
            Some(Place::LayerLink(repo, digest)) => (repo, LinkKind::Layer, Some(digest)),
            Some(Place::RevisionLink(repo, digest)) => (repo, LinkKind::Revision, Some(digest)),
            Some(Place::TagCurrentLink(repo, tag)) => (repo, LinkKind::TagCurrent(tag), None),
            Some(Place::TagIndexLink(repo, tag, digest)) => (repo, LinkKind::TagIndex(tag), Some(digest)),
            _ => return Ok(Vec::new()),
        };
        let Some(target) = self.read_link(path).await? else { return Ok(Vec::new()) };
        let mut needs = Vec::new();
        if let Ok(target) = &target {
            needs.push(super::blob_data(target));
            if matches!(kind, LinkKind::TagCurrent(_) | LinkKind::TagIndex(_)) {
                needs.push(super::revision_link(&repo, target));
            }
        }
        Ok(vec![Link { path: path.to_owned(), repo, kind, named, target, needs }])
    }

    /// The digests below `dir` (`dir/ALG/HEX/link`) whose link file is there, sorted.
    async fn linked(&self, dir: &str) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in self.directories(dir).await? {
            for hex in self.directories(&format!("{dir}/{algorithm}")).await? {
                let Ok(digest) = Digest::from_parts(&algorithm, &hex) else { continue };
                if self.fs.exists(&format!("{dir}/{algorithm}/{hex}/link")).await? {
                    found.push(digest);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names of the directories in `dir`, sorted; none where it is not there.
    async fn directories(&self, dir: &str) -> Result<Vec<String>> {
        let entries = self.fs.list(dir).await?;
        Ok(entries.into_iter().filter(|entry| entry.kind == FileKind::Dir).map(|entry| entry.name).collect())
    }
}

/// Whether an error says that there is nothing at the path.
fn absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}
