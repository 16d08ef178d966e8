//! What a proof covers, held to every crash state one by one: of the workload, after restarts, after failed syncs, and in
//! recovery; however the machine stops.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;

use num_bigint::BigUint;
use proptest::prelude::*;
use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, free_atoms, laid_out};
use pullplug::disk::effect::{Cut, Record, What, cuts, executed};
use pullplug::disk::fault::{FailedPages, FaultKind, FaultRates, Faults};
use pullplug::disk::model::{ALL, PersistenceModel};
use pullplug::disk::space::{Bits, Space};
use pullplug::disk::tree::Tree;
use pullplug::env::choice::Recorded;
use pullplug::env::run_now;
use pullplug::explore::lazy::{Limits, prove};
use pullplug::explore::{Budget, Observation, Run, Setting, Subject};
use pullplug::fs::{ErrorKind, FileKind, FsError};
use pullplug::oci::Digest;

use super::{Look, PATHS, digests, look};
use crate::models::{check, played, script};
use crate::script::{Player, calls, shown, states_of};

const LOSSES: [Loss; 3] = [Loss::PowerCut, Loss::ProcessCrash, Loss::LyingDisk];

/// Scripts as a workload, and what every run of a probe saw.
struct Scripted {
    run: String,
    recovery: String,
    restart: String,
    /// Recovery goes on only where a file has this content, and the workload only as long as no sync fails.
    vouched: Option<(u64, Digest)>,
    looks: &'static [Look],
    seen: Mutex<BTreeSet<(usize, Look, String)>>,
}

/// A probe sees other things where other marks were passed.
type Probe = (usize, Look);

impl Scripted {
    fn play(disk: &SimFs, script: &str) {
        let _ = play(disk, script, false);
    }

    fn see(&self, (marks, how): Probe, tree: Tree) -> (usize, Look, String) {
        (marks, how, look(how, &SimFs::with_tree(tree), &[]))
    }
}

/// Plays what succeeds.
///
/// Errors: a call failed for what is wrong with the disk, and somebody cares: then it was the last.
pub fn play(disk: &SimFs, script: &str, cares: bool) -> Result<(), String> {
    let mut player = Player::on(disk.clone());
    let fails = |error: &FsError| cares && matches!(error.kind, ErrorKind::Io | ErrorKind::ReadOnly);
    match calls(script).filter_map(|call| player.call(call).err()).find(fails) {
        Some(error) => Err(error.to_string()),
        None => Ok(()),
    }
}

impl Subject for Scripted {
    type Probe = Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        Self::play(disk, crate::models::SETUP);
        Ok(())
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        let (first, rest) = self.run.split_once(';').unwrap_or((&self.run, ""));
        play(disk, first, self.vouched.is_some())?;
        disk.mark(0);
        play(disk, rest, self.vouched.is_some())
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        let (first, rest) = self.recovery.split_once(';').unwrap_or((&self.recovery, ""));
        if self.vouched.is_none_or(|of| run_now(digests(disk, &PATHS[..1], &[of])).contains("true")) {
            Self::play(disk, rest);
        }
        Self::play(disk, first);
        Ok(())
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        if marks == 0 {
            disk.mark(0);
        }
        Self::play(disk, &self.restart);
        Ok(())
    }

    fn probes(&self, marks: usize, _: &[(String, FileKind)]) -> Vec<Probe> {
        self.looks.iter().map(|how| (marks, *how)).collect()
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        self.seen.lock().unwrap().insert((probe.0, probe.1, look(probe.1, disk, &[])));
        Vec::new()
    }
}

/// A run that is cut, under a model.
struct Cuts<'a> {
    model: &'a dyn PersistenceModel,
    loss: Loss,
}

