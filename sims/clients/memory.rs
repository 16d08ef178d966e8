//! Memory does not grow with what goes through the server.

use super::crowd::{Crowd, MAX_RESIDENT_BYTES, peak_resident_bytes};
use super::program::{Program, configure};

/// Together more than the server may have resident.
const BLOB_MEBIBYTES: u64 = 32;

#[test]
fn sixteen_large_pushes_and_pulls_at_once_stay_small() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::pullplug(&configure(dir.path()).1, "durable");
    let crowd = Crowd::new(BLOB_MEBIBYTES);
    crowd.push(server.address());
    crowd.pull(server.address());
    let peak = peak_resident_bytes(server.id());
    assert!(peak < MAX_RESIDENT_BYTES, "{} MiB were resident", peak >> 20);
}
