//! `upload-offset-true`: an unfinished upload promises that the offset that it reports is one to go on from.
//!
//! The judge does what a client does after a crash: it asks where to go on, sends the rest of the true bytes from
//! there, and commits them under their true digest. A session that is gone, or that cannot say where it stands, has
//! promised nothing. One that names an offset and then refuses to go on from it, refuses the digest, or takes wrong
//! bytes for right ones, has lied. A medium that fails or is full proves nothing either way.

use bytes::Bytes;

use super::contents::Contents;
use super::read::{self, Object, Seen};
use super::{Invariant, Observation, short};
use crate::fs::{ErrorKind, Fs};
use crate::oci::{Digest, Name, UploadId};
use crate::registry::{Error, Registry};

/// Resumes the upload of `digest` and judges what comes of it. No observation where the session is gone.
pub async fn judge<F: Fs>(
    registry: &Registry<F>,
    contents: &Contents,
    repo: &Name,
    id: &UploadId,
    digest: &Digest,
) -> Vec<Observation> {
    let Some(whole) = contents.get(digest).map(|c| c.bytes.clone()) else { return Vec::new() };
    let Ok(offset) = registry.upload_offset(repo, id).await else { return Vec::new() };
    let what = format!("the upload of {} to {repo}", short(digest));
    let lie = |why: String| vec![Observation::broken(Invariant::UploadOffsetTrue, format!("{what} {why}"))];
    let total = whole.len() as u64;
    if offset > total {
        return lie(format!("reports {offset} bytes, more than the {total} that there are"));
    }
    match resume(registry, repo, id, digest, offset, &whole).await {
        Ok(()) => {}
        Err(Error::Fs(e)) if matches!(e.kind, ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ReadOnly) => {
            return Vec::new();
        }
        Err(e) => return lie(format!("reports {offset} of {total} bytes, but going on from there fails: {e}")),
    }
    let blob = Object::Blob(repo.clone(), *digest);
    let seen = read::see(registry, contents, &blob).await;
    let mut observations: Vec<_> = read::judge_bytes(&blob, &seen).into_iter().collect();
    let why = match seen {
        Seen::Right(_) => None,
        Seen::Wrong(how) | Seen::Refused(how) => {
            Some(format!("{what} reports {offset} of {total} bytes and is accepted in the end, yet holds {how}"))
        }
    };
    observations.push(Observation::judged(Invariant::UploadOffsetTrue, why));
    observations
}

/// Sends the rest, then commits.
async fn resume<F: Fs>(
    registry: &Registry<F>,
    repo: &Name,
    id: &UploadId,
    digest: &Digest,
    offset_bytes: u64,
    whole: &Bytes,
) -> Result<(), Error> {
    let rest = whole.slice(offset_bytes as usize..);
    if !rest.is_empty() {
        registry.append(repo, id, Some(offset_bytes), &mut Some(rest)).await?;
    }
    registry.commit(repo, id, digest, None, &mut None).await.map(|_| ())
}
