//! The faults of a running disk: each fires by choice, does what it says, and is counted.

use bytes::Bytes;
use pullplug::disk::crash::{Loss, families, without_syncs};
use pullplug::disk::effect::Cut;
use pullplug::disk::fault::{FailedPages, FaultKind, FaultRates, Faults};
use pullplug::disk::model::ALL;
use pullplug::disk::space::Space;
use pullplug::disk::{SimFile, SimFs};
use pullplug::env::choice::Recorded;
use pullplug::env::run_now;
use pullplug::fs::{ErrorKind, File, FileExt, Fs, FsExt, OpenMode};

use crate::script::{Player, shown, states, states_of};

/// Faults that are chosen by `choices`, in the order of the calls that may meet one.
fn faults(rates: FaultRates, choices: &[u32]) -> Option<Faults> {
    Some(Faults::new(rates, Box::new(Recorded::new(choices.to_vec()))))
}

fn failing_syncs(failed_pages: FailedPages) -> FaultRates {
    FaultRates { sync_failure_one_in: 2, failed_pages, ..FaultRates::default() }
}

#[track_caller]
fn assert_fails(player: &mut Player, call: &str, kind: ErrorKind) {
    assert_eq!(player.call(call).map_err(|e| e.kind), Err(kind), "{call}");
}

fn file(player: &Player, path: &str) -> SimFile {
    run_now(player.fs.open(path, OpenMode::Write)).expect("the file is there")
}

#[test]
fn a_fault_fires_by_choice_only() {
    let all = FaultRates {
        read_error_one_in: 2,
        short_read_one_in: 2,
        write_error_one_in: 2,
        short_write_one_in: 2,
        sync_failure_one_in: 2,
        failed_pages: FailedPages::KeepNew,
    };
    for (rates, choices) in [(all, vec![0; 100]), (FaultRates::default(), vec![1; 100])] {
        let mut player = Player::after("create a; append a 71 A");
        player.fs.set_faults(faults(rates, &choices));
        player.run("append a 71 B; fsync a; fsync /; syncfs");
        assert_eq!(run_now(player.fs.read("a", 1000)).unwrap().len(), 142);
        assert!(FaultKind::ALL.iter().all(|kind| player.fs.fired(*kind) == 0));
    }
}

#[test]
fn a_lying_disk_loses_what_was_synced() {
    let mut player = Player::after("");
    player.run("mkdir d; create d/a; append d/a 71 A; fsync d/a; fsync d; fsync /");
    let (base, log) = player.fs.snapshot();
    for model in ALL {
        assert_eq!(player.outcomes(model), ["d/a=71×A".to_owned()].into(), "{}", model.name());
        let space = Space::new(base.clone(), without_syncs(&log).into(), model);
        let end = Cut::after(log.len());
        let lost = states(&space, model, end).iter().any(|bits| shown(&space.view(bits).tree()) == "nothing");
        assert!(lost, "{}", model.name());
        // A process crash takes nothing, whatever the disk told.
        let family = &families(&space, model, Loss::ProcessCrash, end)[0];
        assert_eq!(shown(&space.view(&states_of(&space, family)[0]).tree()), "d/a=71×A");
    }
}

#[test]
fn after_a_failed_fsync_the_next_succeeds_without_the_data() {
    for again in ["fsync a", "syncfs", "fsync a; syncfs"] {
        let mut player = Player::after("create a");
        player.fs.set_faults(faults(failing_syncs(FailedPages::KeepNew), &[1]));
        player.run("append a 71 A");
        assert_fails(&mut player, "fsync a", ErrorKind::Io);
        assert_eq!(player.fs.fired(FaultKind::SyncFailure), 1);
        player.run(again);
        assert_eq!(&run_now(player.fs.read("a", 100)).unwrap()[..], [b'A'; 71], "readable until the cache goes");
        for model in ALL {
            let outcomes = player.outcomes(model);
            assert!(outcomes.contains("a=empty"), "{} after {again}: {outcomes:?}", model.name());
            assert!(outcomes.contains("a=71×A"), "{}: it may have reached the disk", model.name());
        }
    }
}

#[test]
fn a_sync_before_the_failure_keeps_its_promise() {
    let mut player = Player::after("create a");
    player.fs.set_faults(faults(failing_syncs(FailedPages::KeepNew), &[0, 1]));
    player.run("append a 71 A; fsync a; append a 71 B");
    assert_fails(&mut player, "fsync a", ErrorKind::Io);
    player.run("fsync a");
    for model in ALL {
        let outcomes = player.outcomes(model);
        assert!(outcomes.contains("a=71×A"), "{}", model.name());
        assert!(outcomes.iter().all(|s| s.starts_with("a=71×A")), "{}: {outcomes:?}", model.name());
    }
}

