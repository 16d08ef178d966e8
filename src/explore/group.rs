//! The cuts between two marks: what was acknowledged is the same for all of them.
//!
//! The states are generated cut by cut and looked at probe by probe, both on all cores. They are put in order in
//! between, where those are dropped whose tree was seen before, so that the outcome does not depend on the number of
//! threads.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rayon::prelude::*;

use super::judge::Judge;
use super::memo::{self, Memo};
use super::{Outcome, Setting, Subject, minimise, states};
use crate::disk::crash;
use crate::disk::effect::Cut;
use crate::disk::space::{Bits, Space, TreeHasher, View};

/// States that are generated, at most, before they are looked at (those of one cut may be more): what bounds the
/// memory.
const BATCH_STATES: usize = 16_384;
/// States that are looked at for one way in which recovery may run.
const STATES_PER_RECOVERY: usize = 256;

/// A crash state that is to be looked at.
pub(super) struct State {
    /// Where the machine stopped.
    pub(super) cut: Cut,
    /// What survived.
    pub(super) survivors: Bits,
    /// How many effects were lost.
    pub(super) lost: usize,
    /// What is known of its contents.
    contents: Box<[u64]>,
}

impl State {
    /// The state, to be asked.
    pub(super) fn view<'a>(&'a self, space: &'a Space) -> View<'a> {
        space.view_with(&self.survivors, &self.contents)
    }
}

/// The states of one cut, each with the hash of its tree, and whether these are all there are.
struct Generated {
    states: Vec<(u128, State)>,
    exhaustive: bool,
}

/// Trees that were seen, by their hashes.
#[derive(Default)]
struct Seen(HashTable<u128>);

impl Seen {
    /// Whether it is new; seen from now on.
    fn is_new(&mut self, hash: u128) -> bool {
        match self.0.entry(hash as u64, |h| *h == hash, |h| *h as u64) {
            Entry::Vacant(vacant) => {
                vacant.insert(hash);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

/// The cuts between two marks.
pub(super) struct Group<'a, S: Subject> {
    subject: &'a S,
    space: &'a Arc<Space>,
    setting: Setting<'a>,
    judges: Vec<Judge<S::Probe>>,
    outcome: Outcome<S::Probe>,
}

impl<'a, S: Subject> Group<'a, S> {
    /// A group that is judged by `judges`; what they know is of this space.
    pub(super) fn new(
        subject: &'a S,
        space: &'a Arc<Space>,
        setting: Setting<'a>,
        judges: Vec<Judge<S::Probe>>,
    ) -> Self {
        Self { subject, space, setting, judges, outcome: Outcome::default() }
    }

    /// Explores `cuts`, each with its budget of states. `recovery_budget` is for crashes during recovery; `None` where
    /// the crash is one already.
    pub(super) fn explore(&mut self, cuts: &[(Cut, usize)], recovery_budget: Option<usize>) {
        let (subject, space, setting) = (self.subject, self.space, self.setting);
        let probes: Vec<S::Probe> = self.judges.iter().map(|judge| judge.probe().clone()).collect();
        let mut recoveries = recovery_budget.map(|left| Recoveries {
            subject,
            space,
            setting,
            probes,
            known: Memo::default(),
            left,
            outcome: Outcome::default(),
        });
        let mut seen = Seen::default();
        let mut rest = cuts;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_len(rest));
            rest = later;
            let parts: Vec<Generated> =
                batch.par_iter().map(|(cut, budget)| generate(space, setting, *cut, *budget)).collect();
            let mut states = Vec::new();
            for part in parts {
                self.outcome.exhaustive &= part.exhaustive;
                states.extend(part.states.into_iter().filter(|(hash, _)| seen.is_new(*hash)).map(|(_, state)| state));
            }
            self.outcome.crash_states += states.len() as u64;
            rayon::join(
                || self.judges.par_iter_mut().for_each(|judge| judge.look(subject, space, &states)),
                || recoveries.iter_mut().for_each(|recoveries| recoveries.look(&states)),
            );
        }
        recoveries.into_iter().for_each(|recoveries| self.outcome.merge(recoveries.outcome));
    }

    /// All that was seen, and the judges for the next group.
    pub(super) fn finish(mut self) -> (Outcome<S::Probe>, Vec<Judge<S::Probe>>) {
        self.judges.iter_mut().for_each(|judge| self.outcome.merge(judge.take()));
        (self.outcome, self.judges)
    }
}

/// How many of these cuts are looked at together.
fn batch_len(cuts: &[(Cut, usize)]) -> usize {
    let mut states = 0;
    let fit = cuts.iter().take_while(|(_, budget)| {
        states += budget;
        states <= BATCH_STATES
    });
    fit.count().max(1)
}

/// The states of one cut, each tree once.
fn generate(space: &Space, setting: Setting<'_>, cut: Cut, budget: usize) -> Generated {
    let families = crash::families(space, setting.model, setting.loss, cut);
    let share = (budget / families.len().max(1)).max(states::MIN_STATES_PER_CUT);
    let executed = crash::whole(space, cut);
    let mut hasher = TreeHasher::new(space);
    let mut seen = Seen::default();
    let mut generated = Generated { states: Vec::new(), exhaustive: true };
    for (i, family) in families.iter().enumerate() {
        let stream = format!("states/{}/{:?}/{i}", cut.records, cut.inside);
        generated.exhaustive &= states::visit(space, family, share, setting.seed, &stream, &mut |survivors| {
            let hash = hasher.hash(survivors);
            if seen.is_new(hash) {
                let lost = executed.len() - survivors.len();
                let state = State { cut, survivors: survivors.clone(), lost, contents: hasher.contents().into() };
                generated.states.push((hash, state));
            }
        });
    }
    generated
}

/// Crashes during the recoveries from a group's states.
struct Recoveries<'a, S: Subject> {
    subject: &'a S,
    space: &'a Arc<Space>,
    setting: Setting<'a>,
    probes: Vec<S::Probe>,
    /// The ways in which recovery ran.
    known: Memo<()>,
    /// States that may still be looked at.
    left: usize,
    outcome: Outcome<S::Probe>,
}

