//! Calls on a disk as short lines of text, so that a litmus test, a counterexample of proptest and a snapshot read
//! the same; and the crash states that a log allows, as text.
//!
//! A script is a list of calls separated by `;`:
//!
//! | call | meaning |
//! | --- | --- |
//! | `create P`, `open P`, `close P` | a new file, an existing one; the handle stays open until `close` |
//! | `write P OFFSET LEN L` | LEN times the letter L at OFFSET; opens the file, if it must be |
//! | `append P LEN L`, `truncate P LEN` | as they say, through the same handle |
//! | `fsync P` | of a file or of a directory; `fsync /` of the root |
//! | `mkdir`, `rmdir`, `unlink`, `rename A B`, `link A B`, `syncfs` | as in the port |

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pullplug::disk::crash::{Loss, families, free_atoms, survivors};
pub use pullplug::disk::describe::shown;
use pullplug::disk::effect::{Cut, cuts};
use pullplug::disk::model::{ALL, Family, PersistenceModel};
use pullplug::disk::space::{Bits, Space};
use pullplug::disk::{SimFile, SimFs};
use pullplug::env::choice::DepthFirst;
use pullplug::env::run_now;
use pullplug::fs::{ErrorKind, File, FileExt, FileKind, Fs, FsError, OpenMode, Result};

/// A disk and the handles that a script holds open, by the path that they were opened by.
#[derive(Default)]
pub struct Player {
    pub fs: SimFs,
    handles: BTreeMap<String, SimFile>,
}

impl Player {
    /// A disk on which `setup` ran and is durable.
    pub fn after(setup: &str) -> Self {
        let mut player = Self::default();
        player.run(setup);
        player.handles.clear();
        player.fs.settle();
        player
    }

    /// Plays on a disk as it is.
    pub fn on(fs: SimFs) -> Self {
        Self { fs, handles: BTreeMap::new() }
    }

    /// Runs a script of which every call must succeed.
    pub fn run(&mut self, script: &str) {
        for call in calls(script) {
            self.call(call).unwrap_or_else(|e| panic!("{call}: {e}"));
        }
    }

    /// Runs one call.
    pub fn call(&mut self, call: &str) -> Result<()> {
        let words: Vec<&str> = call.split_whitespace().collect();
        let fs = self.fs.clone();
        run_now(async {
            match words.as_slice() {
                ["create", path] => self.keep(path, fs.open(path, OpenMode::CreateNew).await?),
                ["open", path] => self.keep(path, fs.open(path, OpenMode::Write).await?),
                ["close", path] => drop(self.handles.remove(*path)),
                ["write", path, offset, len, letter] => {
                    self.handle(path).await?.write_full(number(offset), filled(len, letter)).await?;
                }
                ["append", path, len, letter] => {
                    let file = self.handle(path).await?;
                    file.write_full(file.metadata().await?.len, filled(len, letter)).await?;
                }
                ["truncate", path, len] => self.handle(path).await?.set_len(number(len)).await?,
                ["fsync", "/"] => fs.sync_dir("").await?,
                ["fsync", path] if fs.metadata(path).await?.kind == FileKind::Dir => fs.sync_dir(path).await?,
                ["fsync", path] => self.handle(path).await?.sync_all().await?,
                ["syncfs"] => fs.sync_fs().await?,
                ["mkdir", path] => fs.mkdir(path).await?,
                ["rmdir", path] => fs.rmdir(path).await?,
                ["unlink", path] => fs.unlink(path).await?,
                ["rename", from, to] => fs.rename(from, to).await?,
                ["link", from, to] => fs.hard_link(from, to).await?,
                _ => return Err(FsError::new(ErrorKind::InvalidInput, "script", call)),
            }
            Ok(())
        })
    }

    /// The handle of `path`, for calls that the script's words do not cover.
    pub async fn handle(&mut self, path: &str) -> Result<&SimFile> {
        if !self.handles.contains_key(path) {
            let file = self.fs.open(path, OpenMode::Write).await?;
            self.keep(path, file);
        }
        Ok(&self.handles[path])
    }

