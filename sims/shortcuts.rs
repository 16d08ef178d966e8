//! The explorer's shortcuts held to doing it the long way: verdicts that are remembered, hashes that are carried over
//! from the state before, digests that are not computed, and many threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use pullplug::disk::SimFs;
use pullplug::disk::crash::{self, Loss};
use pullplug::disk::effect::Cut;
use pullplug::disk::model::{self, PersistenceModel};
use pullplug::disk::space::{Bits, Question, Space, TreeHasher};
use pullplug::explore::memo::{Memo, run_recording};
use pullplug::explore::{Budget, Observation, Outcome, Run, Setting, Subject, explore, states};
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::probe::Probe;
use pullplug::workload::subject::RegistrySubject;

/// A layer of a few sectors: enough to be torn in every way.
const LAYER_BYTES: usize = 2_500;

pub fn subject(strategy: &str, workload: &str) -> RegistrySubject {
    let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[LAYER_BYTES]);
    RegistrySubject::new(strategy, Workload::named(workload, &image(1), &image(2)).unwrap()).unwrap()
}

/// Some states of every `stride`th cut: cut and survivors.
pub fn some_states(space: &Space, model: &dyn PersistenceModel, stride: usize, of_a_cut: usize) -> Vec<(Cut, Bits)> {
    let mut found = Vec::new();
    for cut in states::telling_cuts(space.records(), model, Loss::PowerCut).into_iter().step_by(stride) {
        for family in crash::families(space, model, Loss::PowerCut, cut) {
            let mut all = Vec::new();
            states::visit(space, &family, 8 * of_a_cut, 1, "shortcuts", &mut |bits| all.push(bits.clone()));
            let apart = all.len().div_ceil(of_a_cut);
            found.extend(all.into_iter().step_by(apart).map(|bits| (cut, bits)));
        }
    }
    found
}

/// What a memo overlooks.
type Blind = fn(Question) -> Option<Taken>;

/// How an overlooked question is taken to be answered.
enum Taken {
    AsIfNothingWereLost,
    AsIfAllWereLost,
}

/// What is compared: probes, and the states of every so many cuts, so many of each.
struct Sample {
    probes: fn(&Probe) -> bool,
    stride: usize,
    of_a_cut: usize,
}

const ALL_PROBES: Sample = Sample { probes: |_| true, stride: 3, of_a_cut: 12 };
/// They alone compare digests, and few states matter to them: those in which the session is still there.
const UPLOADS: Sample = Sample { probes: |probe| matches!(probe, Probe::Upload { .. }), stride: 1, of_a_cut: 200 };

/// How often a memo, fed with all states, gives another verdict than the probe itself on a disk of its own; and how
/// often it gave one at all. The memo is blind to some questions: it takes them to be answered as if nothing were lost (or everything).
fn differences(
    (strategy, workload): (&str, &str),
    model: &dyn PersistenceModel,
    sample: &Sample,
    blind: Blind,
) -> (usize, usize) {
    let subject = subject(strategy, workload);
    let run = Run::of(&subject).unwrap();
    let space = Arc::new(Space::new(run.base.clone(), run.log.clone(), model));
    let paths = space.possible_paths();
    let mut hasher = TreeHasher::new(&space);
    let mut memos: BTreeMap<(usize, Probe), Memo<Vec<Observation>>> = BTreeMap::new();
    let (mut different, mut remembered) = (0, 0);
    for (cut, bits) in some_states(&space, model, sample.stride, sample.of_a_cut) {
        assert_eq!(hasher.hash(&bits), space.view(&bits).tree_hash(), "{cut}");
        let view = space.view_with(&bits, hasher.contents());
        let (whole, nothing) = (crash::whole(&space, cut), Bits::new(space.atoms().len()));
        let marks = run.marks_before(cut);
        for probe in subject.probes(marks, &paths).into_iter().filter(sample.probes) {
            let plain = subject.evaluate(&probe, &SimFs::with_tree(view.tree()));
            let memo = memos.entry((marks, probe.clone())).or_default();
            let answer = |question| match blind(question) {
                None => view.answer(question),
                Some(Taken::AsIfNothingWereLost) => space.view(&whole).answer(question),
                Some(Taken::AsIfAllWereLost) => space.view(&nothing).answer(question),
            };
            if let Some(verdict) = memo.get(answer) {
                remembered += 1;
                different += usize::from(*verdict != plain);
            } else if memo.get(|question| view.answer(question)).is_none() {
                let (verdict, asked) = run_recording(&space, &view, false, |disk| subject.evaluate(&probe, disk));
                assert_eq!(verdict, plain, "{probe:?} at {cut}");
                memo.insert(&view, &asked, verdict);
            }
        }
    }
    (different, remembered)
}