impl<S: Subject> Recoveries<'_, S> {
    fn look(&mut self, states: &[State]) {
        states.iter().for_each(|state| self.recovery(state));
    }

    /// Crashes during the recovery from a state, once for each way in which recovery runs.
    fn recovery(&mut self, state: &State) {
        let view = state.view(self.space);
        if self.known.get(|question| view.answer(question)).is_some() {
            return;
        }
        let (log, asked) = memo::run_recording(self.space, &view, true, |disk| {
            // What recovery cannot do, the probes see: they recover too.
            let _ = self.subject.recover(disk);
            disk.snapshot().1
        });
        self.known.insert(&view, &asked, ());
        if log.iter().all(|r| r.effects().is_empty()) {
            return;
        }
        if self.left == 0 {
            return;
        }
        let budget = STATES_PER_RECOVERY.min(self.left);
        self.left -= budget;
        let space = Arc::new(crash::laid_out(view.tree(), &log.into(), self.setting.model, self.setting.loss));
        let cuts = states::telling_cuts(space.records(), self.setting.model, self.setting.loss);
        let share = (budget / cuts.len().max(1)).max(1);
        let cuts: Vec<(Cut, usize)> = cuts.into_iter().map(|cut| (cut, share)).collect();
        let judges = self.probes.iter().cloned().map(Judge::new).collect();
        let mut nested = Group::new(self.subject, &space, self.setting, judges);
        nested.explore(&cuts, None);
        let (mut part, _) = nested.finish();
        part.recovery_states = std::mem::take(&mut part.crash_states);
        // Coverage is told of the workload's own crashes alone.
        part.exhaustive = true;
        let outer = minimise::lost(self.space, state.cut, &state.survivors);
        for finding in part.findings.values_mut() {
            finding.in_recovery = Some((finding.cut, std::mem::take(&mut finding.lost)));
            finding.cut = state.cut;
            finding.lost.clone_from(&outer);
        }
        self.outcome.merge(part);
    }
}
