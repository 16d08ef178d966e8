//! Scripts of calls ([`pullplug::fs::script`]) on the simulated disk, and the crash states that their logs allow, as text.

use std::collections::{BTreeMap, BTreeSet};

use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, free_atoms, survivors};
pub use pullplug::disk::describe::shown;
use pullplug::disk::effect::{Cut, cuts};
use pullplug::disk::model::{ALL, Family, PersistenceModel};
use pullplug::disk::space::{Bits, Space};
use pullplug::env::choice::DepthFirst;
use pullplug::env::run_now;
use pullplug::fs::Result;
use pullplug::fs::script::Actor;

/// A disk on which scripts are played.
pub struct Player {
    pub fs: SimFs,
    actor: Actor<SimFs>,
}

impl Player {
    /// A disk on which `setup` ran and is durable.
    pub fn after(setup: &str) -> Self {
        let mut player = Self::on(SimFs::new());
        player.run(setup);
        player.actor.close_all();
        player.fs.settle();
        player
    }

    /// Plays on a disk as it is.
    pub fn on(fs: SimFs) -> Self {
        Self { actor: Actor::new(fs.clone()), fs }
    }

    /// Runs a script of which every call must succeed.
    pub fn run(&mut self, script: &str) {
        for call in calls(script) {
            self.call(call).unwrap_or_else(|e| panic!("{call}: {e}"));
        }
    }

    /// Runs one call.
    pub fn call(&mut self, call: &str) -> Result<()> {
        run_now(self.actor.call(&call.parse().unwrap()))
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