    fn keep(&mut self, path: &str, file: SimFile) {
        self.handles.insert(path.to_owned(), file);
    }

    /// What happened since the set-up, laid out under `model`.
    pub fn space(&self, model: &dyn PersistenceModel) -> Space {
        let (base, log) = self.fs.snapshot();
        Space::new(base, log.into(), model)
    }

    /// Every place at which the machine may stop.
    pub fn cuts(&self) -> Vec<Cut> {
        cuts(&self.fs.snapshot().1)
    }

    /// The crash states at the end of the script, as text.
    pub fn outcomes(&self, model: &dyn PersistenceModel) -> BTreeSet<String> {
        let space = self.space(model);
        let end = Cut::after(space.records().len());
        states(&space, model, end).iter().map(|bits| shown(&space.view(bits).tree())).collect()
    }
}

/// The calls of a script.
pub fn calls(script: &str) -> impl Iterator<Item = &str> {
    script.split(';').map(str::trim).filter(|c| !c.is_empty())
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is not a number"))
}

fn filled(len: &str, letter: &str) -> Bytes {
    letter.repeat(number(len) as usize).into()
}

/// Every crash state at `cut`.
pub fn states(space: &Space, model: &dyn PersistenceModel, cut: Cut) -> Vec<Bits> {
    families(space, model, Loss::PowerCut, cut).iter().flat_map(|family| states_of(space, family)).collect()
}

/// Every crash state of one family.
pub fn states_of(space: &Space, family: &Family) -> Vec<Bits> {
    let free = free_atoms(family);
    let mut chooser = DepthFirst::default();
    let mut all = Vec::new();
    loop {
        all.push(survivors(space, family, &free, &mut chooser));
        if !chooser.advance() {
            return all;
        }
    }
}

/// The table of one litmus test: every outcome that some model allows, and which models do.
pub fn table(about: &str, setup: &str, script: &str) -> String {
    let mut player = Player::after(setup);
    player.run(script);
    let live = shown(&player.fs.tree());
    let mut marks: BTreeMap<String, [char; ALL.len()]> = BTreeMap::new();
    let cuts = player.cuts();
    for (column, model) in ALL.into_iter().enumerate() {
        let space = player.space(model);
        for (at, cut) in cuts.iter().enumerate() {
            let mark = if at + 1 == cuts.len() { 'X' } else { 'o' };
            for bits in states(&space, model, *cut) {
                let outcome = shown(&space.view(&bits).tree());
                marks.entry(outcome).or_insert(['.'; ALL.len()])[column] = mark;
            }
        }
    }
    let width = marks.keys().map(|o| o.chars().count()).max().unwrap_or(0).max(30);
    let mut out = format!("{about}\n");
    for (title, script) in [("durable:", setup), ("calls:  ", script)] {
        for (i, call) in calls(script).enumerate() {
            let title = if i == 0 { title } else { "        " };
            out += &format!("{title} {call}\n");
        }
    }
    out += "\nX: at the end; o: only if the power goes earlier; =: what was executed\n";
    let heads = ["jrnl", "ordd", "weak", "wrbk", "xfs ", "btrf", "posx", "splt"];
    out += &format!("  {:width$}  {}\n", "", heads.join(" "));
    for (outcome, marks) in marks {
        let pad = " ".repeat(width - outcome.chars().count());
        let live = if outcome == live { '=' } else { ' ' };
        let marks: Vec<String> = marks.iter().map(|m| format!(" {m}  ")).collect();
        out += format!("{live} {outcome}{pad}  {}", marks.join(" ")).trim_end();
        out.push('\n');
    }
    assert!(out.lines().all(|l| l.chars().count() <= 100), "for people with 100 columns:\n{out}");
    out
}

/// Compares `text` with the snapshot `name`.
pub fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