impl Cuts<'_> {
    fn space(&self, base: &Tree, log: &[Record]) -> Space {
        laid_out(base.clone(), &log.to_vec().into(), self.model, self.loss)
    }

    /// All sets of survivors at all cuts behind `from`, by how many marks were passed; `None` if they are too many.
    fn states(&self, space: &Space, from: Option<Cut>) -> Option<BTreeSet<(usize, Bits)>> {
        let mut all = BTreeSet::new();
        for cut in cuts(space.records()).into_iter().filter(|cut| from.is_none_or(|from| *cut > from)) {
            let marks = marks(&space.records()[..cut.records as usize]);
            let of = families(space, self.model, self.loss, cut);
            if !of.iter().all(|family| free_atoms(family).len() <= 5) {
                return None;
            }
            all.extend(of.iter().flat_map(|family| states_of(space, family)).map(|bits| (marks, bits)));
        }
        Some(all)
    }

    /// Looks at all of them, and tells how many there are.
    fn visit(
        &self,
        base: &Tree,
        log: &[Record],
        from: Option<Cut>,
        look: &mut dyn FnMut(usize, &Tree),
    ) -> Option<usize> {
        let space = self.space(base, log);
        let states = self.states(&space, from)?;
        if self.loss == Loss::ProcessCrash {
            // What was executed is there, whatever a space is.
            let there = |cut| SimFs::replayed(base.clone(), executed(log, cut)).tree();
            let behind = cuts(log).into_iter().filter(|cut| from.is_none_or(|from| *cut > from));
            let there: BTreeSet<String> = behind.map(|cut| shown(&there(cut))).collect();
            let here: BTreeSet<String> = states.iter().map(|(_, bits)| shown(&space.view(bits).tree())).collect();
            assert_eq!(here, there);
        }
        states.iter().for_each(|(marks, bits)| look(*marks, &space.view(bits).tree()));
        Some(states.len())
    }
}

fn marks(log: &[Record]) -> usize {
    log.iter().filter(|r| matches!(r.what, What::Mark(_))).count()
}

/// What is done if the sync after `nth` others fails, and whether it was one of names; `None` if there is none.
fn failing<S: Subject>(subject: &S, run: &Run, nth: usize, failed_pages: FailedPages) -> Option<(Vec<Record>, bool)> {
    let disk = SimFs::with_tree(run.base.clone());
    let choices = (0..=nth).map(|at| u32::from(at == nth)).collect();
    let rates = FaultRates { sync_failure_one_in: 2, failed_pages, ..FaultRates::default() };
    disk.set_faults(Some(Faults::new(rates, Box::new(Recorded::new(choices)))));
    let refused = subject.insist(&disk).is_err();
    let of_names = disk.is_read_only();
    let has_failed = disk.fired(FaultKind::SyncFailure) == 1;
    disk.set_faults(None);
    if refused {
        subject.restart(&disk, marks(&disk.snapshot().1)).ok();
    }
    has_failed.then(|| (disk.snapshot().1, of_names))
}

/// Looks at every crash state that a proof is to cover. Tells how many there are: of the workload, after restarts, after
/// failed syncs, in recovery, which with `recovers_always` is cut after each of these; `None` where they are too many.
pub fn visit_all<S: Subject>(
    subject: &S,
    run: &Run,
    (model, loss): (&dyn PersistenceModel, Loss),
    recovers_always: bool,
    look: &mut dyn FnMut(usize, &Tree),
) -> Option<[usize; 4]> {
    let all = Cuts { model, loss };
    let [mut own, mut restarted, mut failed, mut recovered] = [0; 4];
    let mut left: Vec<(usize, Tree)> = Vec::new();
    let mut crashed = |base: &Tree, log: &[Record], from, number: &mut usize, is_recovered: bool| {
        let mut note = |marks: usize, tree: &Tree| {
            look(marks, tree);
            left.extend(is_recovered.then(|| (marks, tree.clone())));
        };
        *number += all.visit(base, log, from, &mut note)?;
        Some(())
    };
    crashed(&run.base, &run.log, None, &mut own, true)?;
    for cut in cuts(&run.log).into_iter().filter(|_| loss != Loss::ProcessCrash) {
        let again = run.restarted(subject, cut);
        crashed(&again.base, &again.log, Some(cut), &mut restarted, recovers_always)?;
    }
    for nth in 0.. {
        let Some((_, of_names)) = failing(subject, run, nth, FailedPages::KeepNew) else { break };
        let ways = if of_names { &FailedPages::OF_NAMES } else { model.failed_pages() };
        for pages in ways {
            let (log, _) = failing(subject, run, nth, *pages).unwrap();
            let same = log.iter().zip(&*run.log).take_while(|(a, b)| a == b).count();
            crashed(&run.base, &log, Some(Cut::after(same)), &mut failed, recovers_always)?;
        }
    }
    for (marks, tree) in left {
        let disk = SimFs::with_tree(tree.clone());
        // What it cannot do is seen.
        let _ = subject.recover(&disk);
        let log = disk.snapshot().1;
        if log.iter().any(|record| !record.effects().is_empty()) {
            recovered += all.visit(&tree, &log, None, &mut |_, tree| look(marks, tree))?;
        }
    }
    Some([own, restarted, failed, recovered])
}

