//! `tag-old-or-new`, and the survival and the deletion of tags.
//!
//! While a tag with an acknowledged value is being moved, it is judged by `tag-old-or-new` alone. What counts is the
//! manifest that the tag **resolves to**: whether that one can be read is for its own judges.

use super::oracle::{Expect, TagExpect};
use super::read::{self, Object, Seen, Sight};
use super::{Invariant, Observation, short};
use crate::fs::Fs;
use crate::oci::{Digest, Name, Reference, Tag};

/// Judges a tag against what is expected of it.
///
/// A tag that must be there is also read by its name, as a client does.
pub async fn judge<F: Fs>(sight: &Sight<'_, F>, repo: &Name, tag: &Tag, expect: &TagExpect) -> Vec<Observation> {
    let object = Object::Tag(repo.clone(), tag.clone());
    let resolved = match sight.see(&object).await {
        Seen::Right(digest) => Ok(digest),
        Seen::Wrong(why) | Seen::Refused(why) => Err(why),
    };
    let digest = match judge_resolved(repo, tag, expect, resolved) {
        Ok(digest) => digest,
        Err(judged) => return judged,
    };
    let seen = match sight.registry().get_manifest(repo, &Reference::Tag(tag.clone())).await {
        Ok(stored) => read::completed(&digest, sight.contents().check(&digest, &stored.bytes)),
        Err(e) => Seen::Refused(e.to_string()),
    };
    read::judge(&object, Expect::Must, &seen)
}

/// Judges what a tag resolves to. `Ok` where it must be there and is: then it must be readable as well.
///
/// Errors: all that there is to say of any other tag.
pub fn judge_resolved(
    repo: &Name,
    tag: &Tag,
    expect: &TagExpect,
    resolved: Result<Digest, String>,
) -> Result<Digest, Vec<Observation>> {
    let object = Object::Tag(repo.clone(), tag.clone());
    match resolved {
        Ok(digest) if !expect.allowed.contains(&Some(digest)) => Err(judge_illegal(&object, expect, &digest)),
        Ok(_) if expect.moving => Err(vec![Observation::holds(Invariant::TagOldOrNew)]),
        Ok(_) if expect.allowed.contains(&None) => Err(Vec::new()),
        Ok(digest) => Ok(digest),
        Err(why) => Err(judge_lost(repo, tag, expect, &why).into_iter().collect()),
    }
}

/// Judges a tag that points at a manifest that it may not point at.
fn judge_illegal(object: &Object, expect: &TagExpect, found: &Digest) -> Vec<Observation> {
    let found = format!("it points at {}", short(found));
    let observation = if expect.moving {
        neither(object, expect, &found)
    } else if expect.allowed.contains(&None) {
        // A value that it may not have is one that was taken from it.
        Observation::broken(Invariant::DeletedStaysDeleted, format!("{object} is back: {found}"))
    } else {
        Observation::broken(Invariant::AckedSurvives, format!("{object} was acknowledged, but {found}"))
    };
    vec![observation]
}

/// Judges a tag that resolves to nothing, and why. No observation where it may be gone or there.
pub fn judge_lost(repo: &Name, tag: &Tag, expect: &TagExpect, why: &str) -> Option<Observation> {
    let object = Object::Tag(repo.clone(), tag.clone());
    if expect.moving {
        return Some(neither(&object, expect, why));
    }
    if !expect.allowed.contains(&None) {
        let what = format!("{object} was acknowledged, but it cannot be resolved: {why}");
        return Some(Observation::broken(Invariant::AckedSurvives, what));
    }
    (expect.allowed.len() == 1).then(|| Observation::holds(Invariant::DeletedStaysDeleted))
}

fn neither(object: &Object, expect: &TagExpect, found: &str) -> Observation {
    let wanted: Vec<_> = expect.allowed.iter().flatten().map(short).collect();
    let what = format!("{object}, which is being moved, is neither old nor new ({}): {found}", wanted.join(" or "));
    Observation::broken(Invariant::TagOldOrNew, what)
}
