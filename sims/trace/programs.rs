//! Programs that nobody adapted, recorded here and now: Debian's docker-registry, and a shell.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use pullplug::disk::model;
use serde_json::Value;

use crate::clients::lacks;
use crate::clients::program::{Program, configure};
use crate::clients::traced::{assert_recorded, push, read};
use crate::clients::wire::Wire;

/// How long strace may take to write its last line.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);
/// The calls of interest: all that may change files, and what gives descriptors and sockets their meaning. A recording of
/// everything says the same and is longer.
const CALLS: &str = "--trace=file,desc,network,process,sync";

/// `strace`, as the help has it.
fn strace(log: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-xx", "-s", "1048576", CALLS, "-o"]).arg(log);
    strace
}

fn pullplug(log: &Path, root: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
    command.arg("trace").arg(log).arg("--root").arg(root).args(more).output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

/// A push to a registry, which `program` serves: the recording, and the directory.
fn record_push(dir: &Path, program: &str, more: &[&str]) -> (PathBuf, PathBuf) {
    let (root, config) = configure(&dir.canonicalize().unwrap());
    let log = dir.join("registry.strace");
    // The tracer is no parent of it: whoever ends the child ends the server.
    let server = Program::start(strace(&log).args(["-D", program, "serve"]).arg(config).args(more));
    push(&mut Wire::connect(server.address()));
    let ended = format!("{} ", server.id());
    server.stop();
    let mut waited = Duration::ZERO;
    while !read(&log).lines().any(|line| line.starts_with(&ended) && line.contains("+++ ")) {
        assert!(waited < PATIENCE, "strace comes to no end");
        std::thread::sleep(STEP);
        waited += STEP;
    }
    (log, root)
}

#[test]
fn docker_registry_makes_the_calls_of_its_strategy_and_breaks_what_that_breaks() {
    if lacks("strace") || lacks("docker-registry") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, root) = record_push(dir.path(), "docker-registry", &[]);
    let ops = pullplug(&log, &root, &["--ops"]);
    assert_eq!((ops.status.code(), text(&ops.stderr)), (Some(0), String::new()));
    let made: Vec<String> = text(&ops.stdout).lines().map(str::to_owned).collect();
    assert_recorded(&made, include_str!("../../snapshots/traces/distribution-2.8.2-push.ops"), "docker-registry");

    let seen = pullplug(&log, &root, &["--budget", "500", "--json"]);
    assert_eq!((seen.status.code(), text(&seen.stderr)), (Some(1), String::new()));
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!((&seen["trace"]["acknowledged"], &seen["trace"]["not_replayed"]), (&5.into(), &serde_json::json!([])));
    let broken = |model: &str, invariant: &str| {
        let cells = seen["cells"].as_array().unwrap();
        let cell = cells.iter().find(|cell| cell["model"] == model).unwrap();
        cell["violations"].get(invariant).is_some()
    };
    for model in model::ALL.map(|model| model.name()) {
        assert!(broken(model, "no-torn-link"), "{model}: a link is created, truncated and only then written");
        // The rename of a blob is not synced: where renames may be late, links come first.
        let late = ["ext4-ordered-weak", "btrfs", "posix", "posix-split-rename"].contains(&model);
        assert_eq!(broken(model, "no-dangling-link"), late, "{model}");
        assert_eq!(broken(model, "acked-survives"), late && model != "ext4-ordered-weak", "{model}");
    }

    // A crash, shown again.
    let btrfs = pullplug(&log, &root, &["--model", "btrfs", "--prove", "--json"]);
    let proof: Value = serde_json::from_slice(&btrfs.stdout).unwrap();
    let findings = proof["cells"][0]["findings"].as_array().unwrap();
    let dangling = findings.iter().find(|finding| finding["invariant"] == "no-dangling-link").unwrap();
    let again = pullplug(&log, &root, &["--crash", dangling["spec"].as_str().unwrap()]);
    let story = text(&again.stdout);
    assert_eq!(again.status.code(), Some(1), "{story}");
    assert!(story.contains("-- begins: put blob sha256:") && story.contains("the link dangles"), "{story}");
    let (crash, _) = dangling["spec"].as_str().unwrap().split_once("/run@").unwrap();
    let other = pullplug(&log, &root, &["--crash", &format!("{crash}/run@00000001")]);
    assert_eq!(other.status.code(), Some(2), "it was found on another run");
}

