//! What a probe sees of a stage that is like an earlier one.
//!
//! Where a walk leads depends on little of a stage: of the slots that are asked about, on the values; of their atoms, on
//! what brings what; and on which of these the intervals allow and force. (Whether a region has a state of an interval
//! does not depend on more: what it has and lacks are atoms that were asked about, closed under the order, and the ends
//! of an interval are closed as well.) A stage that has the same of all that an earlier walk asked is not walked. That is
//! for stages whose states are under no condition: what a recovery's are under is not in the outline.

use std::collections::BTreeMap;

use super::walk::Ground;
use crate::disk::space::{Ask, Sight, mix_wide};
use crate::disk::tree::Ino;

/// Lists of questions that are remembered: those of stages that are alike are equal.
const MAX_LISTS: usize = 4;

/// What came of walks, by the outline of all that they asked.
type Came<T> = BTreeMap<u128, T>;

/// What came of the walks so far, by what they depended on.
#[derive(Debug, Clone)]
pub(super) struct Alike<T> {
    /// Questions, and what came of asking them. The last that helped are the first.
    known: Vec<(Vec<Ask<u32>>, Came<T>)>,
}

impl<T> Default for Alike<T> {
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

impl<T> Alike<T> {
    /// What came of a walk that must have led to the same, and what it would ask.
    pub(super) fn find(&mut self, ground: &Ground<'_>) -> Option<(&T, Vec<Ask<Ino>>)> {
        let found = self.known.iter().enumerate().find_map(|(at, (asks, came))| {
            let sight = ground.space.sight(asks)?;
            let outline = outline(ground, &sight);
            came.contains_key(&outline).then(|| (at, outline, sight.unnamed(asks)))
        });
        let (at, outline, asks) = found?;
        self.known[..=at].rotate_right(1);
        Some((self.known[0].1.get(&outline)?, asks))
    }

    /// Remembers what came of a walk that asked these, in this order.
    pub(super) fn insert(&mut self, ground: &Ground<'_>, asks: &[Ask<Ino>], came: T) {
        let Some((asks, sight)) = ground.space.named(asks) else { return };
        let outline = outline(ground, &sight);
        match self.known.iter_mut().find(|(known, _)| *known == asks) {
            Some((_, outlines)) => drop(outlines.insert(outline, came)),
            None => {
                self.known.truncate(MAX_LISTS - 1);
                self.known.insert(0, (asks, BTreeMap::from([(outline, came)])));
            }
        }
    }
}

/// A hash of all that a walk depends on that sees no more than this.
fn outline(ground: &Ground<'_>, sight: &Sight) -> u128 {
    let mut intervals = ground.outlines(sight.atoms());
    // Neighbours are alike, as a rule.
    intervals.dedup();
    intervals.sort_unstable();
    intervals.dedup();
    intervals
        .into_iter()
        .fold(sight.outline(ground.space), |sum, of| mix_wide(of as u64, mix_wide((of >> 64) as u64, sum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimFs;
    use crate::disk::effect::Cut;
    use crate::disk::model::{Family, Journal, PersistenceModel, Posix};
    use crate::disk::space::{Bits, Space};
    use crate::disk::tree::ROOT;
    use crate::env::run_now;
    use crate::explore::lazy::walk::{Columns, Under};
    use crate::fs::{File, Fs, OpenMode};

    /// What is written to `a`, and then to `b`; all of it may survive, and `a` does if it was synced.
    fn with_ground<T>(
        model: &dyn PersistenceModel,
        a: &'static [u8],
        is_synced: bool,
        see: impl FnOnce(&Ground<'_>) -> T,
    ) -> T {
        let disk = SimFs::new();
        run_now(async {
            for (name, content) in [("a", a), ("b", b"b")] {
                let file = disk.open(name, OpenMode::CreateNew).await.unwrap();
                file.write_at(0, content.into()).await.unwrap();
            }
        });
        let (base, log) = disk.snapshot();
        let space = Space::new(base, log.into(), model);
        let allowed = space.executed(Cut::after(space.records().len()));
        let mut forced = Bits::new(space.atoms().len());
        if is_synced {
            space.atoms_of(0).for_each(|id| forced.insert(id));
        }
        let intervals = [Family { forced, allowed }];
        let columns = Columns::of(&intervals, space.atoms().len());
        let regions = [Under::none(&space, 1)];
        see(&Ground { space: &space, intervals: &intervals, columns: &columns, of: &[0], regions: &regions })
    }

    #[test]
    fn what_is_asked_tells_stages_apart_and_nothing_else_does() {
        let entry = |name: &str| Ask::Entry { dir: ROOT, name: name.into() };
        let mut alike = Alike::default();
        with_ground(&Posix, b"1", false, |ground| alike.insert(ground, &[entry("a"), entry("b")], ()));
        let mut is_alike =
            |model, a, is_synced| with_ground(model, a, is_synced, |ground| alike.find(ground).is_some());
        assert!(is_alike(&Posix, b"1", false));
        assert!(is_alike(&Posix, b"another content", false), "nobody asked for the content");
        assert!(!is_alike(&Posix, b"1", true), "its name is forced");
        assert!(!is_alike(&Journal, b"1", false), "b needs a");
        let mut alike = Alike::default();
        with_ground(&Posix, b"1", false, |ground| {
            let file = ground.space.view(&ground.intervals[0].allowed).tree().dir(ROOT).unwrap()["a"];
            alike.insert(ground, &[entry("a"), Ask::Sector { file, sector: 0, visible: 1 }], ());
        });
        let mut is_alike = |a| with_ground(&Posix, a, false, |ground| alike.find(ground).is_some());
        assert!(is_alike(b"1"));
        assert!(!is_alike(b"2"), "it was asked for the content");
    }
}
