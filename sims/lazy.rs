//! The prover held to plain enumeration: the same outcomes, the same numbers, model by model; on litmus scripts, on
//! random logs; through crashes during recovery, after restarts and after failed syncs ([`proofs`]); and on scenarios
//! ([`scenarios`]).

mod proofs;
mod scenarios;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use num_bigint::BigUint;
use proptest::prelude::*;
use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, free_atoms};
use pullplug::disk::model::{ALL, Family};
use pullplug::disk::space::{Bits, Region, Space};
use pullplug::disk::tree::Tree;
use pullplug::env::run_now;
use pullplug::explore::lazy::outcomes;
use pullplug::fs::{File, FileExt, FileKind, Fs, FsError, FsExt, OpenMode, split};
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
    /// As a reader that makes directories, names and whole files, removes them, and looks at what came of it.
    AfterOwnNames,
}

const LOOKS: [Look; 5] = [Look::Everything, Look::SomePaths, Look::Digests, Look::AfterOwnWrites, Look::AfterOwnNames];
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

/// Puts files with the directories above them, and tells what is there of each before and after.
async fn after_own_names(disk: &SimFs) -> String {
    let mut out = String::new();
    let mut tell = |what: Result<bool, FsError>| out += &format!(" {:?}", what.map_err(|e| e.kind));
    for path in ["d/f/a", "e/f/g/a", "d/b", "a/a"] {
        tell(disk.exists(path).await);
        tell(put(disk, path).await.map(|()| true));
        tell(disk.read(path, 1 << 20).await.map(|bytes| bytes == "put"));
        tell(disk.exists("e/f").await);
    }
    tell(disk.rename("e/a", "d/f/b").await.map(|()| true));
    tell(disk.remove_tree("d/f").await.map(|()| true));
    tell(disk.exists("d/f/b").await);
    tell(put(disk, "d/f/g/a").await.map(|()| true));
    tell(disk.rename("d/f", "e/g").await.map(|()| true));
    tell(disk.exists("e/g/g/a").await);
    tell(disk.exists("d/f").await);
    out + &everything(disk).await
}

async fn put(disk: &SimFs, path: &str) -> Result<(), FsError> {
    disk.create_dir_all(split(path).map_or("", |(parent, _)| parent)).await?;
    let file = disk.open(path, OpenMode::Create).await?;
    file.write_full(0, "put".into()).await?;
    file.set_len(3).await
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
            Look::AfterOwnNames => after_own_names(disk).await,
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