const CELLS: [((&str, &str), &dyn PersistenceModel); 5] = [
    (("distribution-2.8", "push"), &model::Ext4Ordered),
    (("distribution-3.1", "push"), &model::Posix),
    (("distribution-2.8", "resume"), &model::Ext4Writeback),
    (("durable", "resume"), &model::Posix),
    (("durable", "retag"), &model::Btrfs),
];

#[test]
fn remembered_verdicts_are_those_of_the_probe_itself() {
    for (cell, model) in CELLS {
        for sample in [ALL_PROBES, UPLOADS] {
            let (different, remembered) = differences(cell, model, &sample, |_| None);
            assert_eq!(different, 0, "{cell:?} under {}", model.name());
            assert!(remembered > 100 || cell.1 == "retag", "{cell:?} under {}: {remembered}", model.name());
        }
    }
}

/// The comparison above notices when any kind of question is overlooked.
#[test]
fn a_memo_that_overlooks_a_question_is_caught() {
    let kinds: [(&str, Sample, Blind); 3] = [
        ("bytes", ALL_PROBES, |q| matches!(q, Question::Content(_)).then_some(Taken::AsIfNothingWereLost)),
        ("names", ALL_PROBES, |q| matches!(q, Question::Entry { .. }).then_some(Taken::AsIfNothingWereLost)),
        // Right digests are followed by a look at the bytes.
        ("digests", UPLOADS, |q| matches!(q, Question::Prefix { .. }).then_some(Taken::AsIfAllWereLost)),
    ];
    for (what, sample, blind) in kinds {
        let (different, remembered) = differences(("distribution-2.8", "push"), &model::Posix, &sample, blind);
        assert!(different > 0, "{what}: {different} of {remembered}");
    }
}

fn on_threads(threads: usize, strategy: &str, workload: &str, model: &dyn PersistenceModel) -> Outcome<Probe> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let subject = subject(strategy, workload);
    let run = Run::of(&subject).unwrap();
    let budget = Budget { states: 2_000, recovery_states: 300, restart_states: 1_000 };
    let setting = Setting { model, loss: Loss::PowerCut, seed: 1, budget };
    pool.install(|| explore(&subject, &run, setting))
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for ((strategy, workload), model) in CELLS {
        let [one, three] = [1, 3].map(|threads| on_threads(threads, strategy, workload, model));
        assert_eq!(one, three, "{strategy} {workload} {}", model.name());
        assert!(one.crash_states > 50 && one.restart_states > 50 && one.executions > 0, "{strategy} {workload}");
    }
}

#[test]
fn cuts_inside_a_long_write_share_a_budget() {
    const STATES: usize = 100_000;
    let subject = RegistrySubject::new("distribution-3.1", {
        let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[40_000]);
        Workload::named("push", &image(1), &image(2)).unwrap()
    })
    .unwrap();
    let run = Run::of(&subject).unwrap();
    let cuts = states::telling_cuts(&run.log, &model::Posix, Loss::PowerCut);
    let budgets = states::budgets(&cuts, &run.log, STATES);
    let sum: usize = budgets.iter().sum();
    assert!(sum > STATES * 9 / 10 && sum <= STATES, "{sum}");
    let of = |at: &dyn Fn(&Cut) -> bool| -> Vec<usize> {
        cuts.iter().zip(&budgets).filter(|(cut, _)| at(cut)).map(|(_, budget)| *budget).collect()
    };
    let whole = of(&|cut| cut.inside.is_none());
    let edges = of(&|cut| cut.inside.is_some_and(|done| [1, 8, 72, 78].contains(&done)));
    let alike = of(&|cut| cut.inside.is_some_and(|done| ![1, 78].contains(&done) && done % 8 != 0));
    assert!(edges.len() >= 4 && alike.len() > 60, "{} {}", edges.len(), alike.len());
    assert!(edges.iter().chain(&whole).all(|budget| *budget == whole[0]), "{edges:?} {whole:?}");
    assert!(alike.iter().all(|budget| *budget > 0 && budget * 10 < whole[0]), "{alike:?}");
}
