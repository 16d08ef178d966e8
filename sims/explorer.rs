//! The explorer itself, on subjects that have nothing to do with registries, and its shortcuts held to plain
//! enumeration.

use std::collections::BTreeSet;

use bytes::Bytes;
use pullplug::disk::crash::{self, Loss};
use pullplug::disk::effect::{Cut, cuts};
use pullplug::disk::model::{self, Family, PersistenceModel};
use pullplug::disk::space::Space;
use pullplug::disk::{SimFs, effect};
use pullplug::env::choice::DepthFirst;
use pullplug::env::run_now;
use pullplug::explore::{Budget, Observation, Outcome, Run, Setting, Subject, explore, minimise, states};
use pullplug::fs::{FileExt, FileKind, Fs, FsExt, OpenMode, Result};

/// Replaces a configuration file, with or without the syncs that it takes.
struct ConfigWriter {
    sync_file: bool,
    sync_dir: bool,
}

const OLD: &[u8] = b"old old old";
const NEW: &[u8] = b"new and longer";

impl ConfigWriter {
    async fn write(&self, fs: &SimFs, text: &'static [u8]) -> Result<()> {
        let file = fs.open("etc/conf.tmp", OpenMode::Create).await?;
        file.write_full(0, Bytes::from_static(text)).await?;
        if self.sync_file {
            pullplug::fs::File::sync_all(&file).await?;
        }
        fs.rename("etc/conf.tmp", "etc/conf").await?;
        if self.sync_dir {
            fs.sync_dir("etc").await?;
        }
        Ok(())
    }
}

impl Subject for ConfigWriter {
    type Probe = usize;

    fn prepare(&self, disk: &SimFs) -> std::result::Result<(), String> {
        run_now(async {
            disk.mkdir("etc").await?;
            self.write(disk, OLD).await
        })
        .map_err(|e| e.to_string())
    }

    fn run(&self, disk: &SimFs) -> std::result::Result<(), String> {
        run_now(self.write(disk, NEW)).map_err(|e| e.to_string())?;
        disk.mark(0);
        Ok(())
    }

