//! The smallest sets of syncs that a strategy lacks.
//!
//! Guided by counterexamples: each demands a sync that would not allow it, and the model says which of the candidates
//! those are. The smallest choice that serves all demands is tried next; what still breaks with it is a new demand. When
//! it is proved that nothing does, there is no smaller set: every smaller one leaves a known counterexample as it is.
//! Where no candidate helps against a counterexample, nor all at once, its invariant is beyond help by syncs.
//!
//! Where crash states are one family and nothing is overwritten, syncs **add up**: what one forces does not depend on the
//! others, and what is allowed stays. More syncs leave fewer states, and of many that do not help together none does:
//! those that do are looked for by halves. Demands are exact then, and so is what is said of sizes.
//!
//! Under `btrfs` a sync may also make a crash state: a log holds what was synced, and not what came before it. So each
//! candidate is tried alone, against what becomes of the counterexample with it (`persists`), and a demand may be
//! given some of the candidates: it is one only for those who choose these. What several candidates do together is
//! concluded from what each does, and so nothing smaller is certain not to do but no sync at all, or one.
//!
//! Candidates are syncs of files and directories right after any call that changes them, and a syncfs when a process
//! starts, which is for what a killed one left.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::altered::{Addition, Alteration, What};
use super::bench::{Answer, Baseline, Bench, Breach};
use super::cover::{self, Demand, Set};
use super::persists::Carried;
use super::roles::{Role, START};
use crate::disk::effect::{Effect, Record, cuts};
use crate::disk::model::PersistenceModel;
use crate::disk::space::Space;
use crate::explore::lazy::NoProof;
use crate::explore::replay::Crash;
use crate::explore::{Finding, Run};
use crate::fs::split;
use crate::fs::trace::Call;
use crate::strategy::Protocol;
use crate::workload::probe::Probe;

/// What a strategy lacks under a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// The smallest sets of syncs that make it safe, each proved. An empty one: it lacks none.
    pub sets: Vec<Vec<Addition>>,
    /// Whether these are all of that size.
    pub is_all: bool,
    /// Whether no smaller set makes it safe.
    pub is_smallest: bool,
    /// Of each invariant that no added syncs keep, a counterexample that is one in spite of all of them.
    pub beyond: BTreeMap<&'static str, Breach>,
    /// How many counterexamples led there.
    pub counterexamples: usize,
    /// Whether a proof was given up: the sets are not known then.
    pub gave_up: bool,
}

/// The syncs that might be added.
fn candidates(baseline: &Baseline) -> Vec<Addition> {
    let roles: BTreeMap<_, _> = baseline.roles.iter().flatten().collect();
    let dir = |path| split(path).map(|(dir, _)| dir);
    let start = Role { verb: START, call: "start".to_owned() };
    let mut all = vec![Addition { after: start, what: What::All }];
    for (role, call) in roles {
        let what: &[What] = match call {
            Call::Write { .. } | Call::Truncate { .. } => &[What::File],
            Call::Rename { from, to } if dir(from) != dir(to) => &[What::File, What::Dir, What::OldDir],
            Call::Rename { .. } | Call::Link { .. } => &[What::File, What::Dir],
            Call::OpenCreate { .. } | Call::Unlink { .. } | Call::Mkdir { .. } | Call::Rmdir { .. } => &[What::Dir],
            _ => &[],
        };
        all.extend(what.iter().map(|what| Addition { after: role.clone(), what: *what }));
    }
    all
}

/// What is tried, and what is known of it.
struct Search<'a, P> {
    bench: &'a Bench<'a, P>,
    model: &'a dyn PersistenceModel,
    candidates: Vec<Addition>,
    /// By workload: those that make a difference to its run, or to what comes after a crash.
    telling: Vec<Set>,
    /// Whether each sync forces what it forces, whatever other syncs there are: so where crash states are one family, and
    /// nothing is overwritten.
    adds_up: bool,
    /// Each with the invariant that it is made for.
    demands: Vec<(&'static str, Demand)>,
    found: Mended,
}

