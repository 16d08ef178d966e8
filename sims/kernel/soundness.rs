//! The models against what file systems leave: a share of the long runs, with the same scripts every time.

use super::result;

/// As many scripts as there is time for, so that a busy machine plays fewer of them.
#[track_caller]
fn assert_sound(fs: &str) {
    let Some((code, text)) = result(&["--fs", fs, "--runs", "30", "--seconds", "15", "--seed", "7"]) else { return };
    assert_eq!(code, 0, "{text}");
    println!("{text}");
}

#[test]
fn ext4_ordered_is_as_its_model_says() {
    assert_sound("ext4-ordered");
}

#[test]
fn ext4_writeback_is_as_its_model_says() {
    assert_sound("ext4-writeback");
}

#[test]
fn xfs_is_as_its_model_says() {
    assert_sound("xfs");
}

#[test]
fn btrfs_is_as_its_model_says() {
    assert_sound("btrfs");
}

#[test]
fn what_is_not_so_is_found() {
    // Images that have lost what was flushed are no crash states: the recorder and the judge both work.
    let Some((code, text)) = result(&["--fs", "ext4-ordered", "--runs", "12", "--seed", "3", "--json"]) else { return };
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0, "{text}");
    let (caught, controls) = (&seen[0]["caught"], &seen[0]["images"]["forgetful"]);
    assert!(caught.as_u64().unwrap() * 2 > controls.as_u64().unwrap(), "{caught} of {controls} controls showed a loss");
}

#[test]
fn what_was_measured_is_seen_again() {
    // What the models had to learn from real kernels.
    for (fs, script, state) in [
        ("ext4-ordered", "create a; append a 5000 A | truncate a 10; syncfs", "a=10×A+4086×0+904×A"),
        ("xfs", "create a; append a 5000 A | truncate a 600; syncfs", "a=600×A+3496×0+904×A"),
        ("ext4-ordered", "create a; append a 71 A; create b | append a 5000 B; fsync b", "a=71×A+4025×0 b=empty"),
        ("ext4-writeback", "create a; append a 500 A | unlink a; create c; append c 500 C; fsync c", "a=500×C"),
        ("btrfs", "create b | create c; fsync c; create x; rename x c; append b 1 B; fsync b", "b=1×B"),
        ("btrfs", "mkdir d; mkdir e; create d/a | rename d/a e/b; fsync e", "d/a=empty e/b=empty"),
        ("btrfs", "mkdir d | create d/b; mkdir e; mkdir e/d; fsync /", "d/ e/d/"),
        ("btrfs", "create c; create a | fsync a; rename c a; fsync a", "a=empty c=empty"),
    ] {
        let Some((code, text)) = result(&["--fs", fs, "--runs", "2", "--calls", script]) else { return };
        assert_eq!(code, 0, "{text}");
        let seen = |line: &str| line.starts_with("  seen ") && line.ends_with(&format!(" {state}"));
        assert!(text.lines().any(seen), "{fs}, {script}: {text}");
    }
}

#[test]
fn litmus_tests_are_played() {
    // As many as there is time for; each of these has a row, and an outcome that the kernel leaves.
    let args = ["--fs", "ext4-ordered", "--litmus", "--runs", "1", "--seconds", "6", "--seed", "7", "--json"];
    let Some((code, text)) = result(&args) else { return };
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0, "{text}");
    let rows = seen[0]["litmus"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.len() as u64 == seen[0]["runs"].as_u64().unwrap(), "{text}");
    let count = |row: &serde_json::Value, what: &str| row[what].as_array().unwrap().len();
    for row in rows {
        assert!(0 < count(row, "seen") && count(row, "seen") <= count(row, "allowed"), "{row}");
        assert_eq!(count(row, "forbidden"), 0, "{row}");
    }
}

#[test]
fn a_script_can_be_given() {
    let script = "create a; append a 71 A | write a 0 71 B; fsync a; rename a b";
    let Some((code, text)) = result(&["--fs", "ext4-ordered", "--runs", "1", "--calls", script]) else { return };
    assert_eq!(code, 0, "{text}");
    let Some((code, text)) = result(&["--fs", "ext4-ordered", "--calls", "rename a b"]) else { return };
    assert!(code != 0 && text.contains("rename a b fails"), "{code}: {text}");
}
