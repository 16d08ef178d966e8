//! `tag-old-or-new`, and the survival and the deletion of tags.
//!
//! While a tag with an acknowledged value is being moved, it is judged by `tag-old-or-new` alone. What counts is the
//! manifest that the tag **resolves to**: whether that one can be read is for its own judges.

use super::contents::Contents;
use super::oracle::TagExpect;
use super::read::{self, Object, Seen};
use super::{Invariant, Observation, short};
use crate::fs::Fs;
use crate::oci::{Name, Reference, Tag};
use crate::registry::Registry;

/// Judges a tag against what is expected of it.
///
/// A tag that must be there is also read by its name, as a client does.
pub async fn judge<F: Fs>(
    registry: &Registry<F>,
    contents: &Contents,
    repo: &Name,
    tag: &Tag,
    expect: &TagExpect,
) -> Vec<Observation> {
    let object = Object::Tag(repo.clone(), tag.clone());
    let resolved = match read::see(registry, contents, &object).await {
        Seen::Right(digest) => Ok(digest),
        Seen::Wrong(why) | Seen::Refused(why) => Err(why),
    };
    let legal = resolved.as_ref().is_ok_and(|digest| expect.allowed.contains(&Some(*digest)));
    let found = match &resolved {
        Ok(digest) => format!("it points at {}", short(digest)),
        Err(why) => why.clone(),
    };
    if expect.moving {
        let wanted: Vec<_> = expect.allowed.iter().flatten().map(short).collect();
        let broken = (!legal).then(|| format!("{object} is neither old nor new ({}): {found}", wanted.join(", ")));
        return vec![Observation::judged(Invariant::TagOldOrNew, broken)];
    }
    if !expect.allowed.contains(&None) {
        let mut lost = (!legal).then(|| format!("{object} was acknowledged, but {found}"));
        let mut observations = Vec::new();
        if let (None, Ok(digest)) = (&lost, &resolved) {
            let seen = match registry.get_manifest(repo, &Reference::Tag(tag.clone())).await {
                Ok(stored) => match contents.check(digest, &stored.bytes) {
                    Ok(()) => Seen::Right(*digest),
                    Err(how) => Seen::Wrong(how),
                },
                Err(e) => Seen::Refused(e.to_string()),
            };
            lost = seen.complaint().map(|how| format!("{object} was acknowledged, but {how}"));
            observations.extend(read::judge_bytes(&object, &seen));
        }
        observations.push(Observation::judged(Invariant::AckedSurvives, lost));
        return observations;
    }
    // It may be gone, or must be. A value that it may not have any more is one that was taken from it.
    let back = (resolved.is_ok() && !legal).then(|| format!("{object} is back: {found}"));
    let gone_for_good = expect.allowed.len() == 1;
    if back.is_some() || gone_for_good {
        return vec![Observation::judged(Invariant::DeletedStaysDeleted, back)];
    }
    Vec::new()
}