#[test]
fn nothing_is_found_of_a_registry_that_syncs_what_it_acknowledges() {
    if lacks("strace") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, root) = record_push(dir.path(), env!("CARGO_BIN_EXE_pullplug"), &["--strategy", "durable"]);
    let seen = pullplug(&log, &root, &["--layout", "durable", "--prove", "--json"]);
    assert_eq!((seen.status.code(), text(&seen.stderr)), (Some(0), String::new()));
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen["trace"]["acknowledged"], 5);
    for cell in seen["cells"].as_array().unwrap() {
        let looked = |invariant: &str| cell["evaluated"][invariant].as_u64().unwrap() > 0;
        assert!(looked("acked-survives") && looked("no-dangling-link") && looked("manifest-closure"), "{cell}");
        assert_eq!(cell["coverage"], "proved", "{cell}");
    }
}

#[test]
fn a_program_that_is_no_registry_is_not_judged_and_says_so() {
    if lacks("strace") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (log, root) = (dir.path().join("sh.strace"), dir.path().join("root"));
    let script = "mkdir root; cd root; echo x > f.tmp; mv f.tmp f; echo y >> f; (cd ..; echo z > root/g; sync)";
    let status = strace(&log).args(["sh", "-c", script]).current_dir(dir.path()).status().unwrap();
    assert!(status.success());
    let ops = pullplug(&log, &root, &["--ops"]);
    let expected = "open-create f.tmp\nwrite f.tmp 2\nrename f.tmp -> f\nopen-create f\nwrite f 2\nopen-create g\n\
                    write g 2\nsyncfs\n";
    assert_eq!((ops.status.code(), text(&ops.stdout)), (Some(0), expected.to_owned()));
    let seen = pullplug(&log, &root, &["--budget", "100"]);
    let said = text(&seen.stdout);
    assert_eq!(seen.status.code(), Some(0), "{said}");
    assert!(
        said.contains("No content was acknowledged") && said.contains("\nbtrfs  ") && !said.contains("breaks"),
        "{said}"
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "traces for the program to read")]
fn what_cannot_be_used_is_said_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("x.strace");
    let run = |trace: &str, more: &[&str]| {
        std::fs::write(&log, trace).unwrap();
        let output = pullplug(&log, Path::new("/no/such/dir"), more);
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let made = "7 mkdir(\"/no/such/dir/a\", 0777) = 0\n";
    assert_eq!(run(made, &["--ops"]), (0, "mkdir a\n".to_owned(), String::new()));
    let (code, _, said) = run("nothing", &[]);
    assert!(code == 2 && said.contains("line 1: \"nothing\" is no line of strace's output"), "{said}");
    let (code, _, said) = run("7 mkdir(\"/elsewhere\", 0777) = 0\n", &[]);
    assert!(code == 2 && said.contains("changes /no/such/dir") && said.contains("help:"), "{said}");
    let gap = format!("{made}7 symlink(\"x\", \"/no/such/dir/b\") = 0\n");
    let (code, said, _) = run(&gap, &["--budget", "10"]);
    assert!(code == 2 && said.contains("not replayed  symlink, 1 time, first in line 2: "), "{said}");
    let (code, _, said) = run(&gap, &["--ops"]);
    assert!(code == 2 && said.contains("warning: not replayed: symlink"), "{said}");

    // What was there before is read from a copy.
    let base = dir.path().join("base");
    std::fs::create_dir_all(base.join("old")).unwrap();
    std::fs::write(base.join("old/f"), "text").unwrap();
    let trace = "7 rename(\"/no/such/dir/old/f\", \"/no/such/dir/f\") = 0\n";
    let (code, _, said) = run(trace, &["--ops"]);
    assert!(code == 2 && said.contains("line 1: rename") && said.contains("--base DIR"), "{said}");
    let (code, ops, _) = run(trace, &["--ops", "--base", base.to_str().unwrap()]);
    assert_eq!((code, &*ops), (0, "rename old/f -> f\n"));
    std::fs::remove_file(&log).unwrap();
    assert_eq!(pullplug(&log, &base, &[]).status.code(), Some(2));
}
