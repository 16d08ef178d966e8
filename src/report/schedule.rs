//! A schedule, call by call, up to the crash: what was done, and what of it was lost.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::words::{counted, place, shortened, step};
use super::{BROKEN, BROKEN_CLAIM};
use crate::disk::describe::LostEffect;
use crate::explore::replay::Stage;

/// Every step of `stage` that was executed, numbered as in a [`super::spec::Spec`], with what was lost beneath it; then
/// the place of the crash (`what` names it). `notes` say what happened after so many steps that is no step; `clients` are those that the steps are of, where there are several.
pub fn render<O: Display>(
    stage: &Stage,
    ops: &[O],
    what: &str,
    notes: &[(usize, String)],
    clients: &[usize],
) -> String {
    let records = stage.space.records();
    let mut lost: BTreeMap<usize, Vec<LostEffect>> = BTreeMap::new();
    for effect in stage.space.describe_lost(&stage.lost, &stage.survivors) {
        lost.entry(effect.record).or_default().push(effect);
    }
    let whole = stage.cut.records as usize;
    let executed = whole + usize::from(stage.cut.inside.is_some());
    let mut out = String::new();
    let note = |out: &mut String, after: usize| {
        for (_, what) in notes.iter().filter(|(at, _)| *at == after) {
            let _ = writeln!(out, "       -- {}", shortened(what));
        }
    };
    note(&mut out, 0);
    for (at, record) in records.iter().enumerate().take(executed) {
        let who = clients.get(at).map(|client| format!("{client}  ")).unwrap_or_default();
        let shown = who + &shortened(&step(record, ops));
        let lost = lost.get(&at).map_or(&[][..], Vec::as_slice);
        // Where the only thing lost is the call itself, saying it twice helps nobody.
        let all = matches!(lost, [one] if one.what == record.call);
        let _ = if all {
            writeln!(out, "{BROKEN}{:>5}  {shown}   << lost{BROKEN:#}", at + 1)
        } else {
            writeln!(out, "{:>5}  {shown}", at + 1)
        };
        for effect in lost.iter().filter(|_| !all) {
            let _ = writeln!(out, "{BROKEN}         << lost: {}{BROKEN:#}", shortened(&effect.what));
        }
        note(&mut out, at + 1);
    }
    let at = shortened(&place(records, stage.cut, ops));
    let left = records.len().saturating_sub(executed);
    let _ = writeln!(out, "{BROKEN_CLAIM}  >>>  {what} {at}{BROKEN_CLAIM:#}");
    if left > 0 {
        let _ = writeln!(out, "       {} not reached", counted(left as u64, "step"));
    }
    out
}
