//! Two clients at once, under every interleaving within a bound.

use std::collections::{BTreeMap, BTreeSet};

use num_bigint::BigUint;
use pullplug::disk::crash::Loss;
use pullplug::disk::model::{self, PersistenceModel};
use pullplug::explore::interleave::search::{Coverage, Search};
use pullplug::explore::interleave::{Found, Member, Schedule, explore_all, prove_all};
use pullplug::explore::lazy::Limits;
use pullplug::explore::replay::{Crash, reproduce};
use pullplug::explore::{Budget, Setting};
use pullplug::strategy::Protocol;
use pullplug::workload::image::Image;
use pullplug::workload::pair::{PAIRS, Pair};
use pullplug::workload::probe::Probe;
use pullplug::workload::together::{Stage, Together};

use crate::harness::foreign::Hasty;

fn image(seed: u64) -> Image {
    Image::generated(seed, "v1".parse().unwrap(), &[])
}

fn stage<P: Protocol>(strategy: P, pair: &str) -> Stage<P> {
    Stage::new(strategy, Pair::named(pair, &image(1), &image(2)).unwrap()).unwrap()
}

fn search<P: Protocol>(stage: &Stage<P>, preemptions: usize, reduce: bool) -> (Vec<Together<'_, P>>, Coverage) {
    Search { preemptions, reduce }.all(|schedule| stage.run(schedule)).unwrap()
}

fn found<P: Protocol>(runs: &[Together<'_, P>], model: &dyn PersistenceModel, states: usize) -> Found<Probe> {
    explore_all(&members(runs), setting(model, states))
}

fn members<'r, P: Protocol>(runs: &'r [Together<'_, P>]) -> Vec<Member<'r, Together<'r, P>>> {
    runs.iter().map(|run| Member { subject: run, run: &run.run, known: run.differs_from() }).collect()
}

fn setting(model: &dyn PersistenceModel, states: usize) -> Setting<'_> {
    let budget = Budget { states, recovery_states: 0, restart_states: 0 };
    Setting { model, loss: Loss::PowerCut, seed: 1, budget }
}

