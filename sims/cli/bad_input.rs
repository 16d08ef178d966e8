//! Bad usage and bad input: one clear message each, nothing on the standard output, and exit code 2.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{layout, pullplug, text};

/// Runs the program and returns what it said, which must be an error of the user's.
fn refused(args: &[&str]) -> String {
    let output = pullplug(args);
    let said = text(&output.stderr).to_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert_eq!(said.matches("error:").count(), 1, "{args:?}: {said}");
    assert!(!said.contains("panicked") && !said.contains("bug"), "{args:?}: {said}");
    said
}

fn must_say(args: &[&str], words: &[&str]) {
    let said = refused(args).to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "{args:?} does not say {word:?}: {said}");
    }
}

#[test]
fn unknown_names_list_the_known_ones() {
    let strategies = ["distribution-2.0", "distribution-2.8", "distribution-3.1", "durable"];
    let models =
        ["journal", "ext4-ordered", "ext4-ordered-weak", "ext4-writeback", "xfs", "btrfs", "posix-split-rename"];
    let workloads = ["push", "retag", "delete", "gc", "resume"];
    for (option, known) in [("--strategies", &strategies[..]), ("--models", &models), ("--workloads", &workloads)] {
        must_say(&["compare", option, "no-such"], &[&["no-such"], known].concat());
        must_say(&[option, "no-such"], &[&["no-such"], known].concat());
    }
    must_say(&["explore", "--strategy", "zfs", "--model", "xfs", "--workload", "push"], &strategies);
    must_say(&["explore", "--strategy", "durable", "--model", "zfs", "--workload", "push"], &models);
    must_say(&["ops", "--strategy", "durable", "--workload", "pull"], &workloads);
    must_say(&["replay", "zfs/posix/push/power-cut/crash@1"], &strategies);
    must_say(&["replay", "durable/zfs/push/power-cut/crash@1"], &models);
    must_say(&["replay", "durable/posix/pull/power-cut/crash@1"], &workloads);
    must_say(&["replay", "durable/posix/push/flood/crash@1"], &["power-cut", "process-crash", "lying-disk"]);
    must_say(&["replay", "durable/posix/push/power-cut/no-lost-link/crash@1"], &["no-torn-link", "gc-reclaims"]);
}

#[test]
fn usage() {
    must_say(&["frobnicate"], &["frobnicate"]);
    must_say(&["--budget", "0"], &["--budget"]);
    must_say(&["--budget", "many"], &["--budget"]);
    must_say(&["--seed", "-1"], &["-1"]);
    must_say(&["--loss", "flood"], &["power-cut", "process-crash", "lying-disk"]);
    must_say(&["explore", "--strategy", "durable"], &["--model", "--workload"]);
    must_say(&["replay"], &["FILE|CRASH"]);
}

#[cfg(all(feature = "kernel", target_os = "linux"))]
#[test]
fn more_than_real_kernels_are_asked_for() {
    let repeats = |option| [(option, "0", "1..=1000000"), (option, "1000001", "1..=1000000")];
    let seconds = |option| [(option, "0", "1..=604800"), (option, "604801", "1..=604800")];
    let soundness = [repeats("--runs"), repeats("--images"), seconds("--seconds")];
    let registry = [repeats("--runs"), repeats("--crashes"), seconds("--start-s")];
    let disk = [seconds("--limit-s"), seconds("--patience-s")];
    let others = [
        ("registry", ("--clients", "17", "1..=16")),
        ("registry", ("--images", "13", "1..=12")),
        ("registry", ("--restart", "1000001", "0..=1000000")),
        ("soundness", ("--shrink", "1000001", "0..=1000000")),
    ];
    let of = |command| move |case| (command, case);
    let cases = soundness.into_iter().chain(disk).flatten().map(of("soundness"));
    let cases = cases.chain(registry.into_iter().chain(disk).flatten().map(of("registry")));
    for (command, (option, value, range)) in cases.chain(others) {
        must_say(&["kernel", command, &format!("{option}={value}")], &[option, value, range]);
    }
}