    fn recover(&self, disk: &SimFs) -> std::result::Result<(), String> {
        // Litter goes; that must not hurt either.
        let _ = run_now(disk.unlink("etc/conf.tmp"));
        Ok(())
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> std::result::Result<(), String> {
        self.recover(disk)?;
        if marks == 0 { self.run(disk) } else { Ok(()) }
    }

    fn probes(&self, marks: usize, _: &[(String, FileKind)]) -> Vec<usize> {
        vec![marks]
    }

    fn evaluate(&self, marks: &usize, disk: &SimFs) -> Vec<Observation> {
        let _ = self.recover(disk);
        let found = run_now(disk.read("etc/conf", 1024));
        let good: &[&[u8]] = if *marks > 0 { &[NEW] } else { &[OLD, NEW] };
        let violation = match &found {
            Ok(text) if good.contains(&&text[..]) => None,
            Ok(text) => Some(format!("etc/conf holds {} bytes of something else", text.len())),
            Err(e) => Some(e.to_string()),
        };
        vec![Observation { invariant: "old-or-new", violation }]
    }
}

fn outcome(writer: &ConfigWriter, model: &dyn PersistenceModel, loss: Loss) -> Outcome<usize> {
    let run = Run::of(writer).unwrap();
    let budget = Budget { states: 100_000, recovery_states: 1000, restart_states: 2000 };
    explore(writer, &run, Setting { model, loss, seed: 1, budget })
}

#[test]
fn atomic_replace_needs_both_syncs() {
    for model in model::ALL {
        let name = model.name();
        let right = outcome(&ConfigWriter { sync_file: true, sync_dir: true }, model, Loss::PowerCut);
        let broken = right.violations.get("old-or-new").copied().unwrap_or(0);
        // A rename in pieces loses the replaced name, and with data=writeback the replaced file may hold anything until
        // the rename is durable: no protocol of one rename survives that.
        assert_eq!(broken > 0, ["posix-split-rename", "ext4-writeback"].contains(&name), "{name}: {right:?}");
        assert!(right.evaluated["old-or-new"] > 3 && right.crash_states > 1, "{name}: {right:?}");

        let no_file_sync = outcome(&ConfigWriter { sync_file: false, sync_dir: true }, model, Loss::PowerCut);
        let torn = no_file_sync.violations.contains_key("old-or-new");
        // Under `journal` the order alone protects; everywhere else the name may come before the bytes (ext4 flushes
        // the length of a replaced file, and still not its bytes; the fsync of the directory comes too late).
        assert_eq!(torn, name != "journal", "{name}: {no_file_sync:?}");

        let no_dir_sync = outcome(&ConfigWriter { sync_file: true, sync_dir: false }, model, Loss::PowerCut);
        assert!(no_dir_sync.violations.contains_key("old-or-new"), "{name}: an acknowledged text is lost");

        let crash = outcome(&ConfigWriter { sync_file: false, sync_dir: false }, model, Loss::ProcessCrash);
        assert!(crash.violations.is_empty(), "{name}: a process crash loses nothing");
        let lying = outcome(&ConfigWriter { sync_file: true, sync_dir: true }, model, Loss::LyingDisk);
        assert!(lying.violations.contains_key("old-or-new"), "{name}: a lying disk keeps no promise");
    }
}

#[test]
fn a_finding_is_reduced_to_what_it_takes() {
    let writer = ConfigWriter { sync_file: false, sync_dir: true };
    let run = Run::of(&writer).unwrap();
    let found = outcome(&writer, &model::Posix, Loss::PowerCut).findings.remove("old-or-new").unwrap();
    let space = Space::new(run.base.clone(), run.log.clone(), &model::Posix);
    assert_eq!(found.lost.len(), 1, "{found:?}: the bytes or the length, nothing else");
    let bits = minimise::survivors(&space, found.cut, &found.lost);
    let disk = SimFs::with_tree(space.view(&bits).tree());
    let again = writer.evaluate(&found.probe, &disk);
    assert!(again[0].violation.is_some(), "the reduced state still shows it");
}

/// A log with some of everything.
fn mixed_log() -> (pullplug::disk::tree::Tree, Vec<effect::Record>) {
    let fs = SimFs::new();
    run_now(async {
        fs.mkdir("d").await?;
        let old = fs.open("d/old", OpenMode::Create).await?;
        old.write_full(0, Bytes::from_static(&[1; 700])).await?;
        fs.settle();
        fs.mkdir("e").await?;
        let file = fs.open("e/a", OpenMode::Create).await?;
        file.write_full(0, Bytes::from_static(&[2; 1100])).await?;
        fs.mark(0);
        pullplug::fs::File::set_len(&old, 100).await?;
        old.write_full(90, Bytes::from_static(&[3; 50])).await?;
        pullplug::fs::File::sync_all(&file).await?;
        fs.rename("e/a", "d/old").await?;
        fs.unlink("d/old").await?;
        fs.sync_dir("e").await
    })
    .unwrap();
    fs.snapshot()
}

fn hashes(space: &Space, model: &dyn PersistenceModel, cut: Cut) -> BTreeSet<u128> {
    let mut all = BTreeSet::new();
    for family in crash::families(space, model, Loss::PowerCut, cut) {
        let free = crash::free_atoms(&family);
        let mut chooser = DepthFirst::default();
        loop {
            let bits = crash::survivors(space, &family, &free, &mut chooser);
            all.insert(space.view(&bits).tree_hash());
            if !chooser.advance() {
                break;
            }
        }
    }
    all
}

#[test]
fn telling_cuts_leave_no_state_out() {
    let (base, log) = mixed_log();
    for model in model::ALL {
        let space = Space::new(base.clone(), log.clone().into(), model);
        let of = |cuts: Vec<Cut>| cuts.into_iter().flat_map(|c| hashes(&space, model, c)).collect::<BTreeSet<_>>();
        let telling = states::telling_cuts(&log, model, Loss::PowerCut);
        assert!(telling.len() < cuts(&log).len());
        assert_eq!(of(telling), of(cuts(&log)), "{}", model.name());
    }
}

#[test]
fn any_family_is_one_of_all_and_each_can_be_chosen() {
    let (base, log) = mixed_log();
    for model in model::ALL {
        let space = Space::new(base.clone(), log.clone().into(), model);
        let words = |family: &Family| format!("{:?}", (&family.forced, &family.allowed));
        for cut in cuts(&log) {
            let all: BTreeSet<_> = model.families(&space, cut).iter().map(words).collect();
            let mut chosen = BTreeSet::new();
            let mut chooser = DepthFirst::default();
            loop {
                chosen.insert(words(&model.any_family(&space, cut, &mut chooser)));
                if !chooser.advance() {
                    break;
                }
            }
            assert_eq!(chosen, all, "{} at {cut:?}", model.name());
        }
    }
}

#[test]
fn sampling_is_legal_and_the_same_twice() {
    let (base, log) = mixed_log();
    for model in model::ALL {
        let space = Space::new(base.clone(), log.clone().into(), model);
        let cut = Cut::after(log.len() - 1);
        let legal = hashes(&space, model, cut);
        for family in crash::families(&space, model, Loss::PowerCut, cut) {
            let sample = |seed| {
                let mut seen = Vec::new();
                states::visit(&space, &family, 40, seed, "t", &mut |bits| {
                    assert!(space.is_closed(bits) && family.forced.within(bits) && bits.within(&family.allowed));
                    seen.push(space.view(bits).tree_hash());
                });
                seen
            };
            assert_eq!(sample(1), sample(1));
            assert!(sample(1).iter().all(|h| legal.contains(h)), "{}", model.name());
        }
    }
}
