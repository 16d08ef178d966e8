//! `distribution-2.0`: no call of it ever makes anything durable.
//!
//! | operation | calls |
//! | --- | --- |
//! | put a small file | mkdir -p; open O_CREAT; write at 0; truncate to its length |
//! | start an upload | put `startedat`; no `data` before the first byte |
//! | append | open O_CREAT `data`; write at its end |
//! | commit | hash (again, unless one request brought everything); stat the blob, and if it exists do nothing, else mkdir -p and rename; put the layer link; remove the upload |
//! | failed commit, cancel | remove the upload |
//! | mount | put the layer link |
//! | manifest | put the blob if it is not there; put the revision link **if it is not there**; for a tag put the index link, then `current/link` |
//! | delete a manifest | unlink the revision link; remove each tag that points at it |
//! | collection | as 2.8: the version had none of its own |
//!
//! Promises: nothing after a power cut. After a crash of the process a link is whole, since its 71 bytes are one
//! write and are never truncated first; a moved tag holds the old or the new digest. An empty revision link (of a
//! power cut) is never written again. An acknowledged blob, link or tag may be gone or empty, and an empty blob
//! blocks every later push of it.

use super::driver::{Put, Syncs, WriterRules};
use super::version::Version;

pub(super) static V2_0: Version = Version {
    name: "distribution-2.0",
    put: Put::InPlace,
    writer: WriterRules { buffer_bytes: 0, opens_late: true, syncs: Syncs::Never },
    hash_states: false,
    cancels_data_first: false,
    relinks_revisions: false,
    manifests_among_layers: true,
    repository_mark: "_layers",
    deep_collection: false,
};
