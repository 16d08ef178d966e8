//! The prover held to plain enumeration: the same outcomes, the same numbers, model by model; on litmus scripts, on
//! random logs, and through crashes during recovery and after restarts.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use num_bigint::BigUint;
use proptest::prelude::*;
use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, free_atoms};
use pullplug::disk::effect::{Cut, What, cuts};
use pullplug::disk::model::{ALL, Family, PersistenceModel};
use pullplug::disk::space::{Bits, Region, Space};
use pullplug::disk::tree::Tree;
use pullplug::env::run_now;
use pullplug::explore::lazy::{Limits, outcomes, prove};
use pullplug::explore::{Budget, Observation, Run, Setting, Subject};
use pullplug::fs::{File, FileExt, FileKind, Fs, FsExt, OpenMode};
use pullplug::oci::Digest;

use crate::models::{check, played, script};
use crate::script::{Player, calls, states_of};

/// Most free atoms of a family that is enumerated.
const MAX_FREE_ATOMS: usize = 9;

/// How a reader looks at a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// All names and all bytes.
    Everything,
    /// Some names, and the beginning of what is behind them.
    SomePaths,
    /// Whether files hold contents whose digests are known.
    Digests,
    /// As a reader that writes: it replaces, cuts, goes on, and looks at what came of it.
    AfterOwnWrites,
}

const LOOKS: [Look; 4] = [Look::Everything, Look::SomePaths, Look::Digests, Look::AfterOwnWrites];
const PATHS: [&str; 4] = ["a", "d/b", "e/a", "d/f/a"];
/// Deepest directory that is listed: renames that split may leave loops.
const MAX_DEPTH: usize = 5;

async fn everything(disk: &SimFs) -> String {
    let mut out = String::new();
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        for entry in disk.list(&dir).await.unwrap() {
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            match entry.kind {
                FileKind::Dir if path.matches('/').count() < MAX_DEPTH => {
                    out += &format!(" {path}/");
                    dirs.push(path);
                }
                FileKind::Dir => {}
                FileKind::File => out += &format!(" {path}={}", short(&disk.read(&path, 1 << 20).await.unwrap())),
            }
        }
    }
    out
}

async fn some_paths(disk: &SimFs) -> String {
    let mut out = String::new();
    for path in PATHS {
        let Ok(file) = disk.open(path, OpenMode::Read).await else { continue };
        out += &format!(" {path}={}", short(&file.read_full(0, 80).await.unwrap()));
    }
    out
}

/// Compares the beginnings of files with `digests`.
async fn digests(disk: &SimFs, paths: &[&str], digests: &[(u64, Digest)]) -> String {
    let mut out = String::new();
    for path in paths {
        let Ok(file) = disk.open(path, OpenMode::Read).await else { continue };
        for (len, digest) in digests {
            let begins = match file.knows_sha256(*len, digest.as_bytes()).await.unwrap() {
                Some(known) => known,
                None => {
                    let bytes = file.read_full(0, *len as usize).await.unwrap();
                    bytes.len() as u64 == *len && Digest::sha256(&bytes) == *digest
                }
            };
            let is_all = file.has_sha256(digest.as_bytes()).await.unwrap();
            out += &format!(" {path}:{len}={begins}{is_all}");
        }
    }
    out
}

/// What a recovery may do; what fails, fails.
const RECOVERY: &str =
    "rename d/b a; truncate a 5; append a 600 R; unlink e/a; append e/b 3 S; mkdir g; fsync a; create g/a";

async fn after_own_writes(disk: &SimFs) -> String {
    let mut player = Player::on(disk.clone());
    calls(RECOVERY).for_each(|call| drop(player.call(call)));
    some_paths(disk).await
}

/// Bytes as runs.
fn short(bytes: &Bytes) -> String {
    bytes.chunk_by(|a, b| a == b).map(|run| format!("{}x{:x}.", run.len(), run[0])).collect()
}

fn look(look: Look, disk: &SimFs, known: &[(u64, Digest)]) -> String {
    run_now(async {
        match look {
            Look::Everything => everything(disk).await,
            Look::SomePaths => some_paths(disk).await,
            Look::Digests => digests(disk, &PATHS, known).await,
            Look::AfterOwnWrites => after_own_writes(disk).await,
        }
    })
}

/// Digests of what files hold at the end, and of beginnings of that. No others: those take reading the bytes.
fn known(live: &Tree) -> Vec<(u64, Digest)> {
    let contents: Vec<Bytes> =
        live.paths().into_iter().filter_map(|(_, content)| content.map(|c| c.read(0, c.len as usize))).collect();
    let beginnings = contents.iter().filter(|c| c.len() > 71).map(|c| c.slice(..71));
    let all = contents.iter().cloned().chain(beginnings);
    let all: BTreeSet<(u64, Digest)> = all.map(|c| (c.len() as u64, Digest::sha256(&c))).collect();
    all.into_iter().collect()
}