#[test]
fn what_is_written_anew_after_a_failed_fsync_is_synced_by_the_next() {
    let mut player = Player::after("create a");
    player.fs.set_faults(faults(failing_syncs(FailedPages::KeepNew), &[1]));
    player.run("append a 71 A");
    assert_fails(&mut player, "fsync a", ErrorKind::Io);
    player.run("write a 0 71 B; fsync a");
    for model in ALL {
        assert_eq!(player.outcomes(model), ["a=71×B".to_owned()].into(), "{}", model.name());
    }
    // A later append does not heal what was lost before it: zeros or the bytes, under a length that is certain.
    let mut player = Player::after("create a");
    player.fs.set_faults(faults(failing_syncs(FailedPages::KeepNew), &[1]));
    player.run("append a 512 A");
    assert_fails(&mut player, "fsync a", ErrorKind::Io);
    player.run("append a 512 B; fsync a");
    for model in ALL {
        let outcomes = player.outcomes(model);
        assert!(outcomes.contains("a=512×0+512×B"), "{}: {outcomes:?}", model.name());
        assert!(outcomes.iter().all(|s| s.ends_with("512×B")), "{}: {outcomes:?}", model.name());
    }
}

#[test]
fn btrfs_reverts_the_pages_of_a_failed_fsync() {
    let mut player = Player::after("create a; append a 600 P");
    player.fs.set_faults(faults(failing_syncs(FailedPages::Revert), &[0, 1]));
    player.run("write a 0 71 A; fsync a; write a 512 200 B; truncate a 700");
    assert_fails(&mut player, "fsync a", ErrorKind::Io);
    let live = "a=71×A+529×P";
    assert_eq!(shown(&player.fs.tree()), live);
    let (base, log) = player.fs.snapshot();
    assert_eq!(shown(&SimFs::replayed(base, log).tree()), live, "a restarted process reads the same");
    player.run("fsync a");
    for model in ALL {
        assert_eq!(player.outcomes(model), [live.to_owned()].into(), "{}", model.name());
    }
}

#[test]
fn a_failed_sync_of_metadata_turns_the_disk_read_only() {
    for sync in ["fsync d", "fsync /", "syncfs"] {
        let mut player = Player::after("mkdir d; create a; append a 71 A");
        player.fs.set_faults(faults(failing_syncs(FailedPages::KeepNew), &[1]));
        player.run("open a; mkdir d/e");
        assert_fails(&mut player, sync, ErrorKind::Io);
        assert_eq!(player.fs.fired(FaultKind::SyncFailure), 1);
        let refused = "mkdir f; rmdir d/e; create b; rename a b; link a b; unlink a; open a; write a 0 9 B; truncate a 0; \
                       fsync d; fsync a; syncfs";
        refused.split("; ").for_each(|call| assert_fails(&mut player, call, ErrorKind::ReadOnly));
        assert_eq!(run_now(player.fs.read("a", 100)).unwrap().len(), 71);
        assert_eq!(shown(&player.fs.tree()), "a=71×A d/e/");
        for model in ALL {
            let expected = ["a=71×A d/".to_owned(), "a=71×A d/e/".to_owned()];
            assert_eq!(player.outcomes(model), expected.into(), "{}: nothing later forced it", model.name());
        }
    }
}

#[test]
fn a_read_fails_with_eio() {
    let player = Player::after("mkdir d; create a; append a 71 A");
    let rates = FaultRates { read_error_one_in: 3, ..FaultRates::default() };
    player.fs.set_faults(faults(rates, &[2, 0, 2, 1]));
    let a = file(&player, "a");
    assert_eq!(run_now(a.read_at(0, 71)).unwrap_err().kind, ErrorKind::Io);
    assert_eq!(run_now(a.read_at(0, 71)).unwrap().len(), 71);
    assert_eq!(run_now(player.fs.read_dir("d")).unwrap_err().kind, ErrorKind::Io);
    assert!(run_now(player.fs.read_dir("d")).unwrap().is_empty());
    assert_eq!(player.fs.fired(FaultKind::ReadError), 2);
}

