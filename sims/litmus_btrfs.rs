//! Litmus tests of the model that is not an order: `btrfs`, a prefix and a log.
//!
//! The tables show the union over all points at which the last commit may have been, which hides what the log does.
//! So some tests look at the one family in which nothing was committed since the set-up.

use std::collections::BTreeSet;

use pullplug::disk::crash::{Loss, families};
use pullplug::disk::effect::Cut;
use pullplug::disk::model::Btrfs;

use crate::script::{Player, shown, states_of};

/// What may be there at the end of `script` if nothing was committed since `setup`: that, and the log.
pub fn without_commit(setup: &str, script: &str) -> BTreeSet<String> {
    let mut player = Player::after(setup);
    player.run(script);
    let space = player.space(&Btrfs);
    // The families are in the order of their commit points.
    let family = &families(&space, &Btrfs, Loss::PowerCut, Cut::after(space.records().len()))[0];
    states_of(&space, family).iter().map(|bits| shown(&space.view(bits).tree())).collect()
}

#[track_caller]
fn assert_without_commit(setup: &str, script: &str, state: &str) {
    assert_eq!(without_commit(setup, script), [state.to_owned()].into(), "{script}");
}

#[test]
fn the_log_takes_a_rename_if_inode_or_old_directory_was_logged() {
    let setup = "mkdir u; mkdir b; create u/data; create x";
    let rename = "rename u/data b/data; create b/link; fsync b/link";
    for (logged, state) in [
        ("", "b/link=empty u/data=empty x=empty"),
        ("append u/data 9 A; fsync u/data; ", "b/data=9×A b/link=empty u/ x=empty"),
        ("create u/y; fsync u; ", "b/data=empty b/link=empty u/y=empty x=empty"),
        ("create u/y; fsync u/y; ", "b/link=empty u/data=empty u/y=empty x=empty"),
        ("append x 9 X; fsync x; ", "b/link=empty u/data=empty x=9×X"),
        // The new directory does not count.
        ("create b/y; fsync b; ", "b/link=empty b/y=empty u/data=empty x=empty"),
    ] {
        assert_without_commit(setup, &format!("{logged}{rename}"), state);
    }
}

#[test]
fn the_log_takes_an_unlink_by_the_same_rule() {
    let setup = "mkdir u; create u/data; create x";
    for (logged, state) in [
        ("", "u/data=empty x=1×X"),
        ("append u/data 9 A; fsync u/data; ", "u/ x=1×X"),
        ("create u/y; fsync u; ", "u/y=empty x=1×X"),
    ] {
        assert_without_commit(setup, &format!("{logged}unlink u/data; append x 1 X; fsync x"), state);
    }
}

#[test]
fn what_waits_in_the_log_is_durable_at_the_next_log_sync() {
    let setup = "create a; create b";
    let waits = "append a 71 A; fsync a; rename a c";
    assert_without_commit(setup, waits, "a=71×A b=empty");
    // An fsync of an inode with nothing new since the commit logs nothing; so does one of what is in the log already.
    assert_without_commit(setup, &format!("{waits}; fsync b"), "a=71×A b=empty");
    assert_without_commit(setup, &format!("append b 1 B; fsync b; {waits}; fsync b"), "a=71×A b=1×B");
    assert_without_commit(setup, &format!("{waits}; append b 1 B; fsync b"), "b=1×B c=71×A");
    assert_without_commit(setup, &format!("{waits}; fsync c"), "b=empty c=71×A");
    assert_without_commit(setup, &format!("{waits}; syncfs"), "b=empty c=71×A");
}

#[test]
fn the_log_takes_new_ancestors_and_no_others() {
    let fsync = "create d/e/a; append d/e/a 71 A; fsync d/e/a";
    assert_without_commit("", &format!("mkdir d; mkdir d/e; mkdir x; {fsync}"), "d/e/a=71×A");
    assert_without_commit("mkdir d; mkdir f", &format!("rename f d/e; {fsync}"), "d/ f/a=71×A");
    // A new directory comes by the name that it has now.
    assert_without_commit("mkdir d", &format!("mkdir d/x; rename d/x d/e; {fsync}"), "d/e/a=71×A");
}
