//! Referrers: the manifests of a repository that name another one as their subject.
//!
//! Found by reading every manifest of the repository, one at a time: there is no index that a crash could leave
//! behind the truth.

use std::collections::BTreeMap;

use super::{Error, Registry, Result};
use crate::fs::Fs;
use crate::oci::{Digest, Name};

/// One manifest that names a subject, as the referrers API lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: &'static str,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type; of an image manifest without one, its config's media type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl<F: Fs> Registry<F> {
    /// The manifests of `repo` whose subject is `subject`, sorted by digest; with `artifact_type`, only those of that
    /// type. None is no error, nor is a repository or a subject that is not there. A manifest that cannot be read is
    /// left out: one torn file must not hide all signatures, and reading it by its digest says what is wrong.
    pub async fn referrers(&self, repo: &Name, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Referrer>> {
        let revisions = match self.strategy.revisions(repo).await {
            Err(Error::NameUnknown(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for digest in revisions {
            let (stored, manifest) = match self.load(repo, &digest).await {
                Err(Error::Corrupt { .. } | Error::ManifestUnknown(_) | Error::NameUnknown(_)) => continue,
                other => other?,
            };
            let wanted = artifact_type.is_none_or(|t| manifest.artifact_type() == Some(t));
            if wanted && manifest.subject() == Some(*subject) {
                found.push(Referrer {
                    digest,
                    media_type: stored.media_type,
                    size: stored.bytes.len() as u64,
                    artifact_type: manifest.artifact_type().map(str::to_owned),
                    annotations: manifest.annotations().clone(),
                });
            }
        }
        Ok(found)
    }
}