#[test]
fn a_write_fails_with_eio_and_changes_nothing() {
    let mut player = Player::after("create a; append a 71 A");
    let rates = FaultRates { write_error_one_in: 2, ..FaultRates::default() };
    player.fs.set_faults(faults(rates, &[1, 0]));
    assert_fails(&mut player, "append a 71 B", ErrorKind::Io);
    assert_eq!(shown(&player.fs.tree()), "a=71×A");
    assert!(player.fs.snapshot().1.iter().all(|r| r.effects().is_empty()));
    player.run("append a 71 B");
    assert_eq!(shown(&player.fs.tree()), "a=71×A+71×B");
    assert_eq!(player.fs.fired(FaultKind::WriteError), 1);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing() {
    let mut player = Player::after("create a; create b; append b 512 B");
    player.fs.set_capacity(Some(2048));
    let a = file(&player, "a");
    let data = Bytes::from(vec![b'A'; 2000]);
    assert_eq!(run_now(a.write_at(100, data.clone())).unwrap(), 1436, "up to the end of the third sector");
    assert_eq!(run_now(a.write_at(1536, data.clone())).unwrap_err().kind, ErrorKind::NoSpace);
    assert_eq!(player.fs.fired(FaultKind::NoSpace), 2);
    // Sectors that are there can be overwritten, and names take no space.
    assert_eq!(run_now(a.write_at(0, data.slice(..1000))).unwrap(), 1000);
    player.run("mkdir d; unlink b");
    assert_eq!(run_now(a.write_at(1536, data.slice(..512))).unwrap(), 512, "what was freed is there again");
    assert_eq!(player.fs.fired(FaultKind::NoSpace), 2);
    player.fs.set_capacity(None);
    player.run("append a 4096 C");
}

#[test]
fn short_reads_and_writes_take_a_part() {
    let player = Player::after("create a");
    let rates = FaultRates { short_write_one_in: 2, short_read_one_in: 2, ..FaultRates::default() };
    // A write is short (choice 1) with 1 + 2 bytes, the next is whole.
    player.fs.set_faults(faults(rates, &[1, 2, 0]));
    let a = file(&player, "a");
    run_now(a.write_full(0, Bytes::from_static(b"abcdefgh"))).unwrap();
    assert_eq!(player.fs.fired(FaultKind::ShortWrite), 1);
    let calls: Vec<String> = player.fs.snapshot().1.iter().map(ToString::to_string).collect();
    assert_eq!(calls, ["write a 3", "write a 5"]);
    player.fs.set_faults(faults(rates, &[1, 0, 1, 5, 0]));
    assert_eq!(&run_now(a.read_at(0, 8)).unwrap()[..], b"a");
    assert_eq!(&run_now(a.read_full(0, 8)).unwrap()[..], b"abcdefgh");
    assert_eq!(player.fs.fired(FaultKind::ShortRead), 2);
    // One byte, or none, cannot be shortened, and no fault is counted for it.
    player.fs.set_faults(faults(rates, &[1, 1, 1]));
    run_now(a.write_full(8, Bytes::from_static(b"i"))).unwrap();
    assert_eq!(&run_now(a.read_full(8, 1)).unwrap()[..], b"i");
    assert!(run_now(a.read_full(9, 5)).unwrap().is_empty());
    assert_eq!(player.fs.fired(FaultKind::ShortWrite) + player.fs.fired(FaultKind::ShortRead), 0);
}

#[test]
fn bit_rot_changes_one_byte_for_good() {
    let player = Player::after("create a; append a 600 A");
    player.fs.corrupt("a", 512, b'A' ^ b'Z').unwrap();
    let rotten = "a=512×A+1×Z+87×A";
    assert_eq!(shown(&player.fs.tree()), rotten);
    for model in ALL {
        assert_eq!(player.outcomes(model), [rotten.to_owned()].into(), "{}", model.name());
    }
    for (path, offset, kind) in [("a", 600, ErrorKind::InvalidInput), ("b", 0, ErrorKind::NotFound)] {
        assert_eq!(player.fs.corrupt(path, offset, 1).unwrap_err().kind, kind);
    }
}

#[test]
fn a_misdirected_sector_lands_whole() {
    let player = Player::after("create a; append a 600 A; create b; append b 1024 B; create c; append c 71 C");
    player.fs.misdirect("a", 1, "b", 0).unwrap();
    assert_eq!(shown(&player.fs.tree()), "a=600×A b=88×A+424×0+512×B c=71×C");
    player.fs.misdirect("b", 1, "c", 0).unwrap();
    let wrong = "a=600×A b=88×A+424×0+512×B c=71×B";
    assert_eq!(shown(&player.fs.tree()), wrong);
    for model in ALL {
        assert_eq!(player.outcomes(model), [wrong.to_owned()].into(), "{}", model.name());
    }
    assert_eq!(player.fs.misdirect("a", 0, "c", 1).unwrap_err().kind, ErrorKind::InvalidInput);
}
