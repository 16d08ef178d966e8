//! The on-disk layout that distribution and `durable` share: words to paths, and paths back to words.
//!
//! ```text
//! docker/registry/v2/
//!   blobs/ALG/HH/HEX/data                                content; HH are the first two digits of HEX
//!   repositories/NAME/
//!     _layers/ALG/HEX/link                               a blob that the repository may serve
//!     _manifests/revisions/ALG/HEX/link                  a manifest that it may serve
//!     _manifests/tags/TAG/current/link                   what the tag points at
//!     _manifests/tags/TAG/index/ALG/HEX/link             what it pointed at, once or now
//!     _uploads/ID/{data,startedat,hashstates/ALG/OFFSET}
//! ```
//!
//! A link file holds exactly a digest string, without a newline. [`Place`] names every kind of file in the layout and
//! goes both ways: `Place::parse(&place.path()) == Some(place)`. [`Layout`] reads it. Nothing here writes: how a file
//! gets to its place is what the strategies differ in.

mod read;

pub use read::{Layout, LinkFile, parse_link};

use crate::oci::{Algorithm, Digest, Name, Tag, UploadId};

/// Where the layout begins, below the root directory that a registry is given.
pub const ROOT: &str = "docker/registry/v2";
/// Where all content lies, by digest.
pub const BLOBS: &str = "docker/registry/v2/blobs";
/// Where all repositories lie, by name.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// The parts of a repository: a directory that holds one of them is a repository.
pub const REPOSITORY_PARTS: [&str; 3] = ["_layers", "_manifests", "_uploads"];

/// The directory of one blob.
pub fn blob_dir(digest: &Digest) -> String {
    let hex = digest.hex();
    [BLOBS, "/", digest.algorithm().name(), "/", &hex[..2], "/", &hex].concat()
}

/// The file with a blob's bytes.
pub fn blob_data(digest: &Digest) -> String {
    blob_dir(digest) + "/data"
}

/// The directory of a repository; those whose names begin with this one's lie below it.
pub fn repository_dir(repo: &Name) -> String {
    [REPOSITORIES, "/", repo.as_str()].concat()
}

/// The directory of a repository's layer links.
pub fn layers_dir(repo: &Name) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_layers"].concat()
}

/// The link by which a repository may serve a blob.
pub fn layer_link(repo: &Name, digest: &Digest) -> String {
    below(repo, "/_layers/", digest, "/link")
}

/// The directory of a repository's manifest revisions.
pub fn revisions_dir(repo: &Name) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_manifests/revisions"].concat()
}

/// The directory of one manifest revision.
pub fn revision_dir(repo: &Name, digest: &Digest) -> String {
    below(repo, "/_manifests/revisions/", digest, "")
}

/// The link by which a repository may serve a manifest.
pub fn revision_link(repo: &Name, digest: &Digest) -> String {
    below(repo, "/_manifests/revisions/", digest, "/link")
}

/// The directory of a repository's tags.
pub fn tags_dir(repo: &Name) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_manifests/tags"].concat()
}

/// The directory of one tag.
pub fn tag_dir(repo: &Name, tag: &Tag) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_manifests/tags/", tag.as_str()].concat()
}

/// The link that tells what a tag points at.
pub fn tag_current_link(repo: &Name, tag: &Tag) -> String {
    tag_dir(repo, tag) + "/current/link"
}

/// The directory of what a tag pointed at, once or now.
pub fn tag_index_dir(repo: &Name, tag: &Tag) -> String {
    tag_dir(repo, tag) + "/index"
}

/// The directory of one manifest in a tag's index.
pub fn tag_index_entry_dir(repo: &Name, tag: &Tag, digest: &Digest) -> String {
    [&tag_index_dir(repo, tag), "/", digest.algorithm().name(), "/", &digest.hex()].concat()
}

/// The link of one manifest in a tag's index.
pub fn tag_index_link(repo: &Name, tag: &Tag, digest: &Digest) -> String {
    tag_index_entry_dir(repo, tag, digest) + "/link"
}

/// The directory of a repository's upload sessions.
pub fn uploads_dir(repo: &Name) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_uploads"].concat()
}

/// The directory of one upload session.
pub fn upload_dir(repo: &Name, id: &UploadId) -> String {
    [REPOSITORIES, "/", repo.as_str(), "/_uploads/", id.as_str()].concat()
}

