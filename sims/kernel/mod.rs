//! Real kernels: what the models say of them, and that a recorded disk leaves nothing behind, however it ends.
//!
//! Everything runs in `pullplug kernel`, a process of its own that is killed when it takes too long. Where the machine
//! cannot do it (no root, no FUSE, no mkfs) that is said on the standard error; with `CI=true` it is a failure. One thing
//! is not: that the disk hung and was aborted. It says nothing about the models, so it is told, loudly.

mod registry;
mod release;
mod soundness;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Exit codes of `pullplug kernel`.
const UNAVAILABLE: i32 = 69;
const NO_VERDICT: i32 = 75;

/// `pullplug kernel soundness` with a work directory.
fn start(work: &Path, args: &[&str]) -> Child {
    start_as("soundness", work, args)
}

/// A command of `pullplug kernel` with a work directory.
fn start_as(name: &str, work: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
    command.args(["kernel", name, "--work"]).arg(work).args(args);
    // Nobody reads before the end: what is said must fit into a pipe, and does.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for its end; after `patience` it is killed.
fn end(mut child: Child, patience: Duration) -> Output {
    let ticks = patience.as_millis() / 20;
    for _ in 0..ticks {
        if child.try_wait().unwrap().is_some() {
            return child.wait_with_output().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it did not come to its end in {patience:?}: {:?}", child.wait_with_output());
}

/// Waits until something is so; whether it came to that before the child ended.
fn reaches(child: &mut Child, is_so: impl Fn() -> bool) -> bool {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if is_so() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not come to it in {PATIENCE:?}");
}

/// What it says to people, of both kinds.
fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether the machine could do it at all.
#[expect(clippy::disallowed_methods, reason = "CI says that nothing may be missing")]
fn could(output: &Output) -> bool {
    if output.status.code() != Some(UNAVAILABLE) {
        return true;
    }
    let skipped = format!("SKIPPED: {}", words(output));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{skipped}");
    aloud(&skipped);
    false
}

/// Past the capture of the test's output.
fn aloud(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// Runs it to its result; `None` where there can be none.
fn result(args: &[&str]) -> Option<(i32, String)> {
    let work = tempfile::tempdir().unwrap();
    let output = end(start(work.path(), args), PATIENCE);
    if !could(&output) {
        return None;
    }
    let code = output.status.code().unwrap_or(-1);
    if code == NO_VERDICT {
        aloud(&format!("NO VERDICT, the recorded disk was given up: {args:?}: {}", words(&output)));
        return None;
    }
    Some((code, words(&output)))
}
