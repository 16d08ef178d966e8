//! `manifest-closure`: whatever a readable manifest references is readable.
//!
//! One manifest and one thing that it references at a time. A manifest that cannot be read promises nothing, and one
//! that reads as other bytes than its own is a case for `reads-verify`.

use super::read::{Object, Seen, Sight};
use super::{Invariant, Observation, short};
use crate::fs::Fs;
use crate::oci::{Digest, Name};

/// Judges that `needed`, which the manifest references, is readable through the same repository as the manifest.
/// No observation where the manifest is not readable.
pub async fn judge<F: Fs>(
    sight: &Sight<'_, F>,
    repo: &Name,
    manifest: &Digest,
    needed: &Object,
) -> Option<Observation> {
    let by_digest = Object::Manifest(repo.clone(), *manifest);
    if !sight.see(&by_digest).await.is_right() {
        return None;
    }
    let broken = match sight.see(needed).await {
        // Wrong bytes are read to their end: that is for `reads-verify`.
        Seen::Right(_) | Seen::Wrong(_) => None,
        Seen::Refused(why) => {
            Some(format!("manifest {} of {repo} is there, but {needed} is not: {why}", short(manifest)))
        }
    };
    Some(Observation::judged(Invariant::ManifestClosure, broken))
}
