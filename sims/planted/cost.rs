//! What a bug costs: its smallest finding under each model, among the invariants that `durable` claims there.

use std::collections::BTreeMap;

use pullplug::disk::SimFs;
use pullplug::disk::crash::Loss;
use pullplug::disk::effect::{Cut, cuts};
use pullplug::disk::model::{self, PersistenceModel};
use pullplug::env::World;
use pullplug::explore::replay::{Crash, reproduce};
use pullplug::explore::{Budget, Finding, Run, Setting, Subject, explore};
use pullplug::strategy;
use pullplug::workload::probe::Probe;

use pullplug::synthesis::roles::generalised;

/// By model; empty if the bug breaks nothing.
pub type Damage = BTreeMap<&'static str, Harm>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Harm {
    /// How much of a story it takes: a restart counts more than any number of effects.
    pub size: (bool, usize),
    pub invariant: &'static str,
    pub lost: Vec<String>,
}

/// Process crashes are the same under every model.
const PROCESS_CRASH: &str = "process-crash";

/// The models that are furthest apart. Every crash state of the others is one of `posix`, those of renames in pieces
/// aside; but what `posix` allows in all is sampled, so that what an ordered journal or a log loses is looked at too.
pub const TELLING: [&dyn PersistenceModel; 3] = [&model::Posix, &model::Ext4Ordered, &model::Btrfs];

/// Shared by the places at which the power goes. Each has, whatever its share, the states in which everything is lost,
/// nothing is, and each single name or length is.
const STATES: usize = 600;

/// Power cuts under every model, and process crashes, from the place on at which the log has `from` records: before
/// that it is as it should be.
pub fn of_power_cuts<S: Subject<Probe = Probe>>(
    subject: &S,
    run: &Run,
    from: Option<usize>,
    models: &[&'static dyn PersistenceModel],
) -> Damage {
    let run = Run { restarted_at: from.map(Cut::after), ..run.clone() };
    let mut damage = Damage::new();
    for model in models.iter().copied() {
        damage.extend(worst(subject, &run, model, Loss::PowerCut, None));
    }
    if let Some(harm) = worst(subject, &run, &model::Posix, Loss::ProcessCrash, None) {
        damage.insert(PROCESS_CRASH, harm.1);
    }
    damage
}

/// Power cuts after the process crashed somewhere between the records `from` and the end, at so many places, and was
/// restarted.
pub fn of_restarts<S: Subject<Probe = Probe>>(
    subject: &S,
    run: &Run,
    from: usize,
    places: usize,
    models: &[&'static dyn PersistenceModel],
) -> Damage {
    let behind: Vec<Cut> = cuts(&run.log).into_iter().filter(|cut| *cut > Cut::after(from)).collect();
    let mut damage = Damage::new();
    let places = places.min(behind.len());
    for cut in (0..places).map(|i| behind[i * behind.len() / places]) {
        let restarted = run.restarted(subject, cut);
        for model in models.iter().copied() {
            if let Some((name, harm)) = worst(subject, &restarted, model, Loss::PowerCut, Some(cut)) {
                let known = damage.get(name).is_some_and(|known| *known <= harm);
                if !known {
                    damage.insert(name, harm);
                }
            }
        }
    }
    damage
}

/// The smallest finding of something that `durable` claims.
fn worst<S: Subject<Probe = Probe>>(
    subject: &S,
    run: &Run,
    model: &'static dyn PersistenceModel,
    loss: Loss,
    restarted_at: Option<Cut>,
) -> Option<(&'static str, Harm)> {
    let budget = Budget { states: STATES, recovery_states: 0, restart_states: 0 };
    let outcome = explore(subject, run, Setting { model, loss, seed: 1, budget });
    let findings = outcome.findings.into_values().filter(|f| claims(model, f.invariant));
    // The log is whole: it takes no restart to have what came before.
    let findings = findings.map(|finding| Finding { restarted_at: None, ..finding });
    let harm = findings.map(|f| harm(subject, run, model, loss, &f, restarted_at.is_some())).min()?;
    Some((model.name(), harm))
}

fn claims(model: &dyn PersistenceModel, invariant: &str) -> bool {
    let durable = strategy::build("durable", SimFs::new(), World::simulated(0)).unwrap();
    durable.claims(model.name(), invariant)
}

fn harm<S: Subject<Probe = Probe>>(
    subject: &S,
    run: &Run,
    model: &dyn PersistenceModel,
    loss: Loss,
    finding: &Finding<Probe>,
    restarted: bool,
) -> Harm {
    let again = reproduce(subject, run, model, loss, &Crash::from(finding)).unwrap();
    let stage = again.last();
    let lost = stage.space.describe_lost(&stage.lost, &stage.survivors);
    let lost: Vec<String> = lost.into_iter().map(|effect| generalised(&effect.what)).collect();
    Harm { size: (restarted, finding.lost.len()), invariant: finding.invariant, lost }
}