impl<P: Protocol> Bench<'_, P> {
    /// The smallest sets of added syncs, at most `limit`, with which the strategy keeps what `asked` says. `done` is
    /// told of each set that is tried: how many counterexamples there are by then, and its size.
    ///
    /// Errors: a finding cannot be shown again.
    pub fn mend(
        &self,
        baseline: &Baseline,
        model: &dyn PersistenceModel,
        asked: &(dyn Fn(&str) -> bool + Sync),
        limit: usize,
        mut done: impl FnMut(usize, usize),
    ) -> Result<Mended, NoProof> {
        let is_safe = |broken: &Option<BTreeSet<&str>>| broken.as_ref().is_some_and(|b| !b.iter().any(|i| asked(i)));
        if baseline.broken.iter().all(is_safe) {
            return Ok(Mended { sets: vec![Vec::new()], is_all: true, is_smallest: true, ..Mended::default() });
        }
        let adds_up = self.adds_up(model);
        let mut search = Search::new(self, baseline, model, adds_up);
        let (mut safe, mut is_all): (Vec<Set>, bool) = (Vec::new(), false);
        loop {
            let next = cover::smallest(search.demands.iter().map(|(_, demand)| demand), &safe);
            let Some(set) = next.filter(|set| safe.first().is_none_or(|known| known.len() == set.len())) else {
                is_all = true;
                break;
            };
            if safe.len() == limit {
                break;
            }
            done(search.found.counterexamples, set.len());
            let breaches = match search.breaches(&set, asked)? {
                Some(breaches) => breaches,
                None => {
                    search.found.gave_up = true;
                    break;
                }
            };
            let is_safe = breaches.is_empty();
            search.learn_all(&set, breaches)?;
            if is_safe {
                safe.push(set);
            }
        }
        let mut found = search.found;
        // What a demand says of a single sync was tried, of several together it was concluded.
        let size = safe.first().map_or(0, Set::len);
        found.is_smallest = adds_up || size <= 2;
        found.is_all = is_all && (adds_up || size <= 1);
        let named = |set: Set| set.into_iter().map(|i| search.candidates[i].clone()).collect();
        found.sets = if found.gave_up { Vec::new() } else { safe.into_iter().map(named).collect() };
        Ok(found)
    }
}

impl<P: Protocol> Bench<'_, P> {
    /// As [`Search::adds_up`].
    fn adds_up(&self, model: &dyn PersistenceModel) -> bool {
        self.subjects.iter().all(|subject| {
            Run::of(subject).is_ok_and(|run| {
                let space = Space::new(run.base.clone(), run.log.clone(), model);
                let cuts = cuts(&run.log);
                cuts.iter().all(|cut| model.families(&space, *cut).len() == 1)
                    && cuts.par_iter().all(|cut| !overwrites(&run.restarted(subject, *cut).log))
            })
        })
    }
}

/// Whether any write leaves all but bytes as it was: what a syncfs does to such a one may depend on the sync before it.
fn overwrites(log: &[Record]) -> bool {
    let is_block = |effect: &Effect| matches!(effect, Effect::Block { .. });
    log.iter().any(|record| !record.effects().is_empty() && record.effects().iter().all(is_block))
}

impl<'a, P: Protocol> Search<'a, P> {
    fn new(bench: &'a Bench<'a, P>, baseline: &Baseline, model: &'a dyn PersistenceModel, adds_up: bool) -> Self {
        let candidates = candidates(baseline);
        let telling = |roles: &BTreeMap<_, _>| {
            let tells = |a: &Addition| a.what == What::All || roles.contains_key(&a.after);
            candidates.iter().enumerate().filter(|(_, a)| tells(a)).map(|(i, _)| i).collect()
        };
        let telling = baseline.roles.iter().map(telling).collect();
        Self { bench, model, candidates, telling, adds_up, demands: Vec::new(), found: Mended::default() }
    }

    fn alteration(&self, set: &Set) -> Alteration {
        Alteration::adding(set.iter().map(|i| &self.candidates[*i]))
    }

    /// What still breaks with a set; `None` if that is not known. Nothing is proved while something is seen.
    fn breaches(&self, set: &Set, asked: &(dyn Fn(&str) -> bool + Sync)) -> Result<Option<Vec<Breach>>, NoProof> {
        let wanted = |invariant: &str| asked(invariant) && !self.found.beyond.contains_key(invariant);
        let alteration = self.alteration(set);
        let breach = |workload, finding: Finding<Probe>| Breach { workload, alteration: alteration.clone(), finding };
        for prove_it in [false, true] {
            let (mut breaches, mut unknown) = (Vec::new(), false);
            for workload in 0..self.bench.subjects.len() {
                match self.bench.ask(workload, alteration.clone(), self.model, &wanted, prove_it)? {
                    Answer::Broken(findings) => breaches.extend(findings.into_iter().map(|f| breach(workload, f))),
                    Answer::Proved => {}
                    Answer::Unknown | Answer::Stuck => unknown = true,
                }
                if prove_it && !breaches.is_empty() {
                    break;
                }
            }
            if !breaches.is_empty() {
                return Ok(Some(breaches));
            }
            if prove_it && unknown {
                return Ok(None);
            }
        }
        Ok(Some(Vec::new()))
    }