/// Compares all outcomes of all looks, and how many states lead to each.
fn compare_outcomes(space: &Arc<Space>, of: &[Family], live: &Tree, what: &str) -> Result<(), TestCaseError> {
    let all: BTreeSet<Bits> = of.iter().flat_map(|family| states_of(space, family)).collect();
    prop_assert_eq!(space.count(&Region::all(space), of).states, BigUint::from(all.len()), "{}", what);
    let known = known(live);
    for how in LOOKS {
        let mut plain: BTreeMap<String, usize> = BTreeMap::new();
        for bits in &all {
            let disk = SimFs::with_tree(space.view(bits).tree());
            *plain.entry(look(how, &disk, &known)).or_default() += 1;
        }
        let lazy = outcomes(space, of, |disk| look(how, disk, &known));
        let lazy: BTreeMap<String, BigUint> = lazy.into_iter().map(|(o, count)| (o, count.states)).collect();
        let plain: BTreeMap<String, BigUint> = plain.into_iter().map(|(o, n)| (o, BigUint::from(n))).collect();
        prop_assert_eq!(lazy, plain, "{:?}, {}", how, what);
    }
    Ok(())
}

fn is_small(of: &[Family]) -> bool {
    of.iter().all(|family| free_atoms(family).len() <= MAX_FREE_ATOMS)
}

/// Every cut by itself, and all of them at once.
fn compare_cuts(player: &Player, skipped: &Cell<u32>, compared: &Cell<u32>) -> Result<(), TestCaseError> {
    let live = player.fs.tree();
    for model in ALL {
        let space = Arc::new(player.space(model));
        let mut together = Vec::new();
        for cut in player.cuts() {
            let of = families(&space, model, Loss::PowerCut, cut);
            if !is_small(&of) {
                skipped.set(skipped.get() + 1);
                continue;
            }
            compared.set(compared.get() + 1);
            if cut.records % 3 == 0 {
                compare_outcomes(&space, &of, &live, &format!("{} {cut}", model.name()))?;
            }
            together.extend(of);
        }
        // What is followed for others that are alike is the first: let that not always be the one that forces least.
        together.reverse();
        compare_outcomes(&space, &together, &live, &format!("{} at all cuts", model.name()))?;
    }
    Ok(())
}

#[test]
fn outcomes_and_their_numbers_are_those_of_enumeration() {
    let (skipped, compared) = (Cell::new(0), Cell::new(0));
    check("lazy_outcomes", 40, &script(8), |script| compare_cuts(&played(&script), &skipped, &compared));
    assert!(compared.get() > 3 * skipped.get(), "{} were compared, {} skipped", compared.get(), skipped.get());
}

/// Compares outcomes and numbers at the cuts of a litmus test.
pub fn agrees_on(setup: &str, script: &str) {
    let mut player = Player::after(setup);
    player.run(script);
    compare_cuts(&player, &Cell::new(0), &Cell::new(0)).unwrap();
}

/// Scripts as a workload, and what every run of a probe saw.
struct Scripted {
    run: String,
    recovery: String,
    restart: String,
    /// Recovery goes on only where a file has this content.
    vouched: Option<(u64, Digest)>,
    looks: &'static [Look],
    seen: Mutex<BTreeSet<(usize, Look, String)>>,
}

/// A probe sees other things where other marks were passed.
type Probe = (usize, Look);

impl Scripted {
    fn play(disk: &SimFs, script: &str) {
        let mut player = Player::on(disk.clone());
        calls(script).for_each(|call| drop(player.call(call)));
    }

