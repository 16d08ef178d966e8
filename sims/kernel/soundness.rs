//! The models against what file systems leave: a share of the long runs, with the same scripts every time.

use super::result;

#[track_caller]
fn assert_sound(args: &[&str]) {
    let Some((code, text)) = result(args) else { return };
    assert_eq!(code, 0, "{text}");
    println!("{text}");
}

#[test]
fn ext4_ordered_is_as_its_model_says() {
    assert_sound(&["--fs", "ext4-ordered", "--runs", "20", "--seed", "2"]);
}

#[test]
fn ext4_writeback_is_as_its_model_says() {
    assert_sound(&["--fs", "ext4-writeback", "--runs", "10", "--seed", "4"]);
}

#[test]
fn xfs_is_as_its_model_says() {
    assert_sound(&["--fs", "xfs", "--runs", "10", "--seed", "5"]);
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
fn a_script_can_be_given() {
    let script = "create a; append a 71 A | write a 0 71 B; fsync a; rename a b";
    let Some((code, text)) = result(&["--fs", "ext4-ordered", "--runs", "1", "--calls", script]) else { return };
    assert_eq!(code, 0, "{text}");
    let Some((code, text)) = result(&["--fs", "ext4-ordered", "--calls", "rename a b"]) else { return };
    assert!(code != 0 && text.contains("rename a b fails"), "{code}: {text}");
}