/// The bytes that an upload session has received.
pub fn upload_data(repo: &Name, id: &UploadId) -> String {
    upload_dir(repo, id) + "/data"
}

/// The time at which an upload session began (RFC 3339).
pub fn upload_started_at(repo: &Name, id: &UploadId) -> String {
    upload_dir(repo, id) + "/startedat"
}

/// The directory of an upload session's hash states of one algorithm.
pub fn hash_states_dir(repo: &Name, id: &UploadId, algorithm: Algorithm) -> String {
    [&upload_dir(repo, id), "/hashstates/", algorithm.name()].concat()
}

/// The hash of an upload session's first `offset_bytes` bytes, unfinished (see [`super::hashstate`]).
pub fn hash_state(repo: &Name, id: &UploadId, algorithm: Algorithm, offset_bytes: u64) -> String {
    format!("{}/{offset_bytes}", hash_states_dir(repo, id, algorithm))
}

/// A path of a repository with a digest in it. (Paths are made for every call; formatting them took a tenth of it all.)
fn below(repo: &Name, before: &str, digest: &Digest, after: &str) -> String {
    let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
    [REPOSITORIES, "/", repo.as_str(), before, algorithm, "/", &hex, after].concat()
}

/// A file of the layout, by what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// See [`blob_data`].
    Blob(Digest),
    /// See [`layer_link`].
    LayerLink(Name, Digest),
    /// See [`revision_link`].
    RevisionLink(Name, Digest),
    /// See [`tag_current_link`].
    TagCurrentLink(Name, Tag),
    /// See [`tag_index_link`].
    TagIndexLink(Name, Tag, Digest),
    /// See [`upload_data`].
    UploadData(Name, UploadId),
    /// See [`upload_started_at`].
    UploadStartedAt(Name, UploadId),
    /// See [`hash_state`].
    UploadHashState(Name, UploadId, Algorithm, u64),
}

impl Place {
    /// The path of the file.
    pub fn path(&self) -> String {
        match self {
            Self::Blob(digest) => blob_data(digest),
            Self::LayerLink(repo, digest) => layer_link(repo, digest),
            Self::RevisionLink(repo, digest) => revision_link(repo, digest),
            Self::TagCurrentLink(repo, tag) => tag_current_link(repo, tag),
            Self::TagIndexLink(repo, tag, digest) => tag_index_link(repo, tag, digest),
            Self::UploadData(repo, id) => upload_data(repo, id),
            Self::UploadStartedAt(repo, id) => upload_started_at(repo, id),
            Self::UploadHashState(repo, id, algorithm, offset) => hash_state(repo, id, *algorithm, *offset),
        }
    }

    /// What the file at `path` is: `None` for directories, temporary files and all else that is no place of the
    /// layout. Only the exact spelling that [`path`](Place::path) gives is taken.
    pub fn parse(path: &str) -> Option<Self> {
        let below = path.strip_prefix(ROOT)?.strip_prefix('/')?;
        let place = if let Some(blob) = below.strip_prefix("blobs/") {
            let [algorithm, _, hex, "data"] = split_exactly(blob)? else { return None };
            Self::Blob(Digest::from_parts(algorithm, hex).ok()?)
        } else {
            let below = below.strip_prefix("repositories/")?;
            // No component of a name begins with an underscore: the first that does ends the name.
            let (name, part) = below.split_once("/_")?;
            Self::parse_in_repository(name.parse().ok()?, part)?
        };
        (place.path() == path).then_some(place)
    }

    /// The rest of the path after `NAME/_`.
    fn parse_in_repository(repo: Name, part: &str) -> Option<Self> {
        let digest = |algorithm, hex| Digest::from_parts(algorithm, hex).ok();
        let words: Vec<&str> = part.split('/').collect();
        Some(match words[..] {
            ["layers", algorithm, hex, "link"] => Self::LayerLink(repo, digest(algorithm, hex)?),
            ["manifests", "revisions", algorithm, hex, "link"] => Self::RevisionLink(repo, digest(algorithm, hex)?),
            ["manifests", "tags", tag, "current", "link"] => Self::TagCurrentLink(repo, tag.parse().ok()?),
            ["manifests", "tags", tag, "index", algorithm, hex, "link"] => {
                Self::TagIndexLink(repo, tag.parse().ok()?, digest(algorithm, hex)?)
            }
            ["uploads", id, "data"] => Self::UploadData(repo, id.parse().ok()?),
            ["uploads", id, "startedat"] => Self::UploadStartedAt(repo, id.parse().ok()?),
            ["uploads", id, "hashstates", algorithm, offset] => {
                Self::UploadHashState(repo, id.parse().ok()?, Algorithm::from_name(algorithm)?, offset.parse().ok()?)
            }
            _ => return None,
        })
    }
}

