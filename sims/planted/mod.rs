//! Planted bugs: every sync and every ordering is taken out of `durable`, one at a time, and the explorer must say what
//! that costs.
//!
//! A bug is planted from outside, by a hook between the strategy and the disk ([`bug`]). It stands in the processes
//! that serve clients, the one that is restarted after a crash included; what looks at the disk after a power cut is
//! whole. Each role (an operation and its call, digests and identifiers left out: [`pullplug::synthesis::roles`]) is planted once, in the
//! first workload that has it, at its first call: for another blob it is the same line of code.
//!
//! A bug is tried until something breaks that `durable` claims: by power cuts and process crashes from that call on,
//! under every model; by power cuts after a process crash and a restart; with two clients at once, the bug wherever
//! either makes that call ([`pairs`]); and with a sync that fails, the next one ([`subject`]). The tables name the first
//! of these that breaks something, and its smallest finding.
//!
//! A sync that nothing breaks without could go: there is none. Where nothing breaks when it is late, or when two calls
//! change places, their order is no rule: nothing is gained by it, and nothing lost. (That content is synced before it
//! gets its name is a rule only because of syncs that fail.) None of it is exhaustive: see the constants, and
//! [`cost::TELLING`] for the models under which pairs of calls change places.

mod bug;
mod cost;
mod pairs;
mod subject;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use pullplug::disk::model;
use pullplug::explore::Run;
use pullplug::workload::image::Image;
use pullplug::workload::subject::RegistrySubject;
use pullplug::workload::{NAMES, Workload};
use rayon::prelude::*;

use bug::{Bug, Plant};
use cost::Damage;
use pairs::{Pair, Together};
use pullplug::synthesis::roles::{Step, steps};
use subject::{Failure, How, Sabotaged};

/// Orders in which each pair runs with a bug, and without.
const ORDERS: u64 = 1;
const ORDERS_WITHOUT_BUG: u64 = 8;
/// Places at which the process crashes before it is restarted; more for a start's own sync, which matters only to
/// what the killed process before it had left.
const RESTARTS: usize = 3;
const RESTARTS_AT_START: usize = 40;

fn image(seed: u64) -> Image {
    Image::generated(seed, "v1".parse().unwrap(), &[])
}

fn workload(name: &str) -> RegistrySubject {
    RegistrySubject::new("durable", Workload::named(name, &image(1), &image(2)).unwrap()).unwrap()
}

/// What became of a bug.
enum Outcome {
    /// With it a later call, alone or in a pair, finds nothing to work on, so it would be found at once.
    Stuck,
    /// How it was tried when it broke something, and what it broke.
    Harmful(String, Damage),
    Spare,
}

fn outcome(subject: &RegistrySubject, step: &Step, bug: Bug, pairs: &[Pair]) -> Outcome {
    let plant = Plant { bug, call: step.role.call.clone(), nth: Some(step.nth) };
    let sabotaged = Sabotaged::new(subject, Some(&plant), None);
    let Ok(run) = Run::of(&sabotaged) else { return Outcome::Stuck };
    let from = sabotaged.struck_at().unwrap();
    let restarts = if step.role.call == "syncfs" { RESTARTS_AT_START } else { RESTARTS };
    let models: &[_] = if bug == Bug::Swapped { &cost::TELLING } else { &model::ALL };
    let mut damage = cost::of_power_cuts(&sabotaged, &run, Some(from), models);
    if damage.is_empty() {
        damage = cost::of_restarts(&sabotaged, &run, from, restarts, models);
    }
    if !damage.is_empty() {
        return Outcome::Harmful(String::new(), damage);
    }
    let everywhere = Plant { nth: None, ..plant.clone() };
    for (pair, seed) in pairs.iter().flat_map(|pair| (0..ORDERS).map(move |seed| (pair, seed))) {
        let together = Together::new(pair, Some(&everywhere), seed);
        let Ok(run) = Run::of(&together) else { return Outcome::Stuck };
        let Some(from) = together.struck_at() else { continue };
        let damage = cost::of_power_cuts(&together, &run, Some(from), models);
        if !damage.is_empty() {
            return Outcome::Harmful(format!("in {}, ", pair.name), damage);
        }
    }
    for how in How::ALL {
        let failing = Sabotaged::new(subject, Some(&plant), Some(Failure { nth: step.syncs_before, how }));
        let Ok(run) = Run::of(&failing) else { return Outcome::Stuck };
        let Some(from) = failing.failed_at() else { continue };
        let damage = cost::of_power_cuts(&failing, &run, Some(from), models);
        if !damage.is_empty() {
            return Outcome::Harmful(format!("after a failed sync {}, ", how.words()), damage);
        }
    }
    Outcome::Spare
}