    /// Learns from what was seen: of breaches that are one crash, from one.
    fn learn_all(&mut self, set: &Set, breaches: Vec<Breach>) -> Result<(), NoProof> {
        let mut known: Vec<(usize, Crash)> = Vec::new();
        for breach in breaches {
            let crash = (breach.workload, Crash::from(&breach.finding));
            if !known.contains(&crash) && self.learn(set, breach)? {
                known.push(crash);
            }
        }
        Ok(())
    }

    /// Demands a sync that does not allow a breach, or gives its invariant up. Tells whether there is a demand.
    fn learn(&mut self, set: &Set, breach: Breach) -> Result<bool, NoProof> {
        let (workload, invariant) = (breach.workload, breach.finding.invariant);
        let not_again = |why: String| NoProof::NotAgain { invariant, why };
        let subject = self.bench.altered(workload, breach.alteration.clone());
        let run = Run::of(&subject).map_err(not_again)?;
        let carried =
            Carried::new(&subject, &run, self.model, &breach.finding).map_err(|e| not_again(e.to_string()))?;
        let persists = |set: &Set| {
            let altered = self.bench.altered(workload, self.alteration(set));
            Run::of(&altered).is_ok_and(|run| carried.on(&altered, &run, self.model).is_some())
        };
        let given = fewest(set, &persists);
        let helps = |more: &Set| !persists(&given.union(more).copied().collect());
        let telling: Set = self.telling[workload].difference(set).copied().collect();
        let mut options = self.helpful(&telling, &helps);
        if options.is_empty() && helps(&telling) {
            // Only several together help: some of them, perhaps not the fewest.
            options.push(fewest(&telling, &helps));
        }
        if options.is_empty() && given.is_empty() {
            let alteration = Alteration::default();
            let subject = self.bench.altered(workload, alteration.clone());
            let on =
                |run| carried.on(&subject, &run, self.model).ok_or("it is not there without added syncs".to_owned());
            let finding = Run::of(&subject).and_then(on).map_err(not_again)?;
            // What it demanded so far is not needed for the others.
            self.demands.retain(|(of, _)| *of != invariant);
            self.found.beyond.entry(invariant).or_insert(Breach { workload, alteration, finding });
            return Ok(false);
        }
        self.found.counterexamples += 1;
        let demand = Demand { given, options };
        if !self.demands.iter().any(|(_, known)| *known == demand) {
            self.demands.push((invariant, demand));
        }
        Ok(true)
    }

    /// Those that help alone. Where syncs add up, none does of many that do not help together.
    fn helpful(&self, all: &Set, helps: &(dyn Fn(&Set) -> bool + Sync)) -> Vec<Set> {
        if !self.adds_up {
            let singles: Vec<Set> = all.iter().map(|one| Set::from([*one])).collect();
            return singles.into_par_iter().filter(helps).collect();
        }
        let Some(middle) = all.iter().nth(all.len() / 2).filter(|_| helps(all)) else { return Vec::new() };
        let mut low = all.clone();
        let high = low.split_off(middle);
        if low.is_empty() {
            return vec![high];
        }
        let (low, high) = rayon::join(|| self.helpful(&low, helps), || self.helpful(&high, helps));
        [low, high].concat()
    }
}

/// None if that is so of none already, else what is left of `all` when none can be spared.
fn fewest(all: &Set, is_so: &dyn Fn(&Set) -> bool) -> Set {
    if is_so(&Set::new()) {
        return Set::new();
    }
    let mut some = all.clone();
    for one in all {
        some.remove(one);
        if !is_so(&some) {
            some.insert(*one);
        }
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::model::Posix;
    use crate::workload::Workload;
    use crate::workload::image::Image;
    use crate::workload::subject::RegistrySubject;

    /// Where syncs add up, more of them leave fewer crash states: who looks by halves finds what trying each finds.
    #[test]
    fn halves_find_what_each_alone_does() {
        let image = Image::generated(1, "v1".parse().unwrap(), &[]);
        let push = Workload::named("push", &image, &image).unwrap();
        let subjects = [RegistrySubject::new("distribution-3.1", push).unwrap()];
        let bench = Bench { subjects: &subjects, seed: 1 };
        let baseline = bench.baseline(&Posix, |_| false, || {}).unwrap();
        assert!(bench.adds_up(&Posix) && !bench.adds_up(&crate::disk::model::Btrfs));
        let demands = |adds_up| {
            let mut search = Search::new(&bench, &baseline, &Posix, adds_up);
            let breaches = search.breaches(&Set::new(), &|_| true).unwrap().unwrap();
            search.learn_all(&Set::new(), breaches).unwrap();
            assert!(search.found.beyond.contains_key("upload-offset-true"));
            search.demands
        };
        let by_halves = demands(true);
        assert_eq!(by_halves, demands(false));
        let sizes: Vec<usize> = by_halves.iter().map(|(_, demand)| demand.options.len()).collect();
        assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 1), "{sizes:?}");
    }
}