/// The components of `path`, if there are exactly `N`.
fn split_exactly<const N: usize>(path: &str) -> Option<[&str; N]> {
    path.split('/').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<Place> {
        let (short, long) = (Digest::sha256(b"a"), Digest::of(Algorithm::Sha512, b"a"));
        let id: UploadId = "0b8e7a0a-2f6b-4d43-9d93-f3ac0ffb5e3f".parse().unwrap();
        let mut places = vec![Place::Blob(short), Place::Blob(long)];
        for repo in ["app", "lib/app", "a/b/c_d/e--f"].map(|name| name.parse::<Name>().unwrap()) {
            let repo = || repo.clone();
            let tag = || "v1.0-rc_2".parse::<Tag>().unwrap();
            places.extend([
                Place::LayerLink(repo(), short),
                Place::LayerLink(repo(), long),
                Place::RevisionLink(repo(), short),
                Place::TagCurrentLink(repo(), tag()),
                Place::TagIndexLink(repo(), tag(), short),
                Place::UploadData(repo(), id.clone()),
                Place::UploadStartedAt(repo(), id.clone()),
                Place::UploadHashState(repo(), id.clone(), Algorithm::Sha256, 40_000),
            ]);
        }
        // Words of the grammar that look like words of the layout.
        places.push(Place::TagCurrentLink("blobs/repositories".parse().unwrap(), "_uploads".parse().unwrap()));
        places.push(Place::TagIndexLink("index/link".parse().unwrap(), "current".parse().unwrap(), short));
        places
    }

    #[test]
    fn every_place_goes_both_ways() {
        for place in places() {
            assert_eq!(Place::parse(&place.path()), Some(place));
        }
    }

    #[test]
    fn paths_are_those_of_distribution() {
        let digest = Digest::sha256(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(blob_data(&digest), format!("docker/registry/v2/blobs/sha256/e3/{hex}/data"));
        let (repo, tag) = ("lib/app".parse().unwrap(), "v1".parse().unwrap());
        let below = "docker/registry/v2/repositories/lib/app";
        assert_eq!(layer_link(&repo, &digest), format!("{below}/_layers/sha256/{hex}/link"));
        assert_eq!(revision_link(&repo, &digest), format!("{below}/_manifests/revisions/sha256/{hex}/link"));
        assert_eq!(tag_current_link(&repo, &tag), format!("{below}/_manifests/tags/v1/current/link"));
        assert_eq!(tag_index_link(&repo, &tag, &digest), format!("{below}/_manifests/tags/v1/index/sha256/{hex}/link"));
        let id = "u-1".parse().unwrap();
        assert_eq!(hash_state(&repo, &id, Algorithm::Sha256, 7), format!("{below}/_uploads/u-1/hashstates/sha256/7"));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let link = layer_link(&"lib/app".parse().unwrap(), &Digest::sha256(b""));
        let data = blob_data(&Digest::sha256(b""));
        let refused = [
            String::new(),
            ROOT.to_owned(),
            format!("{link}/"),
            format!("{link}.0b8e.tmp"),
            link.replace("lib/app", "Lib/app"),
            link.replace("lib/app/", ""),
            link.replace("e3b0", "E3b0"),
            link.replace("sha256", "md5"),
            link.replace("docker/", ""),
            data.replace("/e3/", "/e4/"),
            data.replace("/data", ""),
            format!("{REPOSITORIES}/app/_uploads/u/hashstates/sha256/010"),
            format!("{REPOSITORIES}/app/_uploads/u/hashstates/sha256/+10"),
            format!("{REPOSITORIES}/app/_manifests/tags/.v1/current/link"),
        ];
        for path in refused {
            assert_eq!(Place::parse(&path), None, "{path}");
        }
    }
}
