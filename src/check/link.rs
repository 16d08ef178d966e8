//! `no-torn-link` and `no-dangling-link`: links as they lie on the disk.
//!
//! Judged on one file at a time, and without asking the registry to serve anything: on the raw image, since another
//! registry may open the directory, and again after our own recovery. A link that is torn has no target to dangle
//! from, so a torn link is torn only.

use super::contents::{Contents, OTHER_BYTES};
use super::{Invariant, Observation, short};
use crate::env::limits::IO_CHUNK_BYTES;
use crate::fs::{ErrorKind, FileExt, Fs, FsError, FsExt, OpenMode};
use crate::oci::Digest;
use crate::strategy::{Link, Strategy};

/// Judges the links that the file at `path` holds; no observation where it is no link, is not there, or the file
/// system fails.
pub async fn judge<F: Fs>(strategy: &dyn Strategy<F>, fs: &F, contents: &Contents, path: &str) -> Vec<Observation> {
    let mut seen = Vec::new();
    for link in strategy.links_at(path).await.unwrap_or_default() {
        // A medium that fails tells nothing about the link.
        seen.extend(judge_link(fs, contents, &link).await.unwrap_or_default());
    }
    seen
}

async fn judge_link<F: Fs>(fs: &F, contents: &Contents, link: &Link) -> Result<Vec<Observation>, FsError> {
    let torn = |why: String| Ok(vec![Observation::broken(Invariant::NoTornLink, format!("{}: {why}", link.path))]);
    let target = match &link.target {
        Ok(target) => *target,
        Err(why) => return torn(format!("the link is torn: {why}")),
    };
    let named = link.named.unwrap_or(target);
    if named.algorithm() == target.algorithm() && named != target {
        return torn(format!("the link holds {}, not the digest in its path", short(&target)));
    }
    let mut dangling = None;
    if let Some((content, others)) = link.needs.split_first() {
        match lies(fs, contents, content, &target).await? {
            None => dangling = Some(format!("{content} is not there")),
            Some(Err(how)) => dangling = Some(format!("{content} holds {how}")),
            Some(Ok(())) if named == target => {}
            Some(Ok(())) => {
                if let Some(Err(how)) = lies(fs, contents, content, &named).await? {
                    return torn(format!("the link is an alias of {}, but its content is {how}", short(&named)));
                }
            }
        }
        for other in others {
            if dangling.is_none() && !fs.exists(other).await? {
                dangling = Some(format!("{other} is not there"));
            }
        }
    }
    let dangling = dangling.map(|why| format!("{}: the link dangles: {why}", link.path));
    Ok(vec![Observation::holds(Invariant::NoTornLink), Observation::judged(Invariant::NoDanglingLink, dangling)])
}

/// Compares a file with what `digest` names; `None` where there is no file.
async fn lies<F: Fs>(
    fs: &F,
    contents: &Contents,
    path: &str,
    digest: &Digest,
) -> Result<Option<Result<(), String>>, FsError> {
    let file = match fs.open(path, OpenMode::Read).await {
        Ok(file) => file,
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    if let Some(is_right) = contents.known_of(digest, &file).await? {
        return Ok(Some(if is_right { Ok(()) } else { Err(OTHER_BYTES.to_owned()) }));
    }
    let mut comparison = contents.compare(digest);
    let mut at = 0;
    loop {
        let piece = file.read_full(at, IO_CHUNK_BYTES).await?;
        if piece.is_empty() {
            return Ok(Some(comparison.finish()));
        }
        comparison.feed(&piece);
        at += piece.len() as u64;
    }
}
