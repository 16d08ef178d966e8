//! `distribution-2.8`: every file is synced, no directory ever is.
//!
//! | operation | calls |
//! | --- | --- |
//! | put a small file | mkdir -p; open O_CREAT; **truncate to 0**; write; fsync; fsync |
//! | start an upload | put `startedat`; open O_CREAT and truncate `data`; put `hashstates/sha256/0`; fsync `data` |
//! | append | open O_CREAT `data`; write at its end; put the hash state; write what is left in a buffer of 4 KiB; fsync `data`; put the hash state again |
//! | ask for the offset | open O_CREAT `data`; put hash state 0; fsync `data`; put hash state 0 again |
//! | commit | write as above; fsync `data`; put the hash state; fsync `data`; read nothing if a hash state stands at the length of `data`, else hash it; stat the blob, and if it exists do nothing, else mkdir -p and rename; put the layer link (and one for the digest that was asked for, if it is another); remove the upload |
//! | failed commit | put the hash state again; the upload stays |
//! | cancel | unlink `data`; put hash state 0; remove the upload; put hash state 0 again, which leaves a directory without `startedat` that no purge removes |
//! | mount | put the layer link; under the digest that was asked for, which for another algorithm points at nothing |
//! | manifest | put the blob if it is not there; put the revision link; for a tag put the index link, then `current/link` |
//! | delete a manifest | unlink the revision link (and a layer link of the same digest); then remove each tag that points at it |
//! | collection | mark what the revisions reference, not through indexes; remove the revisions of untagged manifests (with their entries in tags), then the blobs that are not marked; layer links stay |
//!
//! What `close` runs into is told to nobody: a chunk whose hash state or whose last sync failed is acknowledged.
//!
//! Promises: a file that was put and whose name survives has its content. The name may be lost; a power cut, a full
//! disk or a killed process between the truncation and the end leaves an empty file (a tag then loses its **old**
//! value), which as a link answers every read with an error and stops the collection.

use super::driver::{Put, Syncs, WriterRules};
use super::version::Version;

pub(super) static V2_8: Version = Version {
    name: "distribution-2.8",
    put: Put::Truncate,
    writer: WriterRules { buffer_bytes: 4096, opens_late: false, syncs: Syncs::AtCommitAndClose },
    hash_states: true,
    cancels_data_first: true,
    relinks_revisions: true,
    manifests_among_layers: true,
    repository_mark: "_layers",
    deep_collection: false,
};
