//! The program as its users meet it: the built binary, its output and its exit codes.

mod bad_input;
mod concurrent;
mod layout;
mod simulate;

use std::process::{Command, Output};

use serde_json::Value;

/// A small exploration that finds something, and quickly.
const FINDS: [&str; 9] =
    ["explore", "--strategy", "distribution-2.8", "--model", "btrfs", "--workload", "push", "--budget", "400"];

/// Runs the program, with no terminal and no colours asked for.
fn pullplug<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
    command.args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs the program and checks its exit code; returns what it printed.
pub fn expect(args: &[&str], code: i32) -> String {
    let output = pullplug(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn two_processes_print_the_same_bytes() {
    // A model with more crash states than the budget, so that the sample is compared as well.
    let run = |seed: &str, extra: &[&str]| {
        let names = ["--strategies", "distribution-2.8,durable", "--models", "posix", "--workloads", "push"];
        let args = [&["compare"], &names[..], &["--budget", "400", "--seed", seed], extra].concat();
        let output = pullplug(&args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{}", text(&output.stderr));
        output.stdout
    };
    assert_eq!(run("7", &[]), run("7", &[]));
    let document = run("7", &["--json"]);
    assert_eq!(text(&document), text(&run("7", &["--json"])));
    assert!(text(&document).contains(r#""coverage": "sampled""#));
    assert_ne!(document, run("8", &["--json"]), "the seed matters");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = |threads: &str| {
        let args = [&FINDS[..], &["--json"]].concat();
        let output =
            Command::new(env!("CARGO_BIN_EXE_pullplug")).args(args).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        output.stdout
    };
    let alone = run("1");
    assert!(text(&alone).contains(r#""findings""#));
    for threads in ["2", "5"] {
        assert_eq!(text(&alone), text(&run(threads)), "{threads} threads");
    }
}

#[test]
fn without_a_command_it_compares() {
    let options = ["--strategies", "distribution-2.0", "--models", "xfs", "--workloads", "delete", "--budget", "50"];
    let bare = expect(&options, 0);
    assert_eq!(bare, expect(&[&["compare"], &options[..]].concat(), 0));
    assert!(bare.contains("xfs") && bare.contains("delete"), "{bare}");
    assert!(!bare.contains('\x1b'), "no colours where no terminal is");
}

#[test]
fn cells_are_covered_unless_a_sample_is_asked_for() {
    let names = ["--strategies", "durable", "--models", "journal", "--workloads", "delete", "--json"];
    let coverage = |extra: &[&str]| {
        let document: Value = serde_json::from_str(&expect(&[&names[..], extra].concat(), 0)).unwrap();
        document["cells"][0]["coverage"].as_str().unwrap().to_owned()
    };
    assert_eq!(coverage(&[]), "proved");
    assert_eq!(coverage(&["--prove", "--budget", "50"]), "proved");
    for sampled in [&["--sample"][..], &["--budget", "50"]] {
        assert_ne!(coverage(sampled), "proved", "{sampled:?}");
    }
    expect(&[&names[..], &["--prove", "--sample"]].concat(), 2);
}

#[test]
fn the_document_says_what_it_promises() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let file = path.to_str().unwrap();
    let args = ["--strategies", "distribution-2.8", "--models", "btrfs,xfs", "--workloads", "push", "--budget", "400"];
    let shown = expect(&[&args[..], &["--json", file]].concat(), 0);
    assert!(shown.contains("distribution-2.8"), "the text is still printed");
    let printed = expect(&[&args[..], &["--json"]].concat(), 0);
    assert_eq!(printed, expect(&[&args[..], &["--json", "--seed", "1"]].concat(), 0), "1 is the default seed");
    let document: Value = serde_json::from_str(&printed).unwrap();
    let written: Value = serde_json::from_slice(&layout::read(&path)).unwrap();
    assert_eq!(document, written);
    assert_eq!(document["version"], 1);
    let cells = document["cells"].as_array().unwrap();
    let models: Vec<&str> = cells.iter().map(|c| c["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["xfs", "btrfs"], "in the order of all models, whatever the order of the options");
    for cell in cells {
        assert_eq!(cell["strategy"], "distribution-2.8");
        assert_eq!(cell["workload"], "push");
        assert!(cell["crash_points"].as_u64().unwrap() > 100);
        assert!(cell["crash_states"].as_str().unwrap().parse::<u64>().unwrap() > 100);
        assert!(["exhaustive", "sampled"].contains(&cell["coverage"].as_str().unwrap()));
        assert!(cell["claimed_safe"].is_boolean());
        assert!(cell.get("seconds").is_none());
        let evaluated = cell["evaluated"].as_object().unwrap();
        assert_eq!(evaluated.len(), 11, "every invariant is listed");
        for (invariant, times) in cell["violations"].as_object().unwrap() {
            assert!(times.as_u64().unwrap() > 0);
            assert!(times.as_u64() <= evaluated[invariant].as_u64(), "{invariant}");
        }
    }
    let timed: Value = serde_json::from_str(&expect(&[&args[..], &["--json", "--timings"]].concat(), 0)).unwrap();
    assert!(timed["cells"][0]["seconds"].is_number());
}

#[test]
fn a_finding_is_saved_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let found = dir.path().join("found");
    let shown = expect(&[&FINDS[..], &["--save", found.to_str().unwrap()]].concat(), 1);
    let files = layout::list(&found);
    assert!(files.iter().any(|f| f == "distribution-2.8-btrfs-push-no-dangling-link.json"), "{files:?}");
    for file in &files {
        let replayed = expect(&["replay", found.join(file).to_str().unwrap()], 1);
        let invariant = file.trim_start_matches("distribution-2.8-btrfs-push-").trim_end_matches(".json");
        let verdict = replayed.split("Verdict").nth(1).unwrap();
        assert!(verdict.contains(&format!("  {invariant}: ")), "{file}: {verdict}");
    }
    let lines: Vec<&str> = shown.lines().filter_map(|l| l.trim().strip_prefix("replay    pullplug ")).collect();
    assert_eq!(lines.len(), files.len(), "every finding has its line");
    for line in lines {
        let replayed = expect(&line.split(' ').collect::<Vec<_>>(), 1);
        assert!(replayed.contains(">>>  the power fails"), "{replayed}");
    }
}

#[test]
fn a_replay_shows_what_was_lost_and_judges_anew() {
    let shown = expect(&FINDS, 1);
    let line = shown.lines().find(|l| l.contains("push/power-cut/no-dangling-link/")).unwrap();
    let spec = line.split(' ').next_back().unwrap();
    let replayed = expect(&["replay", spec], 1);
    for part in
        ["    1  -- begins: start upload 1", "mkdir docker", "<< lost", "steps not reached", "entries are the same"]
    {
        assert!(replayed.contains(part), "{part}: {replayed}");
    }
    // The same crash, had the disk lost nothing: everything is there, and nothing is broken.
    let (head, rest) = spec.split_once("/crash@").unwrap();
    let (stop, run) = rest.split_once("/run@").unwrap();
    let cut = stop.split(':').next().unwrap();
    let whole = expect(&["replay", &format!("{head}/crash@{cut}/run@{run}")], 0);
    assert!(whole.contains("no-dangling-link holds, looked at"), "{whole}");
    assert!(!whole.contains("<< lost"), "{whole}");
}

#[test]
fn operation_lists_are_in_the_recorded_form() {
    let list = expect(&["ops", "--strategy", "distribution-3.1", "--workload", "resume"], 0);
    assert!(list.starts_with("mkdir docker\nmkdir docker/registry\n"), "{list}");
    assert!(list.contains("/_uploads/upload-1/"), "{list}");
    let words: std::collections::BTreeSet<&str> = list.lines().map(|l| l.split(' ').next().unwrap()).collect();
    let known = ["fsync", "mkdir", "open-create", "rename", "rmdir", "truncate", "unlink", "write"];
    assert!(words.iter().all(|w| known.contains(w)), "{words:?}");
    let gc = expect(&["ops", "--strategy", "distribution-3.1", "--workload", "gc"], 0);
    assert!(!gc.contains("_uploads"), "what a workload needs beforehand is no part of it: {gc}");
}

#[test]
fn an_image_from_disk_is_pushed() {
    let image = layout::of_one_image();
    let dir = image.path().to_str().unwrap();
    let args = ["ops", "--strategy", "durable", "--workload", "push", "--image", dir];
    let list = expect(&args, 0);
    assert!(list.contains(&layout::digest_of_layer()), "{list}");
    let found = expect(&[&FINDS[..], &["--image", dir]].concat(), 1);
    let line = found.lines().find(|l| l.contains("/no-dangling-link/")).unwrap();
    let words: Vec<&str> = line.trim().split(' ').skip_while(|w| *w != "pullplug").skip(1).collect();
    assert_eq!(words[..3], ["replay", "--image", dir]);
    expect(&words, 1);
    let lost = pullplug(&["replay", words[3]]);
    assert_eq!(lost.status.code(), Some(2), "without its image it is another schedule");
    assert!(text(&lost.stderr).contains("--image"), "{}", text(&lost.stderr));
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["-h"], &["--version"], &["help", "explore"], &["replay", "--help"]] {
        let output = pullplug(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}
