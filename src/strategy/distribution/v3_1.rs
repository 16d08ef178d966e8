//! `distribution-3.1`: small files are replaced by rename and their directory is synced; a blob's rename is not.
//!
//! | operation | calls |
//! | --- | --- |
//! | put a small file | mkdir -p; open O_CREAT `PATH.ID.tmp`; truncate to 0; write; fsync; rename to PATH; fsync its directory, **not** those above it |
//! | start, append, ask for the offset | as 2.8 |
//! | commit | write; fsync `data`; put the hash state; verify as 2.8; stat the blob, and if it exists do nothing, else mkdir -p and rename, **without a sync of either directory**; put the layer link; remove the upload |
//! | failed commit, cancel, mount | as 2.8 |
//! | manifest | as 2.8 |
//! | delete a manifest | unlink the revision link; then remove each tag that points at it |
//! | delete a tag | remove its directory |
//! | collection | mark what the revisions reference, through indexes as well; remove the revisions of manifests that are untagged and not marked, then the blobs that are not marked, then the layer links that were not marked when their repository was visited |
//!
//! A repository that has no manifests is not visited by the collection: its layer links stay and dangle. A crash
//! before the rename leaves `*.tmp`, which nobody collects.
//!
//! Promises: a small file is never torn, and stays where its directory already did. A blob's name, new directories
//! above a link and every deletion may be lost at a power cut, although they were acknowledged.

use super::driver::{Put, Syncs, WriterRules};
use super::version::Version;

pub(super) static V3_1: Version = Version {
    name: "distribution-3.1",
    put: Put::Replace,
    writer: WriterRules { buffer_bytes: 4096, opens_late: false, syncs: Syncs::Once },
    hash_states: true,
    cancels_data_first: true,
    relinks_revisions: true,
    manifests_among_layers: false,
    repository_mark: "_manifests",
    deep_collection: true,
};
