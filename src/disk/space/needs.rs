//! What each atom depends on, kept in one piece.

use super::AtomId;

/// Of each atom, the atoms that it depends on.
#[derive(Debug, Default)]
pub(super) struct Needs {
    all: Vec<AtomId>,
    /// Of each atom, where in `all` its own end.
    ends: Vec<usize>,
}

impl Needs {
    /// Adds those of the next atom.
    pub fn push(&mut self, needed: &[AtomId]) {
        self.all.extend_from_slice(needed);
        self.ends.push(self.all.len());
    }

    /// Those of an atom.
    pub fn of(&self, id: AtomId) -> &[AtomId] {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start..self.ends[id]]
    }

    /// Of these atoms; then of one that needs none; then of `second`, which come behind it.
    pub fn layered(&self, second: &Self) -> Self {
        let (shift, end) = (self.ends.len() + 1, self.all.len());
        Self {
            all: self.all.iter().copied().chain(second.all.iter().map(|id| id + shift)).collect(),
            ends: self.ends.iter().copied().chain([end]).chain(second.ends.iter().map(|at| at + end)).collect(),
        }
    }
}
