//! Effects and trees in words: what a crash took and what it left, for people.
//!
//! What a crash took is derived from the log; nothing depends on the model beyond the atoms that it made.

use super::effect::{Effect, SECTOR_BYTES};
use super::space::{Atom, AtomId, Bits, Piece, STALE_BYTE, Space};
use super::tree::{Content, Tree};

/// Lost effects of one record, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEffect {
    /// The number of the record, from 0.
    pub record: usize,
    /// What is missing, as a phrase without a verb (`rename a -> b`, `sectors 3-5 of p`, `length of p 0 -> 71`).
    pub what: String,
}

impl Space {
    /// The atoms `lost` in words, in their order; sectors of one write that follow each other as one. `survivors` tells
    /// whether stale bytes show in place of what was lost.
    pub fn describe_lost(&self, lost: &[AtomId], survivors: &Bits) -> Vec<LostEffect> {
        let mut told: Vec<LostEffect> = Vec::new();
        let mut sectors: Option<Sectors> = None;
        for &id in lost {
            let Some(atom) = self.atoms().get(id) else { continue };
            if let Piece::Data { sector, .. } = atom.piece {
                let stale = self.stale_of(id, atom).is_some_and(|stale| survivors.contains(stale));
                if let Some(run) = &mut sectors
                    && run.continues(atom, sector, stale)
                {
                    run.last = sector;
                    continue;
                }
                told.extend(
                    sectors
                        .replace(Sectors { record: atom.record, first: sector, last: sector, stale })
                        .map(|s| s.told(self)),
                );
            } else if self.lacks_zeros(id, survivors) {
                told.extend(sectors.take().map(|s| s.told(self)));
                let what = format!("zeros behind the end of {}", subject(&self.records()[atom.record as usize].call));
                let zeros = LostEffect { record: atom.record as usize, what };
                told.extend((told.last() != Some(&zeros)).then_some(zeros));
            } else if matches!(atom.piece, Piece::Stale { .. } | Piece::Zero { .. }) || self.is_first_half(id) {
                // With these went the data behind them, the change of the length, or the other half: that is told.
            } else if self.arrived(id).is_some_and(|arrival| survivors.contains(arrival)) {
                let record = &self.records()[atom.record as usize];
                let old = subject(&record.call).split_once(" -> ").map_or("", |(old, _)| old);
                let what = format!("{} (the end of the old name {old})", record.call);
                told.extend(sectors.take().map(|s| s.told(self)));
                told.push(LostEffect { record: atom.record as usize, what });
            } else {
                told.extend(sectors.take().map(|s| s.told(self)));
                told.push(LostEffect { record: atom.record as usize, what: self.describe(atom) });
            }
        }
        told.extend(sectors.map(|s| s.told(self)));
        told
    }

    /// The atom that shows stale bytes where the data atom `id` is lost.
    fn stale_of(&self, id: AtomId, atom: &Atom) -> Option<AtomId> {
        let before = id.checked_sub(1)?;
        let shows = |a: &Atom| match (a.piece, atom.piece) {
            (Piece::Stale { inode: i, sector: s, .. }, Piece::Data { inode, sector, .. }) => i == inode && s == sector,
            _ => false,
        };
        (self.atoms()[before].record == atom.record && shows(&self.atoms()[before])).then_some(before)
    }

    /// The first half of the rename that is atom `id`.
    fn arrived(&self, id: AtomId) -> Option<AtomId> {
        let before = id.checked_sub(1)?;
        let [first, second] = [before, id].map(|id| self.atoms()[id].piece);
        let halves = matches!((first, second), (Piece::Arrival { .. }, Piece::Rename { .. }));
        halves.then_some(before)
    }

    /// Whether the atom behind `id` does what this one does, and more.
    fn is_first_half(&self, id: AtomId) -> bool {
        let Some([atom, next]) = self.atoms().get(id..id + 2) else { return false };
        let grows = |atom: &Atom| matches!(atom.piece, Piece::Grow { partial: None, .. });
        let moves = matches!(next.piece, Piece::Arrival { .. } | Piece::Rename { .. });
        let is_half = moves && matches!(atom.piece, Piece::Arrival { .. } | Piece::Name { .. });
        (is_half || (grows(atom) && grows(next))) && atom.record == next.record
    }

    fn describe(&self, atom: &Atom) -> String {
        let record = &self.records()[atom.record as usize];
        let effects = record.effects();
        let path = subject(&record.call);
        let ends = effects.iter().find_map(|e| match e {
            Effect::Size { before, after, .. } => Some((*before, *after)),
            _ => None,
        });
        match (atom.piece, ends) {
            (Piece::Rename { .. }, _) => record.call.clone(),
            (Piece::Name { before, after, .. }, _) => match effects {
                [Effect::Dentry { before: replaced, .. }, Effect::Dentry { .. }] => {
                    let (old, new) = path.split_once(" -> ").unwrap_or((path, path));
                    match after {
                        Some(_) => format!("{} (the new name {new})", record.call),
                        None if before.is_some() && before == *replaced => {
                            format!("{} (the end of what {new} was before)", record.call)
                        }
                        None => format!("{} (the end of the old name {old})", record.call),
                    }
                }
                _ => record.call.clone(),
            },
            (Piece::Grow { partial: Some(sectors), .. }, Some((before, _))) => {
                format!("length of {path} {before} -> {}", end_after(effects, sectors))
            }
            (Piece::Grow { .. } | Piece::Shrink { .. }, Some((before, after))) => {
                format!("length of {path} {before} -> {after}")
            }
            _ => record.call.clone(),
        }
    }
}

