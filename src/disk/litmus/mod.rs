//! Litmus tests of the persistence models: a few calls each, that show what a model allows and another does not.
//!
//! Of each, a snapshot has the full set of outcomes that each model allows (`snapshots/litmus_*`); and each can be
//! played on a real file system, to see which of these outcomes it ever leaves.

mod btrfs;
mod files;
mod names;

/// A litmus test. Its calls are those of a [`Script`](crate::fs::script::Script).
#[derive(Debug, Clone, Copy)]
pub struct Litmus {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The set-up: durable when the calls begin.
    pub setup: &'static str,
    /// The calls.
    pub calls: &'static str,
}

impl Litmus {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [files::CASES, names::CASES, btrfs::CASES].into_iter().flatten().copied()
    }

    /// Set-up and calls in one text.
    pub fn script(&self) -> String {
        format!("{} | {}", self.setup, self.calls)
    }
}
