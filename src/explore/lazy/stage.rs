//! One execution that may be cut: which crash states there are, and which probes look at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::walk::{Columns, Ground, Under};
use crate::disk::crash;
use crate::disk::effect::Cut;
use crate::disk::model::Family;
use crate::disk::space::{Ask, AtomId, Bits, Count, Counter, Layers, Space};
use crate::disk::tree::Ino;
use crate::explore::{FailedSync, Run, Setting, Subject, minimise, states};
use crate::fs::FileKind;

/// Whose execution it is.
#[derive(Debug)]
pub(super) enum Kind {
    /// The workload's.
    Own,
    /// The workload's, of which the process crashed there and was restarted.
    Restarted(Cut),
    /// The workload's, of which that sync failed.
    Failed(FailedSync),
    /// A recovery's from a crash of the workload, however that had gone.
    Recovery {
        /// Where the process had crashed before, and was restarted.
        restarted_at: Option<Cut>,
        /// The sync that had failed before.
        failed_sync: Option<FailedSync>,
        /// The workload's space.
        workload: Arc<Space>,
        /// The recovery's, on one of the states that it runs on.
        recovery: Arc<Space>,
        /// How both are one.
        layers: Layers,
    },
}

/// Where the machine stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// In the workload.
    pub(super) cut: Cut,
    /// In the recovery from that, if it came to it.
    pub(super) in_recovery: Option<Cut>,
    /// How many marks had been passed.
    pub(super) marks: usize,
    /// How many atoms had been executed.
    pub(super) executed: usize,
}

/// One execution that may be cut.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) space: Arc<Space>,
    /// The crash states: what of these intervals is in a region. No two regions have a state in common.
    pub(super) intervals: Vec<Family>,
    pub(super) regions: Vec<Under>,
    pub(super) columns: Columns,
    /// Of each interval, where the machine stopped.
    pub(super) places: Vec<Place>,
    /// The inodes that a recovery changed; not known of others.
    pub(super) changed: BTreeSet<Ino>,
    /// Each probe, by its number, and the intervals that it looks at.
    pub(super) probes: Vec<(usize, Arc<[u32]>)>,
}

/// Everything that has a name in some crash state.
type Paths = Vec<(String, FileKind)>;

/// Which probes there are. Most stages have the same.
#[derive(Debug)]
pub(super) struct Plan<P> {
    numbers: BTreeMap<P, usize>,
    known: BTreeMap<(Vec<usize>, Paths), Assigned>,
}

/// Probes by their numbers, each with the numbers of marks at which it looks.
type Assigned = Arc<[(usize, Vec<usize>)]>;