/// A setting of a proof.
pub fn setting(model: &dyn PersistenceModel, loss: Loss) -> Setting<'_> {
    Setting { model, loss, seed: 1, budget: Budget { states: 0, recovery_states: 0, restart_states: 0 } }
}

/// Compares what the prover's probes saw, and its numbers, with what is seen state by state. Tells the numbers; `None`
/// where there are too many states.
fn compare_proof(
    subject: &Scripted,
    model: &dyn PersistenceModel,
    loss: Loss,
    recovers_always: bool,
) -> Result<Option<[usize; 4]>, TestCaseError> {
    let run = Run::of(subject).unwrap();
    let mut seen = BTreeSet::new();
    let mut look = |marks: usize, tree: &Tree| {
        seen.extend(subject.looks.iter().map(|how| subject.see((marks, *how), tree.clone())));
    };
    let Some(numbers) = visit_all(subject, &run, (model, loss), recovers_always, &mut look) else { return Ok(None) };
    subject.seen.lock().unwrap().clear();
    let limits = Limits { later_recoveries: if recovers_always { 10_000 } else { 0 }, ..Limits::default() };
    let proof = prove(subject, &run, setting(model, loss), limits).unwrap();
    // There may be none to cut.
    prop_assert!(proof.recovers_always || !recovers_always);
    let lazy = subject.seen.lock().unwrap().clone();
    let what = format!("{} {}", model.name(), loss.name());
    prop_assert_eq!(lazy.difference(&seen).next(), None, "{}: only the prover sees it", what);
    prop_assert_eq!(seen.difference(&lazy).next(), None, "{}: the prover does not see it", what);
    let counted = proof.counts().map(|count| count.states.clone());
    prop_assert_eq!(counted, numbers.map(BigUint::from), "{}", what);
    Ok(Some(numbers))
}

/// Compares under all models, by power cuts and each in another way. The content of `a` at the end is what recovery asks
/// for.
fn compare_proofs(run: &str, recovery: &str, restart: &str, tally: &Tally) -> Result<(), TestCaseError> {
    let live = played(run).fs.tree();
    let of_a = live.paths().into_iter().find_map(|(path, content)| content.filter(|_| path == "a"));
    let of_a = of_a.map(|content| (content.len, Digest::sha256(&content.read(0, content.len as usize))));
    for (at, model) in ALL.into_iter().enumerate() {
        let other = LOSSES[1 + at % 2];
        for (vouched, loss) in [(None, Loss::PowerCut), (of_a, Loss::PowerCut), (of_a, other)] {
            let (run, recovery, restart) = (run.to_owned(), recovery.to_owned(), restart.to_owned());
            let looks = &[Look::Everything, Look::SomePaths];
            let subject = Scripted { run, recovery, restart, vouched, looks, seen: Mutex::default() };
            tally.add(loss, compare_proof(&subject, model, loss, tally.recovers_always)?);
        }
    }
    Ok(())
}

/// How many workloads were compared under a model, in how many recovery was cut, or a sync failed and something came of
/// it, or the power did not fail; and how many were too large.
#[derive(Debug, Default)]
struct Tally {
    /// Whether recovery is cut after restarts and failed syncs too: that makes many.
    recovers_always: bool,
    compared: Cell<u32>,
    recovered: Cell<u32>,
    failed: Cell<u32>,
    otherwise: Cell<u32>,
    skipped: Cell<u32>,
}

impl Tally {
    fn add(&self, loss: Loss, numbers: Option<[usize; 4]>) {
        let count = |cell: &Cell<u32>, holds: bool| cell.set(cell.get() + u32::from(holds));
        count(&self.skipped, numbers.is_none());
        let Some([_, _, failed, recovered]) = numbers else { return };
        count(&self.compared, true);
        count(&self.recovered, recovered > 0);
        count(&self.failed, failed > 0);
        count(&self.otherwise, loss != Loss::PowerCut);
    }
}

