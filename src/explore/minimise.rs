//! Reducing a finding: every lost effect that is not needed for it is given back.

use super::{Finding, Setting, Subject};
use crate::disk::SimFs;
use crate::disk::crash;
use crate::disk::effect::Cut;
use crate::disk::space::{AtomId, Bits, Space};

/// What was executed before `cut` and is not among `survivors`.
pub fn lost(space: &Space, cut: Cut, survivors: &Bits) -> Vec<AtomId> {
    let mut lost = crash::whole(space, cut);
    lost.subtract(survivors);
    lost.iter().collect()
}

/// The survivors at `cut` when `lost` is lost of all that was executed.
pub fn survivors(space: &Space, cut: Cut, lost: &[AtomId]) -> Bits {
    let mut bits = crash::whole(space, cut);
    lost.iter().for_each(|id| bits.remove(*id));
    bits
}

/// Gives lost effects back, the latest first, as long as the state stays legal and the same probe still sees the same
/// invariant broken. What is left is minimal: giving any one of them back, with what it needs, loses the finding.
pub fn minimise<S: Subject>(subject: &S, space: &Space, setting: Setting<'_>, finding: &mut Finding<S::Probe>) {
    if finding.in_recovery.is_some() {
        return;
    }
    let families = crash::families(space, setting.model, setting.loss, finding.cut);
    let legal = |bits: &Bits| {
        space.is_closed(bits) && families.iter().any(|f| f.forced.within(bits) && bits.within(&f.allowed))
    };
    let mut bits = survivors(space, finding.cut, &finding.lost);
    let mut detail = finding.detail.clone();
    loop {
        let smaller = lost(space, finding.cut, &bits).into_iter().rev().find_map(|id| {
            let mut more = bits.clone();
            more.insert(id);
            space.close(&mut more);
            let seen = legal(&more).then(|| sees(subject, space, &more, finding)).flatten()?;
            Some((more, seen))
        });
        match smaller {
            Some((more, seen)) => (bits, detail) = (more, seen),
            None => break,
        }
    }
    finding.lost = lost(space, finding.cut, &bits);
    finding.detail = detail;
}

/// What the finding's probe says of its invariant in another state.
fn sees<S: Subject>(subject: &S, space: &Space, bits: &Bits, finding: &Finding<S::Probe>) -> Option<String> {
    let disk = SimFs::with_tree(space.view(bits).tree());
    let observations = subject.evaluate(&finding.probe, &disk);
    observations.into_iter().find(|o| o.invariant == finding.invariant).and_then(|o| o.violation)
}
