//! What was seen of a registry's images: counts, and of each rule that was broken the smallest example.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::super::image::{Chosen, Logged, Way};
use crate::check::Observation;

/// After a crash everything can be pushed and pulled again: a rule that is no invariant of what lies on the disk.
pub const LIVE_AGAIN: &str = "live-again";

/// What came of one registry on one file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What clients asked for that changes something, and that was acknowledged.
    pub operations: (u64, u64),
    /// Requests that failed.
    pub failed: u64,
    /// What the first of these came to.
    pub first_failure: Option<String>,
    /// How many entries the disk's log had, and how many of them were flushes.
    pub log: (u64, u64),
    /// Images that were looked at, by how they came about.
    pub images: BTreeMap<Way, u64>,
    /// Images that could not be mounted or read, and the first of them.
    pub unmountable: (u64, Option<String>),
    /// Controls that broke something.
    pub caught: u64,
    /// The median time that an image took to be mounted and read; of several runs, the longest.
    pub median_micros: u64,
    /// What lies on the images.
    pub raw: Judged,
    /// What the program makes of the images, started on them.
    pub again: Judged,
}

impl Verdict {
    /// Another image that could not be mounted or read, and why.
    pub fn cannot_mount(&mut self, why: String) {
        self.unmountable.0 += 1;
        self.unmountable.1.get_or_insert(why);
    }

    /// Another run of the same.
    pub fn add(&mut self, other: Self) {
        let sum = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
        self.operations = sum(self.operations, other.operations);
        self.log = sum(self.log, other.log);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        other.images.into_iter().for_each(|(way, n)| *self.images.entry(way).or_default() += n);
        self.unmountable =
            (self.unmountable.0 + other.unmountable.0, self.unmountable.1.take().or(other.unmountable.1));
        self.caught += other.caught;
        self.median_micros = self.median_micros.max(other.median_micros);
        self.raw.add(other.raw);
        self.again.add(other.again);
    }
}

/// Images that were judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// So many.
    pub images: u64,
    /// By rule: the images in which it looked at something.
    pub looked: BTreeMap<String, u64>,
    /// By rule: the images in which it was broken.
    pub broken: BTreeMap<String, u64>,
    /// By rule: the smallest example.
    pub examples: BTreeMap<String, Example>,
}

/// An image that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// What is wrong, and where.
    pub detail: String,
    /// When the power went.
    pub cut: String,
    /// What was written and is not there.
    pub lost: Vec<String>,
    /// How small it is: what was lost, how long the log was.
    pub size: (usize, usize),
    /// The file in which the image is, if it was saved.
    pub saved: Option<PathBuf>,
}

/// A rule looked at something.
#[derive(Debug, Clone)]
pub struct Sight {
    /// What it is called.
    pub rule: &'static str,
    /// What is wrong.
    pub broken: Option<String>,
}

impl From<Observation> for Sight {
    fn from(seen: Observation) -> Self {
        Self { rule: seen.invariant.name(), broken: seen.violation }
    }
}

impl Judged {
    /// Another image, and what was seen of it; the examples for which it is taken.
    pub fn see(
        &mut self,
        seen: Vec<Sight>,
        chosen: &Chosen,
        log: &[Logged],
        told: &dyn Fn() -> String,
    ) -> Vec<&'static str> {
        let mut taken = Vec::new();
        self.images += 1;
        let rules: BTreeSet<&'static str> = seen.iter().map(|sight| sight.rule).collect();
        for rule in rules {
            *self.looked.entry(rule.to_owned()).or_default() += 1;
            let mut broken = seen.iter().filter(|sight| sight.rule == rule).filter_map(|sight| sight.broken.as_ref());
            let Some(detail) = broken.next() else { continue };
            *self.broken.entry(rule.to_owned()).or_default() += 1;
            let lost = chosen.lost(log);
            let size = (lost.len(), chosen.position);
            if self.examples.get(rule).is_none_or(|known| size < known.size) {
                let cut = format!("{}: {}", chosen.told(log), told());
                let example = Example { detail: detail.clone(), cut, lost, size, saved: None };
                self.examples.insert(rule.to_owned(), example);
                taken.push(rule);
            }
        }
        taken
    }

    fn add(&mut self, other: Self) {
        self.images += other.images;
        other.looked.into_iter().for_each(|(rule, n)| *self.looked.entry(rule).or_default() += n);
        other.broken.into_iter().for_each(|(rule, n)| *self.broken.entry(rule).or_default() += n);
        for (rule, example) in other.examples {
            if self.examples.get(&rule).is_none_or(|known| example.size < known.size) {
                self.examples.insert(rule, example);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::store::{Image, Part};
    use super::*;

    fn chosen(way: Way, position: usize, image: Image) -> Chosen {
        Chosen { way, image, position }
    }

    #[test]
    fn an_image_counts_once_for_a_rule_and_the_smallest_is_kept() {
        let log = [Logged::Write { offset: 0, len: 1024 }, Logged::Flush, Logged::Write { offset: 4096, len: 1024 }];
        let sight = |rule, broken: Option<&str>| Sight { rule, broken: broken.map(str::to_owned) };
        let torn = Image { whole: 2, parts: vec![Part { entry: 2, ranges: vec![(0, 512)] }] };
        let mut judged = Judged::default();
        let mut see = |seen, at| judged.see(seen, &at, &log, &|| "then".to_owned());
        see(vec![sight("a", Some("x")), sight("a", Some("y")), sight("b", None)], chosen(Way::Reordered, 3, torn));
        see(vec![sight("a", None)], chosen(Way::Prefix, 0, Image::default()));
        see(vec![sight("a", Some("z"))], chosen(Way::Prefix, 3, Image { whole: 3, parts: Vec::new() }));
        assert_eq!((judged.images, judged.looked["a"], judged.broken["a"], judged.looked["b"]), (3, 3, 2, 1));
        assert!(!judged.broken.contains_key("b"));
        assert_eq!(judged.examples["a"].detail, "z", "nothing was lost there");
        let mut other = Judged::default();
        other.see(
            vec![sight("a", Some("w"))],
            &chosen(Way::Prefix, 2, Image { whole: 2, parts: Vec::new() }),
            &log,
            &|| String::new(),
        );
        judged.add(other);
        assert_eq!((judged.images, judged.broken["a"], judged.examples["a"].detail.as_str()), (4, 3, "w"));
    }

    #[test]
    fn what_is_not_there_of_an_image() {
        let write = |offset| Logged::Write { offset, len: 1024 };
        let log = [write(0), Logged::Flush, write(4096), write(8192), write(12288)];
        let parts = vec![Part { entry: 2, ranges: vec![(0, 512)] }, Part { entry: 3, ranges: Vec::new() }];
        let lost = chosen(Way::Reordered, 5, Image { whole: 2, parts }).lost(&log);
        assert_eq!(lost, ["512 of 1024 B at 4096", "1024 B at 12288"]);
        assert_eq!(chosen(Way::Prefix, 4, Image { whole: 4, parts: Vec::new() }).lost(&log), [] as [String; 0]);
    }
}