/// What was done, call by call.
fn logs<P: Protocol>(runs: &[Together<'_, P>]) -> BTreeSet<String> {
    let calls = |run: &Together<'_, P>| run.run.log.iter().map(|r| r.call.as_str()).collect::<Vec<_>>().join("\n");
    runs.iter().map(calls).collect()
}

#[test]
fn what_commutes_is_left_out_and_nothing_else() {
    for (strategy, pair, preemptions) in [
        ("durable", "push,gc", 1),
        ("durable", "push,delete", 1),
        ("durable", "resume,purge", 1),
        ("distribution-2.8", "push,gc", 1),
        ("distribution-2.8", "retag,retag", 2),
    ] {
        let stage = stage(strategy.to_owned(), pair);
        let ((reduced, few), (whole, many)) = (search(&stage, preemptions, true), search(&stage, preemptions, false));
        assert_eq!(logs(&reduced), logs(&whole), "{strategy} {pair}: {few:?} {many:?}");
        assert!(few.executions < many.executions && few.runs == many.runs, "{strategy} {pair}: {few:?} {many:?}");
        assert_eq!(few.turns, many.turns);
    }
}

#[test]
fn no_finding_is_lost_with_what_commutes() {
    let stage = stage("distribution-2.8".to_owned(), "retag,retag");
    let broken = |reduce| {
        let (runs, _) = search(&stage, 1, reduce);
        let outcome = found(&runs, &model::Ext4Ordered, 64).outcome;
        outcome.findings.into_values().map(|f| (f.invariant, f.lost.len())).collect::<Vec<_>>()
    };
    assert_eq!(broken(true), broken(false));
    assert!(!broken(true).is_empty());
}

#[test]
fn durable_keeps_what_it_claims_in_every_order_of_two_clients() {
    for pair in PAIRS {
        let stage = stage("durable".to_owned(), pair);
        let (runs, coverage) = search(&stage, 1, true);
        assert!(runs.iter().all(|run| run.refused.is_empty()), "{pair}: a client gave up");
        // The longer the operations, the more orders, and the fewer models for each.
        let models: &[&dyn PersistenceModel] = match pair {
            "push,push" => &[&model::Journal],
            "push,gc" | "resume,purge" => &[&model::Posix],
            _ => &[&model::Ext4Ordered, &model::Btrfs, &model::Posix],
        };
        for model in models {
            let found = found(&runs, *model, 64);
            let name = model.name();
            assert!(found.outcome.findings.is_empty(), "{pair} under {name}: {:#?}", found.outcome.findings);
            assert!(found.outcome.crash_states > coverage.runs, "{pair} under {name}");
        }
    }
}

/// In each order, with two preemptions, under every model: all crashes, and those of the recoveries from them.
#[test]
fn durable_is_proved_safe_for_two_moves_of_a_tag() {
    for model in model::ALL {
        prove_safe("retag,retag", 2, model, Limits::default());
    }
}

/// A push and a deletion under the model that promises least.
#[test]
fn durable_is_proved_safe_for_a_push_and_a_deletion() {
    prove_safe("push,delete", 1, &model::Posix, Limits { recoveries: 0, ..Limits::default() });
}

/// All pairs under all models, by release builds.
#[test]
#[ignore = "takes minutes in a debug build"]
fn durable_is_proved_safe_in_all_pairs() {
    for pair in PAIRS {
        for model in model::ALL {
            prove_safe(pair, 1, model, Limits::default());
        }
    }
}

fn prove_safe(pair: &str, preemptions: usize, model: &dyn PersistenceModel, limits: Limits) {
    let stage = stage("durable".to_owned(), pair);
    let (runs, _) = search(&stage, preemptions, true);
    let proved = prove_all(&members(&runs), setting(model, 0), limits).unwrap();
    assert!(proved.runs == runs.len() && proved.proof.crash_states.states > runs.len().into());
    let broken: Vec<_> = proved.proof.findings.into_keys().collect();
    // No rename can promise otherwise where it is split.
    let moves = model.splits_rename() && pair == "retag,retag";
    let expected: &[&str] = if moves { &["tag-old-or-new"] } else { &[] };
    assert_eq!(broken, expected, "{pair} under {}", model.name());
}

/// To share what is remembered changes nothing but how much is done; and what is found is what is found state by state.
#[test]
fn many_orders_are_proved_as_each_by_itself() {
    let limits = Limits::default();
    let models: [(&str, &dyn PersistenceModel); 2] =
        [("durable", &model::Posix), ("distribution-2.8", &model::Ext4Ordered)];
    for (strategy, model) in models {
        let stage = stage(strategy.to_owned(), "retag,retag");
        let (runs, _) = search(&stage, 1, true);
        let name = model.name();
        let all = prove_all(&members(&runs), setting(model, 0), limits).unwrap();
        let (mut states, mut seen, mut executions) = (BigUint::ZERO, BTreeMap::new(), 0);
        let mut smallest = BTreeMap::new();
        for member in members(&runs) {
            let one = prove_all(&[member], setting(model, 0), limits).unwrap().proof;
            states += one.crash_states.states + one.recovery_states.states;
            executions += one.executions;
            for (name, evaluated) in &one.evaluated {
                let (all, broken) = seen.entry(*name).or_insert((0, 0));
                *all += evaluated;
                *broken += one.violations.get(name).unwrap_or(&0);
            }
            for (invariant, finding) in one.findings {
                let size = finding.size();
                smallest.entry(invariant).and_modify(|least| *least = size.min(*least)).or_insert(size);
            }
        }
        let proof = all.proof;
        assert_eq!(proof.crash_states.states + proof.recovery_states.states, states, "{strategy} {name}");
        let broken = |name| *proof.violations.get(name).unwrap_or(&0);
        let counts = proof.evaluated.iter().map(|(name, n)| (*name, (*n, broken(name))));
        assert_eq!(counts.collect::<BTreeMap<_, _>>(), seen, "{strategy} {name}");
        let found: BTreeMap<_, _> = proof.findings.iter().map(|(name, f)| (*name, f.size())).collect();
        assert_eq!(found, smallest, "{strategy} {name}");
        assert!(2 * proof.executions < executions, "{strategy} {name}: {} {executions}", proof.executions);
        // State by state, of which there are few, no recovery is cut.
        let visited = self::found(&runs, model, 1 << 16).outcome;
        assert!(visited.exhaustive, "{strategy} {name}");
        for (invariant, finding) in &visited.findings {
            assert!(found.get(invariant).is_some_and(|size| *size <= finding.size()), "{strategy} {name} {invariant}");
        }
        for (invariant, finding) in proof.findings {
            assert!(finding.in_recovery.is_some() || visited.findings.contains_key(invariant), "{strategy} {name}");
            let run = &runs[all.from[invariant]];
            reproduce(run, &run.run, model, Loss::PowerCut, &Crash::from(&finding)).unwrap();
        }
    }
}

/// A collection that does not ask what a push relies on takes it from under it.
#[test]
fn a_collection_without_a_fence_is_caught() {
    let whole = stage(Hasty::WHOLE, "push,gc");
    let (runs, _) = search(&whole, 1, true);
    assert!(found(&runs, &model::Journal, 64).outcome.findings.is_empty());
    let hasty = stage(Hasty { spares: false, ..Hasty::WHOLE }, "push,gc");
    let (runs, _) = search(&hasty, 1, true);
    let found = found(&runs, &model::Journal, 64);
    let finding = &found.outcome.findings["no-dangling-link"];
    assert!(finding.lost.is_empty(), "no crash is needed: {finding:?}");
    let order = runs[found.from["no-dangling-link"]].order();
    assert!(order.starts_with("client 2") && order.matches("client").count() >= 3, "{order}");
}

#[test]
fn an_order_can_be_run_again_and_one_that_cannot_be_is_refused() {
    let stage = stage("durable".to_owned(), "retag,retag");
    let (runs, _) = search(&stage, 2, true);
    let last = runs.last().unwrap();
    let again = stage.run(&last.schedule).unwrap();
    assert_eq!((&again.run.log, again.order()), (&last.run.log, last.order()));
    let beyond = Schedule { first: 0, preemptions: vec![1_000_000] };
    let why = stage.run(&beyond).err().unwrap().to_string();
    assert!(why.contains("turn 1000000 cannot go to the other operation"), "{why}");
}
