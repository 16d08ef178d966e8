//! Which syncs are needed, and which orders.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::altered::Alteration;
use super::bench::{Answer, Baseline, Bench, Breach};
use super::roles::{Role, Step, steps};
use crate::disk::model::PersistenceModel;
use crate::explore::Finding;
use crate::explore::lazy::NoProof;
use crate::strategy::Protocol;
use crate::workload::probe::Probe;

/// Whether a site is needed under a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// It is: without it, this breaks, which holds with it.
    Needed(Box<Breach>),
    /// It is not: without it, everything holds that holds with it. Proved.
    Spare,
    /// Nothing was found to break, and there is no proof.
    Unknown,
    /// The program itself needs it: without it, or in another order, a later call finds nothing to work on.
    Fixed,
}

/// A sync, or an order of two calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// What the (first) call is for.
    pub role: Role,
    /// The call that comes next, of an order.
    pub then: Option<String>,
}

/// A site, and where it occurs: by workload, which alteration takes it away.
pub type Sites = BTreeMap<Site, BTreeMap<usize, Alteration>>;

/// The syncs that were made in any workload, after crashes too.
pub fn syncs(baseline: &Baseline) -> Sites {
    let mut sites = Sites::new();
    for (workload, roles) in baseline.roles.iter().enumerate() {
        for role in roles.iter().filter(|(_, call)| call.is_sync()).map(|(role, _)| role) {
            let site = Site { role: role.clone(), then: None };
            sites.entry(site).or_default().insert(workload, Alteration::without(role));
        }
    }
    sites
}

/// The pairs of successive changes, the first of each kind in each workload. What a write or a creation does is needed
/// by the program right away, so those do not wait.
///
/// Errors: a workload cannot be run.
pub fn orders<P: Protocol>(bench: &Bench<'_, P>) -> Result<Sites, String> {
    let mut sites = Sites::new();
    let waits = |step: &Step| !["write ", "open-create "].iter().any(|word| step.role.call.starts_with(word));
    for (workload, subject) in bench.subjects.iter().enumerate() {
        for step in steps(subject).map_err(|e| e.to_string())? {
            if waits(&step) && !step.next.is_empty() {
                let alteration = Alteration::swapped(&step.role, step.nth);
                let site = Site { role: step.role, then: Some(step.next) };
                sites.entry(site).or_default().entry(workload).or_insert(alteration);
            }
        }
    }
    Ok(sites)
}

impl<P: Protocol> Bench<'_, P> {
    /// Whether each of these sites is needed; `done` is told of each.
    ///
    /// Errors: a finding cannot be shown again.
    pub fn needs(
        &self,
        sites: &Sites,
        baseline: &Baseline,
        model: &dyn PersistenceModel,
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<Need>, NoProof> {
        let need = |places: &BTreeMap<usize, Alteration>| {
            let need = self.need(places, baseline, model);
            done();
            need
        };
        sites.values().collect::<Vec<_>>().into_par_iter().map(need).collect()
    }

    /// Whether a site is needed in any workload: by a first look at all of them, then by proofs.
    fn need(
        &self,
        places: &BTreeMap<usize, Alteration>,
        baseline: &Baseline,
        model: &dyn PersistenceModel,
    ) -> Result<Need, NoProof> {
        let mut found: Option<Breach> = None;
        let (mut stuck, mut unknown) = (0, 0);
        for prove_it in [false, true] {
            (stuck, unknown) = (0, 0);
            for (&workload, alteration) in places {
                let Some(broken) = &baseline.broken[workload] else {
                    unknown += 1;
                    continue;
                };
                let holds = |invariant: &str| !broken.contains(invariant);
                match self.ask(workload, alteration.clone(), model, &holds, prove_it)? {
                    Answer::Broken(findings) => offer(&mut found, workload, alteration, findings),
                    Answer::Proved => {}
                    Answer::Unknown => unknown += 1,
                    Answer::Stuck => stuck += 1,
                }
                if prove_it && found.is_some() {
                    break;
                }
            }
            if let Some(breach) = found {
                return Ok(Need::Needed(Box::new(breach)));
            }
        }
        Ok(match (stuck, unknown) {
            (0, 0) => Need::Spare,
            (_, 0) => Need::Fixed,
            _ => Need::Unknown,
        })
    }
}

/// Keeps the smallest.
fn offer(to: &mut Option<Breach>, workload: usize, alteration: &Alteration, findings: Vec<Finding<Probe>>) {
    for finding in findings {
        if to.as_ref().is_none_or(|known| finding.size() < known.finding.size()) {
            *to = Some(Breach { workload, alteration: alteration.clone(), finding });
        }
    }
}