    fn see(&self, (marks, how): Probe, tree: Tree) -> (usize, Look, String) {
        (marks, how, look(how, &SimFs::with_tree(tree), &[]))
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
        Self::play(disk, first);
        disk.mark(0);
        Self::play(disk, rest);
        Ok(())
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

/// All sets of survivors at all cuts behind `from`, by how many marks were passed; `None` if they are too many.
fn all_states(space: &Space, model: &dyn PersistenceModel, from: Option<Cut>) -> Option<BTreeSet<(usize, Bits)>> {
    let mut all = BTreeSet::new();
    for cut in cuts(space.records()).into_iter().filter(|cut| from.is_none_or(|from| *cut > from)) {
        let before = &space.records()[..cut.records as usize];
        let marks = before.iter().filter(|r| matches!(r.what, What::Mark(_))).count();
        let of = families(space, model, Loss::PowerCut, cut);
        if !of.iter().all(|family| free_atoms(family).len() <= 5) {
            return None;
        }
        all.extend(of.iter().flat_map(|family| states_of(space, family)).map(|bits| (marks, bits)));
    }
    Some(all)
}

/// Compares what the prover's probes saw, and its numbers, with what is seen state by state. Tells the numbers; `None`
/// where there are too many states.
fn compare_proof(subject: &Scripted, model: &dyn PersistenceModel) -> Result<Option<[BigUint; 3]>, TestCaseError> {
    let run = Run::of(subject).unwrap();
    let space = Space::new(run.base.clone(), run.log.clone(), model);
    let Some(own) = all_states(&space, model, None) else { return Ok(None) };
    let mut seen = BTreeSet::new();
    let mut look = |marks: usize, tree: &Tree| {
        seen.extend(subject.looks.iter().map(|how| subject.see((marks, *how), tree.clone())));
    };
    let (mut in_recovery, mut restarted) = (0_usize, 0_usize);
    for (marks, bits) in &own {
        let tree = space.view(bits).tree();
        look(*marks, &tree);
        let disk = SimFs::with_tree(tree.clone());
        subject.recover(&disk).unwrap();
        let log = disk.snapshot().1;
        if log.iter().all(|record| record.effects().is_empty()) {
            continue;
        }
        let second = Space::new(tree, log.into(), model);
        let Some(states) = all_states(&second, model, None) else { return Ok(None) };
        in_recovery += states.len();
        states.iter().for_each(|(_, bits)| look(*marks, &second.view(bits).tree()));
    }
    for cut in cuts(&run.log) {
        let again = run.restarted(subject, cut);
        let space = Space::new(again.base.clone(), again.log.clone(), model);
        let Some(states) = all_states(&space, model, Some(cut)) else { return Ok(None) };
        restarted += states.len();
        states.iter().for_each(|(marks, bits)| look(*marks, &space.view(bits).tree()));
    }
    subject.seen.lock().unwrap().clear();
    let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
    let proof =
        prove(subject, &run, Setting { model, loss: Loss::PowerCut, seed: 1, budget }, Limits::default()).unwrap();
    let lazy = subject.seen.lock().unwrap().clone();
    prop_assert_eq!(lazy.difference(&seen).next(), None, "{}: only the prover sees it", model.name());
    prop_assert_eq!(seen.difference(&lazy).next(), None, "{}: the prover does not see it", model.name());
    let numbers = [proof.crash_states.states, proof.restart_states.states, proof.recovery_states.states];
    prop_assert_eq!(&numbers, &[own.len(), restarted, in_recovery].map(BigUint::from), "{}", model.name());
    Ok(Some(numbers))
}

/// Compares under all models. The content of `a` at the end is what recovery asks for.
fn compare_proofs(run: &str, recovery: &str, restart: &str, tally: &Tally) -> Result<(), TestCaseError> {
    let live = played(run).fs.tree();
    let of_a = live.paths().into_iter().find_map(|(path, content)| content.filter(|_| path == "a"));
    let of_a = of_a.map(|content| (content.len, Digest::sha256(&content.read(0, content.len as usize))));
    for model in ALL {
        for vouched in [None, of_a] {
            let (run, recovery, restart) = (run.to_owned(), recovery.to_owned(), restart.to_owned());
            let looks = &[Look::Everything, Look::SomePaths];
            let subject = Scripted { run, recovery, restart, vouched, looks, seen: Mutex::default() };
            match compare_proof(&subject, model)? {
                None => tally.skipped.set(tally.skipped.get() + 1),
                Some([_, _, in_recovery]) => {
                    tally.compared.set(tally.compared.get() + 1);
                    tally.recovered.set(tally.recovered.get() + u32::from(in_recovery != BigUint::ZERO));
                }
            }
        }
    }
    Ok(())
}

/// How many workloads were compared under a model, in how many recovery was cut, and how many were too large.
#[derive(Default)]
struct Tally {
    compared: Cell<u32>,
    recovered: Cell<u32>,
    skipped: Cell<u32>,
}

#[test]
fn restarts_and_recoveries_are_covered_as_by_enumeration() {
    let tally = Tally::default();
    let inputs = (script(4), script(3), script(2));
    check("lazy_proof", 40, &inputs, |(run, recovery, restart)| compare_proofs(&run, &recovery, &restart, &tally));
    let (compared, recovered, skipped) = (tally.compared.get(), tally.recovered.get(), tally.skipped.get());
    println!("{compared} compared, {recovered} with recoveries, {skipped} skipped");
    assert!(recovered > 100 && compared > skipped, "{compared} {recovered} {skipped}");
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
