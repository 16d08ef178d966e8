//! Whether a model allows what a file system does.
//!
//! A script is played on the real file system and on the simulated one, and each image of the recorded disk is judged:
//! what the file system shows of it must be a crash state at a cut that fits. What does not fit is a disagreement; it is
//! shrunk by leaving out calls, as long as the same model disagrees with some image of what is left.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use super::image::{Chosen, Logged, Way, forgetful, prefixes, reordered};
use super::machine::Machine;
use crate::disk::SimFs;
use crate::disk::crash::{Loss, families, free_atoms, survivors};
use crate::disk::describe::shown;
use crate::disk::effect::{Cut, Record, cuts};
use crate::disk::model::PersistenceModel;
use crate::disk::space::{Bits, Space};
use crate::disk::tree::Tree;
use crate::env::choice::{DepthFirst, Seeded};
use crate::env::clock::Stopwatch;
use crate::env::run_now;
use crate::fs::real::RealFs;
use crate::fs::script::{Actor, Call, Script};

/// Images of each run in which writes are reordered.
const REORDERED_PER_RUN: usize = 12;
/// Images of each run that are a control.
const FORGETFUL_PER_RUN: usize = 1;
/// Most crash states that are looked at for the nearest one.
const NEAREST_OF: usize = 4000;
/// Most crash states that are listed.
const LISTED: usize = 20_000;
/// Most scripts that are tried while one is shrunk.
const SHRINK_TRIES: usize = 80;

/// A crash that a model does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The model.
    pub model: String,
    /// The calls, as few as were found to show it.
    pub script: String,
    /// The image, in words.
    pub image: String,
    /// How far the calls had come.
    pub cut: String,
    /// What the file system shows of it.
    pub tree: String,
    /// What the model would allow instead, as near as there is.
    pub nearest: String,
}

/// One call of a script, as it was made.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// How long the simulated disk's log was after it.
    records: usize,
    /// How long the real disk's log was when it began.
    started: usize,
    /// And when it had returned.
    returned: usize,
}

/// A script that was played.
#[derive(Debug)]
pub struct Played {
    base: Tree,
    records: Vec<Record>,
    steps: Vec<Step>,
    log: Vec<Logged>,
    calls: Vec<Call>,
}

impl Played {
    /// Plays a script on both, with noise between the calls where a stream for it is given. `Err` within: the two do not
    /// do the same.
    ///
    /// Errors: the machine fails.
    pub fn of(
        machine: &mut Machine,
        script: &Script,
        mut noise: Option<&mut Seeded>,
    ) -> io::Result<Result<Self, String>> {
        let mut sim = Actor::new(SimFs::new());
        machine.start()?;
        let mut done = Ok(());
        {
            let mut real = Actor::new(root(machine)?);
            script.setup.iter().for_each(|call| done = done.clone().and_then(|()| both(&mut sim, &mut real, call)));
        }
        sim.close_all();
        sim.fs.settle();
        machine.settle()?;
        let mut real = Actor::new(root(machine)?);
        let mut steps = Vec::new();
        for call in &script.calls {
            if let Some(stream) = noise.as_deref_mut() {
                machine.kind().noise(&machine.dir(), &real, stream)?;
            }
            let started = machine.position()?;
            done = done.and_then(|()| both(&mut sim, &mut real, call));
            steps.push(Step { records: sim.fs.records(), started, returned: machine.position()? });
        }
        if let Some(stream) = noise {
            machine.kind().noise(&machine.dir(), &real, stream)?;
            machine.kind().write_all_back(&machine.dir())?;
        }
        let (base, records) = sim.fs.snapshot();
        drop(real);
        let log = machine.stop()?;
        Ok(done.map(|()| Self { base, records, steps, log, calls: script.calls.clone() }))
    }

    /// Where the calls may have been when the power went.
    fn cuts(&self, position: usize) -> Vec<Cut> {
        let done = self.returned(position);
        let from = if done == 0 { 0 } else { self.steps[done - 1].records };
        let inside = self.steps.get(done).filter(|next| next.started < position);
        let to = inside.map_or(from, |next| next.records);
        let at_or_after = |cut: &Cut| *cut >= Cut::after(from);
        cuts(&self.records).into_iter().filter(at_or_after).take_while(|cut| *cut <= Cut::after(to)).collect()
    }

