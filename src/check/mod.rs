//! The oracles: what must hold on a disk after a crash, and the judges that say whether it does.
//!
//! Everything here is blind to how a crash came about: a judge sees a file system (any [`crate::fs::Fs`]), the
//! registry that was booted on it, and what the [`oracle`] expects. It knows no disk model, no workload and no
//! schedule. An [`Observation`] is made whenever an invariant **looked at something**, whether it holds or not, so
//! that one that never ran can be told from one that was never broken.
//!
//! * [`oracle`]: the reference model with three values (acknowledged, running, everything else);
//! * [`register`]: which values a tag may have after operations that overlapped;
//! * [`contents`]: the bytes that the judges know;
//! * one file per invariant, or per family of them: [`link`], [`read`], [`tag`], [`closure`], [`upload`],
//!   [`collection`], [`recovery`].

pub mod closure;
pub mod collection;
pub mod contents;
pub mod link;
pub mod oracle;
pub mod read;
pub mod recovery;
pub mod register;
pub mod tag;
pub mod upload;

use std::fmt;

use crate::oci::Digest;

/// A rule that a registry's storage must keep. The names are those that reports and options use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No link is empty, garbage, or names a digest whose content does not hash to the digest in its path.
    NoTornLink,
    /// No link points at missing, short or wrong bytes.
    NoDanglingLink,
    /// What was acknowledged is there, right, and can be read.
    AckedSurvives,
    /// A tag whose old value was acknowledged resolves, after a crash in its move, to the old or the new manifest:
    /// it is never empty, garbage or gone. Whether that manifest can be read is for other invariants.
    TagOldOrNew,
    /// Whatever a readable manifest references is readable through the same repository, blobs that were deleted on
    /// purpose aside.
    ManifestClosure,
    /// No read completes successfully with other bytes than were asked for.
    ReadsVerify,
    /// A collection takes nothing that a readable manifest reaches.
    GcKeepsReachable,
    /// What no manifest reaches goes, in the end, and a collection does not fail over what a crash left.
    GcReclaims,
    /// What was deleted, with the deletion acknowledged, does not come back.
    DeletedStaysDeleted,
    /// The offset that an unfinished upload reports is one that it can be resumed from: the rest of the bytes, sent
    /// from there, make the whole.
    UploadOffsetTrue,
    /// Recovery may be cut and run again, and takes nothing that had survived.
    RecoveryIdempotent,
}

impl Invariant {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 11] = [
        Self::NoTornLink,
        Self::NoDanglingLink,
        Self::AckedSurvives,
        Self::TagOldOrNew,
        Self::ManifestClosure,
        Self::ReadsVerify,
        Self::GcKeepsReachable,
        Self::GcReclaims,
        Self::DeletedStaysDeleted,
        Self::UploadOffsetTrue,
        Self::RecoveryIdempotent,
    ];

    /// The name in reports, options and [`crate::strategy::Strategy::claims`].
    pub fn name(self) -> &'static str {
        match self {
            Self::NoTornLink => "no-torn-link",
            Self::NoDanglingLink => "no-dangling-link",
            Self::AckedSurvives => "acked-survives",
            Self::TagOldOrNew => "tag-old-or-new",
            Self::ManifestClosure => "manifest-closure",
            Self::ReadsVerify => "reads-verify",
            Self::GcKeepsReachable => "gc-keeps-reachable",
            Self::GcReclaims => "gc-reclaims",
            Self::DeletedStaysDeleted => "deleted-stays-deleted",
            Self::UploadOffsetTrue => "upload-offset-true",
            Self::RecoveryIdempotent => "recovery-idempotent",
        }
    }

    /// The invariant called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.name() == name)
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant looked at something, and this is what it saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    /// Which one looked.
    pub invariant: Invariant,
    /// What is wrong, in one sentence that names the path, digest or tag; `None` where it holds.
    pub violation: Option<String>,
}

impl Observation {
    /// It holds.
    pub fn holds(invariant: Invariant) -> Self {
        Self { invariant, violation: None }
    }

    /// It is broken.
    pub fn broken(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, violation: Some(what.into()) }
    }

    /// It holds if there is nothing to complain of.
    pub fn judged(invariant: Invariant, violation: Option<String>) -> Self {
        Self { invariant, violation }
    }
}

/// A digest as sentences name it: enough of it to find it in a listing.
fn short(digest: &Digest) -> String {
    format!("{}:{}", digest.algorithm().name(), &digest.hex()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for invariant in Invariant::ALL {
            assert_eq!(Invariant::from_name(invariant.name()), Some(invariant));
        }
        assert_eq!(Invariant::from_name("no-such"), None);
    }
}