#[test]
fn proofs_cover_what_enumeration_visits() {
    let tally = Tally::default();
    let inputs = (script(4), script(3), script(2));
    check("lazy_proof", 40, &inputs, |(run, recovery, restart)| compare_proofs(&run, &recovery, &restart, &tally));
    println!("{tally:?}");
    let Tally { compared, recovered, failed, otherwise, skipped, .. } = tally;
    assert!(recovered.get() > 100 && compared > skipped && failed.get() > 50 && otherwise.get() > 100);
}

/// A renamed file and the one that it replaces are both new to a recovery that meets either under one name; what it
/// writes about them is not the same.
#[test]
fn recovery_on_one_file_is_not_recovery_on_another() {
    let tally = Tally::default();
    for (run, recovery) in [("rename a d/b", "link d/b a"), ("rename d/b a", "mkdir g; rename a e/b; append e/b 3 R")] {
        compare_proofs(run, recovery, "create a", &tally).unwrap();
    }
    assert!(tally.recovered.get() > 20, "{:?}", tally.recovered);
}

/// What is behind the end of a file after a crash is not there when recovery makes it longer.
#[test]
fn recovery_goes_on_with_files_that_were_cut_short() {
    let tally = Tally::default();
    for (run, recovery) in [
        ("append a 600 E", "mkdir g; append a 1000 R"),
        ("append a 600 E", "mkdir g; write a 1024 5 R; truncate a 3"),
        ("append a 600 E; truncate a 5", "append a 700 R"),
        ("write a 0 71 E", "mkdir g; truncate a 1; append a 2 R"),
        ("create e/a; append e/a 600 E; rename e/a a", "truncate a 5; append a 10 R; truncate a 600"),
    ] {
        compare_proofs(run, recovery, "append a 5 Z", &tally).unwrap();
    }
    assert!(tally.recovered.get() > 30, "{:?}", tally.recovered);
}

/// Whether a file is vouched for is asked, and then nothing else is done: two ways to one log.
#[test]
fn recoveries_that_write_alike_are_one_whatever_they_asked() {
    let tally = Tally::default();
    for (run, recovery) in [("append a 600 E", "mkdir g; unlink z"), ("write a 0 71 E", "append e/a 3 S; unlink z")] {
        compare_proofs(run, recovery, "create z", &tally).unwrap();
    }
    assert!(tally.recovered.get() > 12, "{:?}", tally.recovered);
}

/// A sync fails in the middle of what it is to bring, of one file or of names; the same is synced again, or goes on to be
/// written; what is cut afterwards is torn at sectors.
#[test]
fn syncs_that_fail_are_covered() {
    let tally = Tally::default();
    for (run, restart) in [
        ("append a 600 E; fsync a; rename a e/b; fsync e", "fsync a; fsync e/b"),
        ("write a 0 700 E; fsync a; append a 100 F; fsync a", "append a 5 G; fsync a"),
        ("create e/a; append e/a 600 E; fsync e/a; truncate e/a 5; fsync e/a", "unlink e/a; fsync e"),
        ("rename d/b a; fsync /; fsync d", "fsync d; create d/b"),
        ("append a 600 E; syncfs; link a e/b; fsync e", "syncfs; unlink a"),
    ] {
        compare_proofs(run, "create g", restart, &tally).unwrap();
    }
    println!("{tally:?}");
    assert!(tally.failed.get() > 60, "{tally:?}");
}

/// A restart, or a sync that fails, then a crash, and one more in the recovery from that.
#[test]
fn recoveries_after_restarts_and_failed_syncs_are_covered() {
    let tally = Tally { recovers_always: true, ..Tally::default() };
    for (run, recovery, restart) in [
        ("append a 600 E; rename a e/b", "mkdir g; append e/b 3 R", "link e/b a"),
        ("create e/a; fsync e; unlink d/b", "rename e/a a; unlink d/b", "append e/a 5 F"),
        ("write a 0 71 E; fsync a", "truncate a 5; unlink e/a; append a 3 S", "create e/a"),
    ] {
        compare_proofs(run, recovery, restart, &tally).unwrap();
    }
    println!("{tally:?}");
    assert!(tally.recovered.get() > 40, "{tally:?}");
}