    /// How many calls had returned.
    fn returned(&self, position: usize) -> usize {
        self.steps.iter().take_while(|step| step.returned <= position).count()
    }

    /// The same in words.
    fn cut_told(&self, position: usize) -> String {
        let done = self.returned(position);
        match self.steps.get(done).filter(|next| next.started < position) {
            Some(_) => format!("in call {}, {}", done + 1, self.calls[done]),
            None if done == 0 => "before the first call".to_owned(),
            None => format!("after call {done}, {}", self.calls[done - 1]),
        }
    }

    /// The images to look at, less the controls.
    fn images(&self, superblock: (u64, u64), stream: &mut Seeded) -> Vec<Chosen> {
        let mut all = prefixes(&self.log);
        all.extend(reordered(&self.log, REORDERED_PER_RUN, superblock, stream));
        all
    }

    fn space(&self, model: &dyn PersistenceModel) -> Space {
        Space::new(self.base.clone(), self.records.clone().into(), model)
    }

    /// The crash state of the model that the tree is, as what survived; `None` if it is not allowed.
    fn admits(&self, space: &Space, model: &dyn PersistenceModel, position: usize, tree: &Tree) -> Option<Bits> {
        let at = |cut| families(space, model, Loss::PowerCut, cut);
        self.cuts(position).into_iter().find_map(|cut| space.admits(&at(cut), tree))
    }

    /// All states that the model allows, wherever the power goes; `None` if they are too many.
    fn allowed(&self, space: &Space, model: &dyn PersistenceModel) -> Option<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        let mut left = LISTED;
        for cut in cuts(&self.records) {
            for family in families(space, model, Loss::PowerCut, cut) {
                let free = free_atoms(&family);
                let mut chooser = DepthFirst::default();
                loop {
                    left = left.checked_sub(1)?;
                    all.insert(shown(&space.view(&survivors(space, &family, &free, &mut chooser)).tree()));
                    if !chooser.advance() {
                        break;
                    }
                }
            }
        }
        Some(all)
    }

    /// Of the states that the model allows, some at least, the one that looks most like the tree.
    fn nearest(&self, space: &Space, model: &dyn PersistenceModel, position: usize, tree: &str) -> String {
        let wanted: Vec<&str> = tree.split(' ').collect();
        let mut best: Option<(usize, String)> = None;
        let mut left = NEAREST_OF;
        for cut in self.cuts(position) {
            for family in families(space, model, Loss::PowerCut, cut) {
                let free = free_atoms(&family);
                let mut chooser = DepthFirst::default();
                while left > 0 {
                    left -= 1;
                    let state = shown(&space.view(&survivors(space, &family, &free, &mut chooser)).tree());
                    let has: Vec<&str> = state.split(' ').collect();
                    let missing = |of: &[&str], in_: &[&str]| of.iter().filter(|word| !in_.contains(word)).count();
                    let distance = missing(&wanted, &has) + missing(&has, &wanted);
                    if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                        best = Some((distance, state));
                    }
                    if !chooser.advance() {
                        break;
                    }
                }
            }
        }
        best.map_or_else(|| "nothing".to_owned(), |(_, state)| state)
    }
}

fn root(machine: &Machine) -> io::Result<RealFs> {
    RealFs::open_root(&machine.dir()).map_err(io::Error::other)
}

/// Makes a call on both.
fn both(sim: &mut Actor<SimFs>, real: &mut Actor<RealFs>, call: &Call) -> Result<(), String> {
    match (run_now(sim.call(call)), run_now(real.call(call))) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(a), Err(b)) if a.kind == b.kind => Err(format!("{call} fails: {a}")),
        (simulated, real) => Err(format!("{call}: the simulated disk says {simulated:?}, the real one {real:?}")),
    }
}

/// What one run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The images, and how long each took, in microseconds.
    pub images: Vec<(Way, u64)>,
    /// How many of the controls showed a loss.
    pub caught: u64,
    /// By model: the first image that it does not allow.
    pub disagreements: Vec<Disagreement>,
    /// What the first model allows at any time, if it was asked for and can be listed.
    pub allowed: BTreeSet<String>,
    /// What was seen, by how far the calls had come.
    pub seen: BTreeSet<(usize, String, String)>,
    /// Which of the allowed states these were. (Of stale bytes a model does not know what they are.)
    pub met: BTreeSet<String>,
    /// What was seen and is not one of them.
    pub forbidden: BTreeSet<String>,
}

