//! Registries on real file systems: what was measured of an unmodified one is seen again, and ours loses nothing.

use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::release::children;
use super::{NO_VERDICT, PATIENCE, aloud, could, end, reaches, start_as, words};
use crate::clients::program::is_installed;

const DEBIAN: &str = "docker-registry serve {config}";

/// `pullplug kernel registry`, to its end: the exit code, what it printed, what it complained of. `None` where the machine
/// cannot do it, or what `program` names is not installed.
fn judge(program: &[&str], args: &[&str]) -> Option<(i32, Value, String)> {
    if program.contains(&DEBIAN) && !debian_is_there() {
        return None;
    }
    let work = tempfile::tempdir().unwrap();
    let output = end(start_as("registry", work.path(), &[program, args, &["--json"]].concat()), PATIENCE);
    assert_eq!(work.path().read_dir().unwrap().count(), 0, "the work directory is gone");
    let code = output.status.code().unwrap_or(-1);
    if code == NO_VERDICT {
        aloud(&format!("NO VERDICT, the recorded disk was given up: {program:?}: {}", words(&output)));
        return None;
    }
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (program.contains(&"no-such-program {config}") || could(&output)).then(|| (code, document, words(&output)))
}

#[expect(clippy::disallowed_methods, reason = "CI says that nothing may be missing")]
fn debian_is_there() -> bool {
    let there = is_installed("docker-registry");
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "docker-registry is missing");
    if !there {
        aloud("SKIPPED: docker-registry is not installed");
    }
    there
}

/// In how many images a rule was broken, and in how many it looked at something.
fn counts(document: &Value, rule: &str) -> (u64, u64) {
    let raw = &document["runs"][0]["raw"];
    (raw["broken"][rule].as_u64().unwrap_or(0), raw["looked"][rule].as_u64().unwrap_or(0))
}

#[test]
fn debians_registry_loses_layers_on_btrfs() {
    let saved = tempfile::tempdir().unwrap();
    let args = ["--fs", "btrfs", "--crashes", "60", "--restart=3", "--save", saved.path().to_str().unwrap()];
    let Some((code, seen, text)) = judge(&["--serve", DEBIAN], &args) else { return };
    assert_eq!(code, 1, "{text}");
    for rule in ["no-dangling-link", "acked-survives"] {
        let (broken, looked) = counts(&seen, rule);
        assert!(broken >= 3 && broken < looked, "{rule}: {broken} of {looked}: {text}");
    }
    let dangling = &seen["runs"][0]["raw"]["examples"]["no-dangling-link"]["detail"];
    assert!(dangling.as_str().unwrap().contains("/link: the link dangles: docker/registry/v2/blobs/"), "{dangling}");
    assert!(seen["runs"][0]["caught"].as_u64().unwrap() > 0, "the control broke nothing: {text}");
    // It mends what is pushed again, unless it was torn, which is rare here.
    let again = &seen["runs"][0]["again"];
    assert_eq!(again["looked"]["live-again"], 3, "{text}");
    assert!(again["broken"]["live-again"].as_u64().unwrap_or(0) < 3, "{text}");
    let image = saved.path().join("docker-registry-btrfs-no-dangling-link-1.img");
    let mut magic = [0; 8];
    std::fs::File::options().read(true).open(&image).unwrap().read_exact_at(&mut magic, 0x10040).unwrap();
    assert_eq!(&magic, b"_BHRfS_M", "a btrfs to be mounted");
}

#[test]
fn ours_loses_nothing_on_btrfs() {
    let args = ["--fs", "btrfs", "--crashes", "50", "--restart=3"];
    let Some((code, seen, text)) = judge(&["--strategies", "durable"], &args) else { return };
    assert_eq!(code, 0, "{text}");
    for rule in ["no-torn-link", "no-dangling-link", "acked-survives", "manifest-closure", "reads-verify"] {
        let (broken, looked) = counts(&seen, rule);
        assert!(broken == 0 && looked > 20, "{rule}: {broken} of {looked}");
    }
    let (run, again) = (&seen["runs"][0], &seen["runs"][0]["again"]);
    assert!(run["caught"].as_u64().unwrap() > 0, "the control broke nothing: {text}");
    assert_eq!((&again["images"], &again["looked"]["live-again"]), (&Value::from(3), &Value::from(3)), "{text}");
    assert_eq!(run["operations"][0], run["operations"][1], "all was acknowledged");
}

