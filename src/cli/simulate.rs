//! `pullplug simulate`: schedules by chance, seed after seed; and the replay of one that was kept.

use std::fmt::Write;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::SimulateArgs;
use super::cell::Stopwatch;
use super::error::CliError;
use super::{exit, files, output};
use crate::check::Invariant;
use crate::disk::SimFs;
use crate::env::World;
use crate::report::words::{counted, grouped, shortened};
use crate::report::{BROKEN_CLAIM, GOOD, STRONG};
use crate::sim::campaign::{self, SOMETIMES, Summary};
use crate::sim::generate::{Wanted, generate};
use crate::sim::ledger::Finding;
use crate::sim::schedule::Schedule;
use crate::sim::shrink::shrink;
use crate::sim::world::{self, Options, Outcome};
use crate::strategy;

/// Runs between two looks at the clock and at the progress bar.
const BATCH_RUNS: u64 = 32;
/// How many runs there are if nothing is said.
const DEFAULT_RUNS: u64 = 100;

/// A finding that was made small.
struct Kept {
    seed: u64,
    finding: Finding,
    schedule: Schedule,
    path: String,
}

/// Runs the command.
pub fn run(args: SimulateArgs) -> Result<u8, CliError> {
    let wanted = Wanted {
        strategy: args.strategy.clone(),
        model: args.model.clone(),
        clients: args.clients,
        steps: args.steps as usize,
    };
    let watch = Stopwatch::start();
    let summary = simulate(&args, &wanted, &watch)?;
    let seconds = watch.seconds();
    let kept = keep(&summary, &wanted, &args)?;
    if args.json {
        output::print(&document(&args, &summary, &kept))?;
    } else {
        output::print(&text(&args, &summary, &kept, seconds))?;
    }
    Ok(if summary.found.is_empty() { exit::NOTHING_FOUND } else { exit::FOUND })
}

/// The runs, in batches.
fn simulate(args: &SimulateArgs, wanted: &Wanted, watch: &Stopwatch) -> Result<Summary, CliError> {
    let limit = args.runs.map_or(if args.time.is_some() { u64::MAX } else { DEFAULT_RUNS }, |n| n.get());
    let bar = ProgressBar::new(limit);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    let mut all = Summary::default();
    while all.runs < limit && args.time.is_none_or(|time| watch.elapsed_seconds() < time.get() as f64) {
        let batch = BATCH_RUNS.min(limit - all.runs);
        let runs = campaign::runs(args.seed.wrapping_add(all.runs), batch, wanted, &Options::default());
        all.merge(runs.map_err(|e| CliError::bad_input(e.to_string()))?);
        bar.set_position(all.runs);
        let found: Vec<String> = all.broken().iter().map(|(name, n)| format!("{name} {n}")).collect();
        bar.set_message(format!(
            "{} operations, {} crashes, {} s simulated; {}",
            grouped(all.count("operations")),
            grouped(all.count("crashes")),
            grouped(all.ms / 1000),
            if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") }
        ));
    }
    bar.finish_and_clear();
    Ok(all)
}

/// Shrinks the first finding of each invariant, and saves it.
fn keep(summary: &Summary, wanted: &Wanted, args: &SimulateArgs) -> Result<Vec<Kept>, CliError> {
    let mut kept: Vec<Kept> = Vec::new();
    for (seed, findings) in &summary.found {
        for finding in findings {
            if kept.iter().any(|k| k.finding.invariant == finding.invariant) {
                continue;
            }
            let mut schedule = generate(*seed, wanted);
            schedule.breaks = Some(finding.invariant.to_owned());
            if !args.no_shrink {
                schedule = shrink(&schedule, finding.invariant, &Options::default());
            }
            let name = format!("{}-{}-{}-{seed}.json", wanted.strategy, wanted.model, finding.invariant);
            files::make_dir(&args.save)?;
            let path = args.save.join(name);
            files::Output::reserve(&path)?.write(&schedule.to_json())?;
            let path = path.display().to_string();
            kept.push(Kept { seed: *seed, finding: finding.clone(), schedule, path });
        }
    }
    Ok(kept)
}