impl Outcome {
    /// An image that is a crash state of the first model, or is not.
    fn judged(&mut self, words: &str, state: Option<String>) {
        match state {
            Some(state) => {
                let exactly = self.allowed.contains(words);
                self.met.insert(if exactly { words.to_owned() } else { state });
            }
            None => drop(self.forbidden.insert(words.to_owned())),
        }
    }
}

/// How a script is played.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Say what the first model allows.
    pub lists: bool,
    /// Have the kernel write back and commit between the calls, as it may by itself.
    pub is_noisy: bool,
}

/// Plays a script and judges its images under the models, the first disagreement of each. `tick` is told of every image.
///
/// Errors: the machine fails.
pub fn run(
    machine: &mut Machine,
    script: &Script,
    models: &[&'static dyn PersistenceModel],
    how: How,
    stream: &mut Seeded,
    tick: &mut dyn FnMut(),
) -> io::Result<Result<Outcome, String>> {
    let played = match Played::of(machine, script, how.is_noisy.then_some(&mut *stream))? {
        Ok(played) => played,
        Err(why) => return Ok(Err(why)),
    };
    let spaces: Vec<Space> = models.iter().map(|model| played.space(*model)).collect();
    let mut outcome = Outcome::default();
    if let Some((space, model)) = spaces.first().zip(models.first()).filter(|_| how.lists) {
        outcome.allowed = played.allowed(space, *model).unwrap_or_default();
    }
    let mut images = played.images(machine.kind().superblock, stream);
    images.extend(forgetful(&played.log, FORGETFUL_PER_RUN, stream));
    for chosen in images {
        let watch = Stopwatch::start();
        let tree = machine.after(&chosen.image)?;
        outcome.images.push((chosen.way, watch.elapsed().as_micros() as u64));
        tick();
        if chosen.way == Way::Forgetful {
            let own = spaces.first().zip(models.first());
            let allowed = |tree: &Tree| own.is_some_and(|(s, m)| played.admits(s, *m, chosen.position, tree).is_some());
            outcome.caught += u64::from(!tree.is_ok_and(|tree| allowed(&tree)));
            continue;
        }
        let words = tree.as_ref().map_or_else(String::clone, shown);
        outcome.seen.insert((played.returned(chosen.position), played.cut_told(chosen.position), words.clone()));
        for (nth, (space, model)) in spaces.iter().zip(models).enumerate() {
            let is_known = outcome.disagreements.iter().any(|d| d.model == model.name());
            if is_known && nth > 0 {
                continue;
            }
            let state = tree.as_ref().ok().and_then(|tree| played.admits(space, *model, chosen.position, tree));
            if nth == 0 {
                outcome.judged(&words, state.as_ref().map(|bits| shown(&space.view(bits).tree())));
            }
            if is_known || state.is_some() {
                continue;
            }
            outcome.disagreements.push(Disagreement {
                model: model.name().to_owned(),
                script: script.to_string(),
                image: chosen.told(&played.log),
                cut: played.cut_told(chosen.position),
                nearest: played.nearest(space, *model, chosen.position, &words),
                tree: words.clone(),
            });
        }
    }
    Ok(Ok(outcome))
}

/// Leaves out calls of a script, as long as `model` disagrees with what is left.
///
/// Errors: the machine fails.
pub fn shrink(
    machine: &mut Machine,
    script: &Script,
    model: &'static dyn PersistenceModel,
    found: Disagreement,
    how: How,
    stream: &mut Seeded,
    tick: &mut dyn FnMut(),
) -> io::Result<Disagreement> {
    let (mut script, mut found) = (script.clone(), found);
    let mut tries = SHRINK_TRIES;
    let mut at = 0;
    while tries > 0 && at < script.setup.len() + script.calls.len() {
        // From the end: later calls are needed least.
        let mut less = script.clone();
        match (script.calls.len() + script.setup.len() - 1 - at).checked_sub(script.setup.len()) {
            Some(call) => drop(less.calls.remove(call)),
            None => drop(less.setup.remove(script.setup.len() + script.calls.len() - 1 - at)),
        }
        tries -= 1;
        let again = run(machine, &less, &[model], How { lists: false, ..how }, stream, tick)?;
        match again.ok().and_then(|outcome| outcome.disagreements.into_iter().next()) {
            Some(smaller) => (script, found) = (less, smaller),
            None => at += 1,
        }
    }
    Ok(found)
}