#[test]
fn a_protocol_that_is_not_safe_is_found() {
    // The same server, with links that are durable before what they point at.
    let args = ["--fs", "btrfs", "--crashes", "40"];
    let Some((code, seen, text)) = judge(&["--strategies", "distribution-2.8"], &args) else { return };
    assert_eq!(code, 1, "{text}");
    assert!(counts(&seen, "no-dangling-link").0 > 0 && counts(&seen, "acked-survives").0 > 0, "{text}");
}

#[test]
fn what_does_not_serve_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = env!("CARGO_BIN_EXE_pullplug");
    let other_port = format!("env P={{port}} {ours} serve --root {{root}} --addr {}", taken.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = format!("env R={{root}} {ours} serve --root {} --addr {{addr}}", dir.path().display());
    for (command, args, code, why) in [
        ("no-such-program {config}", &[][..], 69, "there is no program \"no-such-program\""),
        ("docker-registry serve", &[], 2, "it must be told where to keep images and where to listen"),
        ("sh -c 'echo sorry; exit 3' {config}", &[], 2, "it ended: exit status: 3; it said last:\nsorry"),
        ("sh -c 'exec sleep 100' {config}", &["--start-s", "1"], 2, "does not answer http://127.0.0.1:"),
        (&other_port, &[], 2, "in use"),
        (&elsewhere, &[], 2, "it acknowledged what it did not write into {root}"),
    ] {
        let args = [&["--fs", "ext4-ordered"], args].concat();
        let Some((ended, _, text)) = judge(&["--serve", command], &args) else { return };
        assert!(ended == code && text.contains(why), "{command}: {ended}: {text}");
    }
}

/// The processes with `mark` among their arguments, but for `pullplug` itself.
fn marked(mark: &str) -> Vec<String> {
    let all = Path::new("/proc").read_dir().unwrap().flatten();
    let args = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    args.filter(|args| args.contains(mark) && !args.contains("pullplug")).collect()
}

#[test]
fn whatever_it_started_goes_with_it() {
    // A daemon in a session of its own, which holds the file system; then an interrupt in the middle.
    let work = tempfile::tempdir().unwrap();
    let mark = format!("{}.25", 1_000_000 + std::process::id());
    let ours = env!("CARGO_BIN_EXE_pullplug");
    let serve = format!("sh -c 'cd {{root}}; setsid sleep {mark} & exec {ours} serve {{config}}'");
    let common = ["--fs", "ext4-ordered", "--serve", &serve];
    let output = end(start_as("registry", work.path(), &[&common[..], &["--crashes", "4"]].concat()), PATIENCE);
    if !could(&output) {
        return;
    }
    assert!(matches!(output.status.code(), Some(0 | 1)), "it has ended well: {}", words(&output));
    assert_eq!(marked(&mark), [] as [String; 0]);
    // In the middle of it the supervisor is interrupted, or the worker killed.
    for is_worker in [false, true] {
        let many = [&common[..], &["--runs", "100000", "--crashes", "1"]].concat();
        let mut child = start_as("registry", work.path(), &many);
        if !reaches(&mut child, || !marked(&mark).is_empty()) {
            panic!("nothing was started: {}", words(&child.wait_with_output().unwrap()));
        }
        let worker = || children(child.id()).into_iter().find(|(_, args)| args.contains("kernel work")).unwrap().0;
        let (pid, signal) = if is_worker { (worker(), Signal::KILL) } else { (child.id(), Signal::INT) };
        kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
        let output = end(child, Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(NO_VERDICT), "{}", words(&output));
        assert_eq!(marked(&mark), [] as [String; 0]);
        assert_eq!(work.path().read_dir().unwrap().count(), 0, "the work directory is gone");
    }
}