/// The table of one kind of bug: for each workload, a row for each role that is new in it.
fn table(bug: Bug, role: impl Fn(&Step) -> String, wanted: impl Fn(&Step) -> bool) -> String {
    let (mut known, mut text) = (BTreeSet::new(), String::new());
    let pairs = Pair::all(&image(1), &image(2));
    for name in NAMES {
        let subject = workload(name);
        let steps: Vec<Step> = steps(&subject).unwrap().into_iter().filter(&wanted).collect();
        let steps = Step::firsts(steps, &mut known, &role);
        let outcomes: Vec<Outcome> = steps.par_iter().map(|step| outcome(&subject, step, bug, &pairs)).collect();
        writeln!(text, "{name}").unwrap();
        for (step, outcome) in steps.iter().zip(&outcomes) {
            if let Some(row) = row(outcome) {
                writeln!(text, "  {}\n      {row}", role(step)).unwrap();
            }
        }
        let stuck = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stuck)).count();
        if stuck > 0 {
            writeln!(text, "  and {stuck} that a later call needs as they are").unwrap();
        }
    }
    text
}

fn row(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Stuck => None,
        Outcome::Spare => Some("nothing breaks".to_owned()),
        Outcome::Harmful(how, damage) => {
            let (model, harm) = damage.iter().min_by_key(|(model, harm)| (*harm, **model))?;
            let models: Vec<&str> = damage.keys().copied().collect();
            let restart = if harm.size.0 { "after a process crash and a restart, " } else { "" };
            let lost = match harm.size.1 {
                0 => "nothing lost".to_owned(),
                n => format!("{n} lost: {}", harm.lost.join("; ")),
            };
            let (invariant, models) = (harm.invariant, models.join(", "));
            Some(format!("breaks under {models}\n      {invariant}, {model}: {how}{restart}{lost}"))
        }
    }
}

#[test]
fn every_sync_is_needed() {
    let text = table(Bug::Without, |step| step.role.to_string(), |step| step.is_sync);
    assert_table("planted-without", &text);
}

#[test]
fn no_sync_may_come_late() {
    let text = table(Bug::Late, |step| step.role.to_string(), |step| step.is_sync);
    assert_table("planted-late", &text);
}

/// Two calls that follow each other. A write that changes places with its sync is that sync left out.
#[test]
fn which_orders_are_rules() {
    let can_wait = |step: &Step| {
        let word = step.role.call.split(' ').next().unwrap();
        !matches!(word, "write" | "open-create") && !step.next.is_empty()
    };
    let role = |step: &Step| format!("{}: {}, then {}", step.role.verb, step.role.call, step.next);
    assert_table("planted-swapped", &table(Bug::Swapped, role, can_wait));
}

#[test]
fn durable_keeps_what_it_claims_with_two_clients_at_once() {
    let pairs = Pair::all(&image(1), &image(2));
    let cells: Vec<(&Pair, u64)> =
        pairs.iter().flat_map(|p| (0..ORDERS_WITHOUT_BUG).map(move |seed| (p, seed))).collect();
    cells.par_iter().for_each(|(pair, seed)| {
        let together = Together::new(pair, None, *seed);
        let run = Run::of(&together).unwrap_or_else(|e| panic!("{} {seed}: {e}", pair.name));
        let damage = cost::of_power_cuts(&together, &run, None, &model::ALL);
        assert!(damage.is_empty(), "{} in order {seed}: {damage:#?}", pair.name);
    });
}

/// That nothing is found in pairs says something: what is known to be a bug is found there too.
#[test]
fn pairs_find_bugs() {
    let calls = [
        "fsync _layers/sha256/HEX",
        "fdatasync _manifests/revisions/sha256/HEX/link.ID.tmp",
        "fsync _manifests/tags/v1/current",
        "fsync _manifests/tags/v1/current",
        "fdatasync _uploads/ID/data",
    ];
    for (pair, call) in Pair::all(&image(1), &image(2)).iter().zip(calls) {
        let plant = Plant { bug: Bug::Without, call: call.to_owned(), nth: None };
        let is_found = |order| {
            let together = Together::new(pair, Some(&plant), order);
            let run = Run::of(&together).unwrap();
            assert!(together.struck_at().is_some(), "{}: there is no {call}", pair.name);
            !cost::of_power_cuts(&together, &run, together.struck_at(), &cost::TELLING[..1]).is_empty()
        };
        assert!((0..8).any(is_found), "{}: {call} may be left out", pair.name);
    }
}

/// Every sync fails once; then the process is restarted and the clients try again.
#[test]
fn durable_keeps_what_it_claims_after_a_failed_sync() {
    let mut known = BTreeSet::new();
    for name in NAMES {
        let subject = workload(name);
        let syncs = steps(&subject).unwrap().into_iter().filter(|step| step.is_sync).collect();
        let syncs = Step::firsts(syncs, &mut known, |step| step.role.to_string());
        syncs.par_iter().flat_map(|step| How::ALL.map(|how| (step, how))).for_each(|(step, how)| {
            let failing = Sabotaged::new(&subject, None, Some(Failure { nth: step.syncs_before, how }));
            let run = Run::of(&failing).unwrap();
            let from = failing.failed_at().unwrap_or_else(|| panic!("{name}: {} did not fail", step.role.call));
            let damage = cost::of_power_cuts(&failing, &run, Some(from), &model::ALL);
            assert!(
                damage.is_empty(),
                "{name}: {}: {} failed, {}: {damage:#?}",
                step.role.verb,
                step.role.call,
                how.words()
            );
        });
    }
}

fn assert_table(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