fn text(args: &SimulateArgs, all: &Summary, kept: &[Kept], seconds: f64) -> String {
    let mut out = format!(
        "{STRONG}{} on {}{STRONG:#}: {} from seed {}, {} clients, about {} steps each\n\n",
        args.strategy,
        args.model,
        counted(all.runs, "run"),
        args.seed,
        args.clients,
        args.steps
    );
    let mut row = |n: u64, what: &str| {
        let _ = writeln!(out, "{:>12}  {what}", grouped(n));
    };
    row(all.count("operations"), "client operations");
    row(all.count("requests"), "requests");
    row(all.count("crashes"), "crashes");
    row(all.ms / 1000, "simulated seconds");
    for what in SOMETIMES {
        row(all.count(what), what);
    }
    if args.timings {
        let rate = all.runs as f64 / seconds.max(0.001);
        let _ = writeln!(out, "\n{seconds:.1} seconds, {rate:.0} runs a second");
    }
    out.push('\n');
    for name in Invariant::ALL.map(Invariant::name).into_iter().chain(crate::sim::ledger::rules::ALL) {
        let broken = all.broken().get(name).copied().unwrap_or_default();
        let _ = if broken > 0 {
            let promise = if claims(args, name) { "" } else { ", and was never promised" };
            writeln!(out, "{BROKEN_CLAIM}{name:<24} broken in {}{promise}{BROKEN_CLAIM:#}", counted(broken, "run"))
        } else {
            writeln!(out, "{GOOD}{name:<24} holds{GOOD:#}")
        };
    }
    let never = all.never();
    if !never.is_empty() {
        let _ = writeln!(out, "\nnever happened, so nothing is said of it: {}", never.join(", "));
    }
    for kept in kept {
        let _ = writeln!(out, "\n{STRONG}{}{STRONG:#}, seed {}", kept.finding.invariant, kept.seed);
        let _ = writeln!(out, "  {}", shortened(&kept.finding.detail));
        let _ = writeln!(out, "  mix: {}", campaign::mix(kept.seed));
        for (i, step) in kept.schedule.steps.iter().enumerate() {
            let _ = writeln!(out, "  {:>3}  {step}", i + 1);
        }
        let _ = writeln!(out, "  pullplug replay {}", kept.path);
    }
    out
}

/// Whether the strategy claims to keep an invariant.
fn claims(args: &SimulateArgs, invariant: &str) -> bool {
    let strategy = strategy::build(&args.strategy, SimFs::new(), World::simulated(0));
    strategy.is_some_and(|s| s.claims(&args.model, invariant))
}

fn document(args: &SimulateArgs, all: &Summary, kept: &[Kept]) -> String {
    let findings: Vec<_> = kept
        .iter()
        .map(|k| {
            json!({
                "invariant": k.finding.invariant,
                "detail": k.finding.detail,
                "seed": k.seed.to_string(),
                "mix": campaign::mix(k.seed),
                "schedule": k.schedule.steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "replay": format!("pullplug replay {}", k.path),
            })
        })
        .collect();
    let document = json!({
        "version": crate::sim::schedule::SCHEDULE_VERSION,
        "strategy": args.strategy,
        "model": args.model,
        "seed": args.seed.to_string(),
        "runs": all.runs,
        "simulated_ms": all.ms,
        "fingerprint": format!("{:016x}", all.fingerprint),
        "counts": all.counts,
        "never": all.never(),
        "broken_runs": all.broken(),
        "findings": findings,
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// Whether a file holds a schedule, as far as its shape tells.
pub fn is_schedule(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|value| value.get("steps").is_some())
}

/// Runs a schedule that was kept, and shows its timeline.
pub fn replay(path: &Path, text: &[u8]) -> Result<u8, CliError> {
    let bad = |e: &dyn std::fmt::Display| CliError::bad_input(format!("cannot replay {}: {e}", path.display()));
    let schedule = Schedule::parse(text).map_err(|e| bad(&e))?;
    let options = Options { timeline: true, ..Options::default() };
    let outcome = world::run(&schedule, &options).map_err(|e| bad(&e))?;
    let (shown, code) = timeline(&schedule, &outcome);
    output::print(&shown)?;
    Ok(code)
}

fn timeline(schedule: &Schedule, outcome: &Outcome) -> (String, u8) {
    let mut out = format!("{STRONG}{} on {}, seed {}{STRONG:#}\n\n", schedule.strategy, schedule.model, schedule.seed);
    for (i, step) in schedule.steps.iter().enumerate() {
        let _ = writeln!(out, "  {:>3}  {step}", i + 1);
    }
    out.push('\n');
    out.push_str(outcome.timeline.as_deref().unwrap_or_default());
    let _ = writeln!(out, "\n{STRONG}Verdict{STRONG:#}\n");
    for finding in &outcome.findings {
        let detail = shortened(&finding.detail);
        let _ = writeln!(out, "  {BROKEN_CLAIM}{}{BROKEN_CLAIM:#}: {detail}", finding.invariant);
    }
    let asked = |f: &Finding| schedule.breaks.as_ref().is_none_or(|b| b == f.invariant);
    if outcome.findings.iter().any(asked) {
        return (out, exit::FOUND);
    }
    let what = schedule.breaks.as_deref().unwrap_or("every invariant");
    let _ = writeln!(out, "  {GOOD}{what} holds{GOOD:#}");
    (out, exit::NOTHING_FOUND)
}
