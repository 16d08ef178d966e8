//! Two clients at once, under every interleaving within a bound.

use std::collections::BTreeSet;

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
    let stage = stage("durable".to_owned(), "retag,retag");
    let (runs, _) = search(&stage, 2, true);
    for model in model::ALL {
        let proved = prove_all(&members(&runs), setting(model, 0), Limits::default()).unwrap();
        let broken: Vec<_> = proved.proof.findings.into_keys().collect();
        // No rename can promise otherwise where it is split.
        let expected: &[&str] = if model.splits_rename() { &["tag-old-or-new"] } else { &[] };
        assert_eq!(broken, expected, "{}", model.name());
    }
    // What a proof finds is shown again, and what a sample finds is among it.
    let stage = self::stage("distribution-2.8".to_owned(), "retag,retag");
    let (runs, _) = search(&stage, 1, true);
    let proved = prove_all(&members(&runs), setting(&model::Ext4Ordered, 0), Limits::default()).unwrap();
    let sampled = found(&runs, &model::Ext4Ordered, 64).outcome;
    for (invariant, finding) in sampled.findings {
        let (proved, from) = (&proved.proof.findings[invariant], &runs[proved.from[invariant]]);
        assert!(proved.size() <= finding.size(), "{invariant}");
        reproduce(from, &from.run, &model::Ext4Ordered, Loss::PowerCut, &Crash::from(proved)).unwrap();
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
