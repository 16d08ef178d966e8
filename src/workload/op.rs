//! What clients and operators do to a registry, as typed steps: printable, serializable, one registry operation each.
//!
//! A step names content by its digest; the bytes are in the [`Workload`](super::Workload) that it belongs to. Upload
//! sessions are named by a small number, since their identifiers are only known once they run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Name, Tag};

/// Names an upload session within one workload.
pub type UploadKey = u32;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op")]
pub enum Op {
    /// POST: opens an upload session for `content`.
    StartUpload {
        /// The session.
        upload: UploadKey,
        /// The repository.
        repo: Name,
        /// What is to be uploaded.
        content: Digest,
    },
    /// PATCH: the next `bytes` bytes, where the last chunk ended.
    Append {
        /// The session.
        upload: UploadKey,
        /// Length of the chunk in bytes.
        bytes: u64,
    },
    /// GET of the session, then PATCH: all the rest from the offset that is reported, as a client does that has lost
    /// its connection.
    Resume {
        /// The session.
        upload: UploadKey,
    },
    /// PUT: what has not been sent yet, and the digest.
    Commit {
        /// The session.
        upload: UploadKey,
    },
    /// POST with `mount` and `from`.
    Mount {
        /// The repository that gets the blob.
        repo: Name,
        /// The repository that has it.
        from: Name,
        /// The blob.
        content: Digest,
    },
    /// PUT of a manifest, by its tag, or without one by its digest.
    PutManifest {
        /// The repository.
        repo: Name,
        /// The manifest.
        content: Digest,
        /// The tag.
        tag: Option<Tag>,
    },
    /// DELETE of a manifest by its digest.
    DeleteManifest {
        /// The repository.
        repo: Name,
        /// The manifest.
        content: Digest,
    },
    /// DELETE of a tag.
    DeleteTag {
        /// The repository.
        repo: Name,
        /// The tag.
        tag: Tag,
    },
    /// DELETE of a blob.
    DeleteBlob {
        /// The repository.
        repo: Name,
        /// The blob.
        content: Digest,
    },
    /// A garbage collection.
    Collect {
        /// Nobody else writes: the offline command.
        exclusive: bool,
    },
    /// Removal of what crashes left behind.
    CollectLitter,
    /// Removal of all unfinished uploads, however young.
    PurgeUploads,
    /// The process ends without warning and starts again; the machine runs on.
    Restart,
}

impl Op {
    /// The upload session that it goes on with.
    pub fn upload(&self) -> Option<UploadKey> {
        match self {
            Self::Append { upload, .. } | Self::Resume { upload } | Self::Commit { upload } => Some(*upload),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartUpload { upload, repo, content } => write!(f, "start upload {upload} to {repo} of {content}"),
            Self::Append { upload, bytes } => write!(f, "append {bytes} bytes to upload {upload}"),
            Self::Resume { upload } => write!(f, "resume upload {upload}"),
            Self::Commit { upload } => write!(f, "commit upload {upload}"),
            Self::Mount { repo, from, content } => write!(f, "mount {content} from {from} into {repo}"),
            Self::PutManifest { repo, content, tag: Some(tag) } => write!(f, "put manifest {content} as {repo}:{tag}"),
            Self::PutManifest { repo, content, tag: None } => write!(f, "put manifest {content} into {repo}"),
            Self::DeleteManifest { repo, content } => write!(f, "delete manifest {content} of {repo}"),
            Self::DeleteTag { repo, tag } => write!(f, "delete tag {tag} of {repo}"),
            Self::DeleteBlob { repo, content } => write!(f, "delete blob {content} of {repo}"),
            Self::Collect { exclusive: false } => f.write_str("collect garbage"),
            Self::Collect { exclusive: true } => f.write_str("collect garbage, alone"),
            Self::CollectLitter => f.write_str("collect litter"),
            Self::PurgeUploads => f.write_str("purge all uploads"),
            Self::Restart => f.write_str("restart the process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_printable_and_come_back() {
        let repo: Name = "lib/app".parse().unwrap();
        let content = Digest::sha256(b"");
        let tag: Tag = "v1".parse().unwrap();
        let ops = [
            Op::StartUpload { upload: 1, repo: repo.clone(), content },
            Op::Append { upload: 1, bytes: 10_000 },
            Op::Resume { upload: 1 },
            Op::Commit { upload: 1 },
            Op::Mount { repo: repo.clone(), from: "b".parse().unwrap(), content },
            Op::PutManifest { repo: repo.clone(), content, tag: Some(tag.clone()) },
            Op::PutManifest { repo: repo.clone(), content, tag: None },
            Op::DeleteManifest { repo: repo.clone(), content },
            Op::DeleteTag { repo: repo.clone(), tag },
            Op::DeleteBlob { repo, content },
            Op::Collect { exclusive: true },
            Op::Collect { exclusive: false },
            Op::CollectLitter,
            Op::PurgeUploads,
            Op::Restart,
        ];
        let json = serde_json::to_string(&ops).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Op>>(&json).unwrap(), ops);
        let words: std::collections::BTreeSet<_> = ops.iter().map(Op::to_string).collect();
        assert_eq!(words.len(), ops.len(), "no two read the same");
        assert!(json.contains(r#"{"op":"append","upload":1,"bytes":10000}"#), "{json}");
    }
}