/// Sectors of one write that are lost, one behind the other.
struct Sectors {
    record: u32,
    first: u64,
    last: u64,
    stale: bool,
}

impl Sectors {
    fn continues(&self, atom: &Atom, sector: u64, stale: bool) -> bool {
        self.record == atom.record && self.last + 1 == sector && self.stale == stale
    }

    fn told(&self, space: &Space) -> LostEffect {
        let path = subject(&space.records()[self.record as usize].call);
        let which = if self.first == self.last {
            format!("sector {}", self.first)
        } else {
            format!("sectors {}-{}", self.first, self.last)
        };
        let instead = if self.stale { ", where stale bytes show" } else { "" };
        LostEffect { record: self.record as usize, what: format!("{which} of {path}{instead}") }
    }
}

/// What a call is about: its line without the word in front and, for a write or a truncation, the number behind.
fn subject(call: &str) -> &str {
    let (name, rest) = call.split_once(' ').unwrap_or(("", call));
    match rest.rsplit_once(' ') {
        Some((path, _)) if matches!(name, "write" | "truncate") => path,
        _ => rest,
    }
}

/// The length of a growing file after the first `sectors` sectors of a write.
fn end_after(effects: &[Effect], sectors: u32) -> u64 {
    let blocks =
        effects.iter().filter_map(|e| if let Effect::Block { sectors, .. } = e { Some(sectors) } else { None });
    let last = blocks.flatten().take(sectors as usize).last();
    last.map_or(0, |s| (s.sector + 1) * SECTOR_BYTES)
}

/// A tree as text: files with their content, and directories that are empty.
pub fn shown(tree: &Tree) -> String {
    let paths = tree.paths();
    let has_children = |dir: &str| paths.iter().any(|(p, _)| p.starts_with(&format!("{dir}/")));
    let words: Vec<String> = paths
        .iter()
        .filter_map(|(path, content)| match content {
            Some(content) => Some(format!("{path}={}", runs(content))),
            None if has_children(path) => None,
            None => Some(format!("{path}/")),
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

/// A content as runs of equal bytes: letters as they are, `0` for zeros, `?` for stale bytes.
fn runs(content: &Content) -> String {
    let bytes = content.read(0, content.len as usize);
    let runs: Vec<String> = bytes
        .chunk_by(|a, b| a == b)
        .map(|run| match run[0] {
            0 => format!("{}×0", run.len()),
            STALE_BYTE => format!("{}×?", run.len()),
            letter => format!("{}×{}", run.len(), char::from(letter)),
        })
        .collect();
    if runs.is_empty() { "empty".to_owned() } else { runs.join("+") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::effect::Cut;
    use crate::disk::{SimFs, model};
    use crate::env::run_now;
    use crate::fs::{File, Fs, OpenMode};

    /// Lays out what a small run did, and tells everything of it that is not in `kept` as lost.
    fn told(model: &str, kept: impl Fn(&Atom) -> bool) -> Vec<String> {
        let disk = SimFs::new();
        run_now(async {
            disk.mkdir("d").await.unwrap();
            let file = disk.open("d/a", OpenMode::CreateNew).await.unwrap();
            file.write_at(0, vec![7; 1500].into()).await.unwrap();
            file.set_len(10).await.unwrap();
            disk.open("b", OpenMode::CreateNew).await.unwrap();
            disk.rename("d/a", "b").await.unwrap();
        });
        let (base, log) = disk.snapshot();
        let space = Space::new(base, log.into(), model::named(model).unwrap());
        let all = space.executed(Cut::after(space.records().len()));
        let mut survivors = all.clone();
        let lost: Vec<AtomId> = all.iter().filter(|id| !kept(&space.atoms()[*id])).collect();
        lost.iter().for_each(|id| survivors.remove(*id));
        space.describe_lost(&lost, &survivors).into_iter().map(|l| l.what).collect()
    }

    #[test]
    fn every_kind_of_effect_has_its_words() {
        let all =
            ["mkdir d", "open-create d/a", "sectors 0-2 of d/a", "length of d/a 0 -> 1500", "length of d/a 1500 -> 10"];
        let expected: Vec<&str> = all.into_iter().chain(["open-create b", "rename d/a -> b"]).collect();
        assert_eq!(told("posix", |_| false), expected);
    }

    #[test]
    fn the_pieces_of_a_split_rename_are_told_apart() {
        let words = told("posix-split-rename", |a| !matches!(a.piece, Piece::Name { .. }));
        let expected = [
            "mkdir d",
            "open-create d/a",
            "open-create b",
            "rename d/a -> b (the end of what b was before)",
            "rename d/a -> b (the end of the old name d/a)",
            "rename d/a -> b (the new name b)",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn stale_bytes_are_named_where_they_show() {
        let words = told("ext4-writeback", |a| !matches!(a.piece, Piece::Data { sector: 1, .. }));
        assert_eq!(words, ["sector 1 of d/a, where stale bytes show"]);
        let words = told("ext4-writeback", |a| !matches!(a.piece, Piece::Data { .. } | Piece::Stale { .. }));
        assert_eq!(words, ["sectors 0-2 of d/a"]);
    }

    #[test]
    fn zeros_are_missed_where_the_shrink_does_not_wait_for_them() {
        let told = |model| told(model, |a| !matches!(a.piece, Piece::Zero { .. }));
        assert_eq!(told("ext4-writeback"), ["zeros behind the end of d/a"]);
        assert!(told("ext4-ordered").is_empty());
    }
}
