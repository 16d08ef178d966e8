//! `pullplug simulate`, and the replay of what it saved.

use super::{expect, pullplug, text};

#[test]
fn what_is_found_is_saved_small_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let save = dir.path().join("found");
    let args = ["simulate", "--strategy", "distribution-2.8", "--model", "posix", "--runs", "3", "--steps", "20"];
    let args = [&args[..], &["--save", save.to_str().unwrap()]].concat();
    let found = expect(&args, 1);
    assert!(found.contains("acked-survives") && found.contains("broken in"), "{found}");
    let replay = found.lines().find_map(|line| line.trim().strip_prefix("pullplug replay ")).unwrap();
    let shown = expect(&["replay", replay], 1);
    for part in ["client 0", "disk", "the power fails", "Verdict", "fsync"] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    let spoilt = dir.path().join("spoilt.json");
    let good = text(&pullplug(&["replay", replay]).stdout).to_owned();
    assert_eq!(good, shown, "a replay is the same every time");
    let run = pullplug::fs::real::RealFs::open_root(&save).unwrap();
    let name = replay.rsplit('/').next().unwrap();
    let file = pullplug::env::run_now(pullplug::fs::FsExt::read(&run, name, 1 << 20)).unwrap();
    let write = |text: String| {
        let root = pullplug::fs::real::RealFs::open_root(dir.path()).unwrap();
        pullplug::env::run_now(async {
            use pullplug::fs::{File, FileExt, Fs, OpenMode};
            let file = root.open("spoilt.json", OpenMode::Create).await.unwrap();
            file.set_len(0).await.unwrap();
            file.write_full(0, text.into()).await.unwrap();
        });
        let output = pullplug(&["replay", spoilt.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        self::text(&output.stderr).to_owned()
    };
    let file = text(&file).to_owned();
    assert!(write(file.replace("\"version\": 1", "\"version\": 9")).contains("it has version 9"));
    assert!(write(file.replace("\"seed\": \"", "\"seed\": \"x")).contains("is no number"));
    assert!(write(file.replace("\"images\": [", "\"images\": [[77],")).contains("names blob 77"));
}

#[test]
fn durable_is_clean_and_says_what_it_did() {
    let args = ["simulate", "--runs", "4", "--steps", "15", "--seed", "7", "--json"];
    let document: serde_json::Value = serde_json::from_str(&expect(&args, 0)).unwrap();
    assert_eq!(document["runs"], 4);
    assert!(document["counts"]["operations"].as_u64().unwrap() > 10, "{document}");
    assert_eq!(document["findings"].as_array().unwrap().len(), 0);
    // What is out of bounds is refused, never cut down unseen.
    for (option, value) in [("--seed", "seven"), ("--clients", "9"), ("--clients", "0"), ("--steps", "10001")] {
        let output = pullplug(&["simulate", option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        assert!(text(&output.stderr).contains(value), "{}", text(&output.stderr));
    }
}
