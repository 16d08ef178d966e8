//! What tells distribution's versions apart, as plain data: everything else is one protocol.

use super::driver::{Put, WriterRules};

/// One version of the protocol.
#[derive(Debug)]
pub(super) struct Version {
    /// The name by which the strategy is picked.
    pub name: &'static str,
    /// How a small file gets its content.
    pub put: Put,
    /// How an upload's bytes are written.
    pub writer: WriterRules,
    /// Whether the state of an upload's hash is kept beside its `data`.
    pub hash_states: bool,
    /// Whether a cancelled session loses `data` first, and is left alone when that is closed already (so after most
    /// failed commits); else it goes as a whole.
    pub cancels_data_first: bool,
    /// Whether a revision's link is written again when there is one.
    pub relinks_revisions: bool,
    /// Whether a manifest may also be found by a layer link (2.1.0 had put manifests there).
    pub manifests_among_layers: bool,
    /// The directory by which the catalog and the collection know a repository.
    pub repository_mark: &'static str,
    /// Whether the collection goes into the children of an index, spares what is reached in this way even when it is
    /// untagged, and removes layer links.
    pub deep_collection: bool,
}