impl<P: Clone + Ord> Plan<P> {
    /// No probes yet.
    pub(super) fn new() -> Self {
        Self { numbers: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// The probes, in the order of their numbers.
    pub(super) fn into_probes(self) -> Vec<P> {
        let mut probes: Vec<(usize, P)> = self.numbers.into_iter().map(|(probe, number)| (number, probe)).collect();
        probes.sort_by_key(|(number, _)| *number);
        probes.into_iter().map(|(_, probe)| probe).collect()
    }

    fn of<S: Subject<Probe = P>>(&mut self, subject: &S, marks: &[usize], paths: Paths) -> Assigned {
        let key = (marks.to_vec(), paths);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut assigned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for passed in marks {
            for probe in subject.probes(*passed, &key.1) {
                let next = self.numbers.len();
                let number = *self.numbers.entry(probe).or_insert(next);
                let at = assigned.entry(number).or_default();
                if at.last() != Some(passed) {
                    at.push(*passed);
                }
            }
        }
        let assigned: Assigned = assigned.into_iter().collect();
        self.known.insert(key, assigned.clone());
        assigned
    }
}

impl Stage {
    /// The cuts of `run`: of one that went another way from somewhere on, those behind that.
    pub(super) fn of(run: &Run, setting: Setting<'_>) -> Self {
        let space = Arc::new(crash::laid_out(run.base.clone(), &run.log, setting.model, setting.loss));
        let mut cuts = states::telling_cuts(space.records(), setting.model, setting.loss);
        cuts.retain(|cut| run.is_cut(*cut));
        let (mut intervals, mut places, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        let families = crash::families_at(&space, setting.model, setting.loss, &cuts);
        for (at, cut) in cuts.into_iter().enumerate() {
            let executed = crash::whole(&space, cut).len();
            let place = Place { cut, in_recovery: None, marks: run.marks_before(cut), executed };
            for number in families.at(at) {
                // At many cuts there is nothing that was not there before.
                if known.insert((place.marks, *number)) {
                    intervals.push(families.get(*number).clone());
                    places.push(place);
                }
            }
        }
        let kind = match (run.restarted_at, run.failed) {
            (_, Some(failed)) => Kind::Failed(failed.sync),
            (Some(cut), None) => Kind::Restarted(cut),
            (None, None) => Kind::Own,
        };
        let regions = vec![Under::none(&space, intervals.len())];
        let columns = Columns::of(&intervals, space.atoms().len());
        Self { kind, regions, columns, space, intervals, places, changed: BTreeSet::new(), probes: Vec::new() }
    }

    /// These of its intervals, to be walked over.
    pub(super) fn ground<'a>(&'a self, of: &'a [u32]) -> Ground<'a> {
        let Self { space, intervals, columns, regions, .. } = self;
        Ground { space, intervals, columns, of, regions }
    }

    /// Lets the probes for each number of marks look at what they are for.
    pub(super) fn look<S: Subject>(&mut self, subject: &S, plan: &mut Plan<S::Probe>) {
        let mut by_marks: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (at, place) in self.places.iter().enumerate() {
            by_marks.entry(place.marks).or_default().push(at as u32);
        }
        let marks: Vec<usize> = by_marks.keys().copied().collect();
        let mut known: BTreeMap<&[usize], Arc<[u32]>> = BTreeMap::new();
        for (probe, marks) in plan.of(subject, &marks, self.space.possible_paths()).iter() {
            let all = || {
                let all: BTreeSet<u32> = marks.iter().flat_map(|marks| by_marks[marks].iter().copied()).collect();
                all.into_iter().collect()
            };
            self.probes.push((*probe, known.entry(marks).or_insert_with(all).clone()));
        }
    }

    /// How many crash states there are: sets of survivors, by what was acknowledged.
    pub(super) fn count(&self) -> Count {
        let (mut sum, mut counter) = (Count::default(), Counter::of(&self.space));
        for under in &self.regions {
            let mut by_marks: BTreeMap<usize, Vec<&Family>> = BTreeMap::new();
            for at in under.met.iter().map(|at| *at as usize) {
                by_marks.entry(self.places[at].marks).or_default().push(&self.intervals[at]);
            }
            let counts = by_marks.values().map(|intervals| counter.count(&under.region, intervals.iter().copied()));
            counts.for_each(|count| sum += count);
        }
        sum
    }

    /// What was lost at a place of which these survived: of the workload, and of the recovery if that was cut.
    pub(super) fn lost(&self, place: Place, survivors: &Bits) -> (Vec<AtomId>, Option<(Cut, Vec<AtomId>)>) {
        match (&self.kind, place.in_recovery) {
            (Kind::Recovery { workload, recovery, layers, .. }, Some(cut)) => {
                let (first, second) = layers.part(survivors);
                let second = minimise::lost(recovery, cut, &second);
                (minimise::lost(workload, place.cut, &first), Some((cut, second)))
            }
            _ => (minimise::lost(&self.space, place.cut, survivors), None),
        }
    }

    /// Whether a reader that asks no more than this, of what a crash of the workload left, is told the same after a recovery
    /// from that which was cut: it changed nothing of what is asked.
    pub(super) fn recovery_changes_none_of(&self, asks: &[Ask<Ino>]) -> bool {
        let Kind::Recovery { workload, restarted_at: None, failed_sync: None, .. } = &self.kind else { return false };
        let first = workload.atoms().len();
        let is_changed = |ask| self.space.decides(ask).is_some_and(|atoms| atoms.iter().any(|id| *id >= first));
        let may_be = |ask: &&Ask<Ino>| match ask {
            Ask::Entry { .. } | Ask::Blocked { .. } => true,
            ask => self.changed.contains(&ask.about()),
        };
        !asks.iter().filter(may_be).any(is_changed)
    }

    /// Whether it is the workload's, without any crash before.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own)
    }

    /// Whether it is a recovery's: its states are under conditions.
    pub(super) fn is_recovery(&self) -> bool {
        matches!(self.kind, Kind::Recovery { .. })
    }

    /// At which numbers of marks these intervals lie.
    pub(super) fn marks(&self, of: &[u32]) -> BTreeSet<usize> {
        of.iter().map(|at| self.places[*at as usize].marks).collect()
    }

    /// Whether the workload went another way from somewhere on.
    pub(super) fn is_another_run(&self) -> bool {
        self.restarted_at().is_some() || self.failed_sync().is_some()
    }

    /// The sync that had failed before.
    pub(super) fn failed_sync(&self) -> Option<FailedSync> {
        match self.kind {
            Kind::Failed(sync) => Some(sync),
            Kind::Recovery { failed_sync, .. } => failed_sync,
            Kind::Own | Kind::Restarted(_) => None,
        }
    }

    /// Where the process had crashed before.
    pub(super) fn restarted_at(&self) -> Option<Cut> {
        match self.kind {
            Kind::Restarted(cut) => Some(cut),
            Kind::Recovery { restarted_at, .. } => restarted_at,
            Kind::Own | Kind::Failed(_) => None,
        }
    }
}