#[test]
fn images() {
    let say = |dir: &Path, words: &[&str]| {
        let dir = dir.to_str().unwrap();
        must_say(&["ops", "--strategy", "durable", "--workload", "push", "--image", dir], &[&[dir], words].concat());
        must_say(&["--image", dir], words);
    };
    let image = layout::of_one_image();
    layout::remove(image.path(), &layout::layer());
    say(image.path(), &[&layout::layer(), "is missing", &layout::manifest()]);

    let image = layout::of_one_image();
    layout::remove(image.path(), &layout::layer());
    layout::write(image.path(), &format!("{}/inside", layout::layer()), b"x");
    say(image.path(), &[&layout::layer(), "is a directory"]);

    let image = layout::of_one_image();
    layout::write(image.path(), &layout::layer(), &[0; 3000]);
    say(image.path(), &[&layout::layer(), "is damaged"]);

    let image = layout::of_one_image();
    let index = layout::read(&image.path().join("index.json"));
    layout::write(image.path(), "index.json", &index[..index.len() / 2]);
    say(image.path(), &["index.json"]);

    let image = layout::of_one_image();
    let outside = tempfile::tempdir().unwrap();
    layout::write(outside.path(), "layer", &layout::read(&image.path().join(layout::layer())));
    layout::remove(image.path(), &layout::layer());
    symlink(outside.path().join("layer"), image.path().join(layout::layer())).unwrap();
    say(image.path(), &[&layout::layer(), "symbolic link"]);

    let image = layout::of_one_image();
    layout::with_layer_of(image.path(), (64 << 20) + 1);
    say(image.path(), &[&layout::layer(), "67108865", "67108864"]);

    let empty = tempfile::tempdir().unwrap();
    say(empty.path(), &["oci-layout", "skopeo"]);
    say(Path::new("/no/such/image"), &["no such file or directory"]);
}

#[test]
fn replay_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crash.json");
    let path = path.to_str().unwrap();
    must_say(&["replay", path], &[path, "no such file"]);
    must_say(&["replay", dir.path().to_str().unwrap()], &["directory"]);
    let good = r#"{"version":1,"replay":"durable/posix/push/power-cut/crash@5","seed":"1"}"#;
    for (content, words) in [
        ("", &["no replay file"][..]),
        ("\u{0}\u{0}\u{0}\u{0}", &["no replay file"]),
        (&good[..good.len() - 9], &["not a whole one"]),
        ("[1]", &["no version"]),
        (&good.replace(":1,", ":2,"), &["version 2", "reads 1"]),
        (&good.replace("\"1\"", "\"one\""), &["seed", "one"]),
        (&good.replace("crash@5", "crash@five"), &["five"]),
        (&good.replace("crash@5", "crash@999999"), &["steps"]),
        (&good.replace("crash@5", "crash@5:123456"), &["123456", "not executed"]),
        (&good.replace("crash@5", "crash@5/run@00000000"), &["another schedule", "--seed"]),
    ] {
        layout::write(dir.path(), "crash.json", content.as_bytes());
        must_say(&["replay", path], words);
    }
    layout::write(dir.path(), "crash.json", good.as_bytes());
    assert_eq!(pullplug(&["replay", path]).status.code(), Some(0), "the good one is good");
}

#[test]
fn a_crash_that_the_model_does_not_allow_is_refused() {
    // The first directories are synced long before the end in every strategy that claims to be safe.
    let spec = "durable/journal/push/power-cut/crash@60:0";
    must_say(&["replay", spec], &["journal does not allow"]);
}

#[test]
fn outputs() {
    let small = ["--strategies", "distribution-2.0", "--models", "xfs", "--workloads", "delete", "--budget", "50"];
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    layout::write(dir.path(), "file", b"x");
    for (option, path, word) in [
        ("--json", at("no/such/report.json"), "no such file or directory"),
        ("--json", dir.path().to_str().unwrap().to_owned(), "is a directory"),
        ("--json", "/dev/full".to_owned(), "/dev/full"),
        ("--save", at("no/such/dir"), "no such file or directory"),
        ("--save", at("file"), "file"),
    ] {
        must_say(&[&small[..], &[option, &path]].concat(), &["cannot write", &path, word]);
    }
    for args in [&small[..], &["--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
        let output = command.args(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("standard output"), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
    command.args(["ops", "--strategy", "distribution-2.8", "--workload", "push"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}
