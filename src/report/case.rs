//! What was explored, and its findings in words.
//!
//! A finding is reproduced for that, so that what is printed can be seen again.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::spec::{Spec, fingerprint};
use super::words::{counted, place, shortened};
use super::{BROKEN_CLAIM, Counterexample, CutRecovery, GOOD, STRONG, difference, schedule};
use crate::disk::crash::Loss;
use crate::disk::effect::Cut;
use crate::disk::fault::FailedPages;
use crate::disk::model::PersistenceModel;
use crate::explore::interleave::Schedule;
use crate::explore::replay::{Crash, Impossible, Reproduced, Stage, reproduce};
use crate::explore::{FailedSync, Finding, Observation, Run, Subject};

/// A subject, its run, and how its crashes were chosen.
pub struct Case<'a, S, O> {
    /// What was run.
    pub subject: &'a S,
    /// What it did.
    pub run: &'a Run,
    /// The persistence model.
    pub model: &'a dyn PersistenceModel,
    /// How the machine stops.
    pub loss: Loss,
    /// Who is judged: the strategy.
    pub strategy: &'a str,
    /// At what: the workload.
    pub workload: &'a str,
    /// The operations, by which marks are named: two for each.
    pub ops: &'a [O],
    /// The order of two clients, where there are two.
    pub together: Option<Together<'a>>,
}

/// Two clients at once.
pub struct Together<'a> {
    /// Their order.
    pub schedule: &'a Schedule,
    /// The order in words.
    pub order: String,
    /// Whose each step is.
    pub clients: Vec<usize>,
}

impl<S: Subject, O: Display> Case<'_, S, O> {
    /// A finding in words; `replay` says how to see it again.
    ///
    /// Errors: the run is not the one that it was found on.
    pub fn counterexample(
        &self,
        finding: &Finding<S::Probe>,
        replay: impl FnOnce(&Spec) -> String,
    ) -> Result<Counterexample, Impossible> {
        let (crash, (faults, lost_in_all, cut)) = (Crash::from(finding), finding.size());
        let size = (faults, lost_in_all, cut.records);
        let again = self.reproduce(&crash)?;
        let at = |stage: &Stage| place(stage.space.records(), stage.cut, self.ops);
        let lost = |stage: &Stage| -> Vec<String> {
            let told = stage.space.describe_lost(&stage.lost, &stage.survivors);
            told.into_iter().map(|effect| effect.what).collect()
        };
        let spec = Spec {
            strategy: self.strategy.to_owned(),
            model: self.model.name().to_owned(),
            workload: self.workload.to_owned(),
            loss: self.loss,
            invariant: Some(finding.invariant.to_owned()),
            turns: self.together.as_ref().map(|together| together.schedule.clone()),
            run: Some(fingerprint(&self.run.log)),
            crash,
        };
        Ok(Counterexample {
            invariant: finding.invariant,
            detail: finding.detail.clone(),
            turns: self.together.as_ref().map(|together| together.order.clone()),
            failed_sync: spec.crash.failed_sync.map(|sync| self.failed(sync)),
            restart_at: spec.crash.restarted_at.map(|cut| place(&self.run.log, cut, self.ops)),
            crash_at: at(&again.workload),
            lost: lost(&again.workload),
            recovery: again.recovery.as_ref().map(|s| CutRecovery { crash_at: at(s), lost: lost(s) }),
            replay: replay(&spec),
            spec: spec.to_string(),
            size,
        })
    }

    /// The crash again.
    ///
    /// Errors: there is no such crash.
    pub fn reproduce(&self, crash: &Crash) -> Result<Reproduced, Impossible> {
        reproduce(self.subject, self.run, self.model, self.loss, crash)
    }

    /// A sync that fails, in words.
    fn failed(&self, sync: FailedSync) -> String {
        let call = sync.call(&self.run.log).map_or("a sync", |record| &record.call);
        let pages = match sync.pages {
            FailedPages::KeepNew => "its pages are marked clean, or the disk turns read-only",
            FailedPages::Revert => "its pages are reverted",
            FailedPages::StayDirty => "its pages stay dirty",
        };
        format!("{call} fails: {pages}")
    }

    /// Call by call what was done and what of it was lost; then what survived, against what was there.
    pub fn story(&self, crash: &Crash, again: &Reproduced) -> String {
        let what = match self.loss {
            Loss::PowerCut => "the power fails",
            Loss::ProcessCrash => "the process crashes",
            Loss::LyingDisk => "the power fails, and the disk had ignored all syncs,",
        };
        let after = |cut: Cut| cut.records as usize + usize::from(cut.inside.is_some());
        let restarted = "the process crashes and is started again".to_owned();
        let mut notes: Vec<(usize, String)> =
            crash.restarted_at.map(|cut| (after(cut), restarted)).into_iter().collect();
        if let Some(failed) = again.failed {
            notes.push((after(failed.at), self.failed(failed.sync)));
            notes.extend(failed.restarted_at.map(|cut| (after(cut), "the process is started again".to_owned())));
        }
        let clients = self.together.as_ref().map_or(&[][..], |together| &together.clients);
        let mut out = schedule::render(&again.workload, self.ops, what, &notes, clients) + &trees(&again.workload);
        if let Some(recovery) = &again.recovery {
            out.push_str(&format!("\n{STRONG}Recovery from that{STRONG:#}\n\n"));
            out.push_str(&schedule::render(recovery, self.ops, what, &[], &[]));
            out.push_str(&trees(recovery));
        }
        out
    }
}

fn trees(stage: &Stage) -> String {
    let what =
        format!("\n{STRONG}What survived, against what was there{STRONG:#} (- lost, + found again, ~ other)\n\n");
    what + &difference::render(&stage.surviving(), &stage.executed())
}

/// What `seen` says of `invariant`, or of all: the text, and whether it is broken.
pub fn verdict(invariant: Option<&str>, seen: &[Observation]) -> (String, bool) {
    let asked = |o: &Observation| invariant.is_none_or(|i| i == o.invariant);
    let broken: BTreeSet<(bool, &str, &str)> =
        seen.iter().filter_map(|o| Some((!asked(o), o.invariant, o.violation.as_deref()?))).collect();
    let mut out = format!("\n{STRONG}Verdict{STRONG:#}\n\n");
    for (_, invariant, detail) in &broken {
        out.push_str(&format!("  {BROKEN_CLAIM}{invariant}{BROKEN_CLAIM:#}: {}\n", shortened(detail)));
    }
    if broken.iter().any(|(other, ..)| !other) {
        return (out, true);
    }
    let name = invariant.unwrap_or("every invariant");
    let looked = counted(seen.iter().filter(|o| asked(o)).count() as u64, "time");
    out.push_str(&format!("  {GOOD}{name} holds{GOOD:#}, looked at {looked}\n"));
    (out, false)
}
