//! Clients and registries that we did not write: `oci-client`, skopeo, Debian's docker-registry; and the system calls
//! of the server as strace sees them.
//!
//! A program that is not installed is said to be missing on the standard error; with `CI=true` that is a failure.

mod crowd;
mod drop_in;
mod memory;
mod oci;
pub mod program;
mod skopeo;
pub mod traced;
pub mod wire;

use std::io::Write;

/// The strategies whose directory any registry must be able to read.
const STRATEGIES: [&str; 2] = ["durable", "distribution-2.8"];

/// Whether a test must do without `program`, which it then says visibly.
#[expect(clippy::disallowed_methods, reason = "whether this is a run in which nothing may be skipped")]
pub fn lacks(program: &str) -> bool {
    if program::is_installed(program) {
        return false;
    }
    let skipped = format!("SKIPPED: {program} is not installed (apt-get install {program})");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{skipped}");
    // Past the capture of the test's output.
    writeln!(std::io::stderr(), "{skipped}").unwrap();
    true
}
