//! One crash as one word: what `pullplug replay` takes, short enough for a line, and what a replay file holds.
//!
//! ```text
//! STRATEGY/MODEL/WORKLOAD/LOSS[/INVARIANT][/turns@FIRST[:TURN,...]]
//!   [/restart@PLACE][/failed@SYNC:PAGES]/crash@PLACE[:LOST][/recovery@PLACE[:LOST]][/run@HASH]
//! FIRST = 1 or 2: which of two clients begins; TURN = a turn, counted from 0, that the other takes from it
//! PLACE = STEPS[.SECTORS]     so many steps were executed, and of the next, a write, so many sectors
//! SYNC, PAGES = the sync after so many others fails, and its pages are "clean", "reverted" or "dirty" from then on
//! LOST  = N[-N][,N[-N]]...    the effects that were lost, by their numbers in the order of execution
//! HASH  = 8 hexadecimal digits of the schedule: told apart from one that another version or image leads to
//! ```
//!
//! Every character in it is one that no shell treats specially.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disk::crash::Loss;
use crate::disk::effect::{Cut, Record};
use crate::disk::fault::FailedPages;
use crate::disk::space::AtomId;
use crate::explore::FailedSync;
use crate::explore::interleave::Schedule;
use crate::explore::replay::Crash;

/// Version of the replay file.
pub const FILE_VERSION: u64 = 1;
/// More lost effects than any schedule has: what keeps a hostile range from filling the memory.
const MAX_LOST: usize = 1 << 20;

/// Every way to stop.
pub const LOSSES: [Loss; 3] = [Loss::PowerCut, Loss::ProcessCrash, Loss::LyingDisk];

/// A crash, and what it was found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The strategy.
    pub strategy: String,
    /// The persistence model.
    pub model: String,
    /// The workload.
    pub workload: String,
    /// How the machine stops.
    pub loss: Loss,
    /// The invariant that it breaks; without one, the verdict is about all.
    pub invariant: Option<String>,
    /// The order of two clients, where there are two.
    pub turns: Option<Schedule>,
    /// The crash.
    pub crash: Crash,
    /// The fingerprint of the schedule ([`fingerprint`]).
    pub run: Option<u32>,
}

/// A word that is no [`Spec`]: what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

/// A number for a schedule that tells it from others: by its calls, their order, and their paths.
pub fn fingerprint(log: &[Record]) -> u32 {
    let mut hash = Sha256::new();
    for record in log {
        hash.update(record.call.as_bytes());
        hash.update([b'\n']);
    }
    let hash: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.strategy, self.model, self.workload, self.loss.name())?;
        if let Some(invariant) = &self.invariant {
            write!(f, "/{invariant}")?;
        }
        if let Some(Schedule { first, preemptions }) = &self.turns {
            write!(f, "/turns@{}", first + 1)?;
            let preemptions: Vec<String> = preemptions.iter().map(u32::to_string).collect();
            if !preemptions.is_empty() {
                write!(f, ":{}", preemptions.join(","))?;
            }
        }
        if let Some(at) = self.crash.restarted_at {
            write!(f, "/restart@{}", place(at))?;
        }
        if let Some(FailedSync { nth, pages }) = self.crash.failed_sync {
            write!(f, "/failed@{nth}:{}", pages.name())?;
        }
        write!(f, "/crash@{}", stop(self.crash.cut, &self.crash.lost))?;
        if let Some((cut, lost)) = &self.crash.in_recovery {
            write!(f, "/recovery@{}", stop(*cut, lost))?;
        }
        if let Some(run) = self.run {
            write!(f, "/run@{run:08x}")?;
        }
        Ok(())
    }
}

fn place(cut: Cut) -> String {
    match cut.inside {
        None => cut.records.to_string(),
        Some(sectors) => format!("{}.{sectors}", cut.records),
    }
}

fn stop(cut: Cut, lost: &[AtomId]) -> String {
    let mut ranges: Vec<(AtomId, AtomId)> = Vec::new();
    for &id in lost {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => ranges.push((id, id)),
        }
    }
    let told = |(from, to): (AtomId, AtomId)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let ids: Vec<String> = ranges.into_iter().map(told).collect();
    if ids.is_empty() { place(cut) } else { format!("{}:{}", place(cut), ids.join(",")) }
}

impl std::str::FromStr for Spec {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        let wrong = |why: String| SpecError(format!("{s:?} does not name a crash: {why}"));
        let mut parts = s.split('/');
        let mut word =
            |what: &str| parts.next().filter(|p| !p.is_empty()).ok_or_else(|| wrong(format!("{what} is missing")));
        let (strategy, model) = (word("the strategy")?.to_owned(), word("the model")?.to_owned());
        let (workload, loss) = (word("the workload")?.to_owned(), word("the kind of loss")?);
        let known = || wrong(format!("there is no loss {loss:?}; known are {}", LOSSES.map(Loss::name).join(", ")));
        let loss = LOSSES.into_iter().find(|l| l.name() == loss).ok_or_else(known)?;
        let (mut turns, mut failed_sync) = (None, None);
        let (mut invariant, mut restarted_at, mut crash, mut in_recovery, mut run) = (None, None, None, None, None);
        for part in parts {
            let twice = match part.split_once('@') {
                None => invariant.replace(part.to_owned()).is_some(),
                Some(("turns", order)) => turns.replace(parse_turns(order).map_err(wrong)?).is_some(),
                Some(("restart", at)) => restarted_at.replace(parse_place(at).map_err(wrong)?).is_some(),
                Some(("failed", at)) => failed_sync.replace(parse_failed(at).map_err(wrong)?).is_some(),
                Some(("crash", at)) => crash.replace(parse_stop(at).map_err(wrong)?).is_some(),
                Some(("recovery", at)) => in_recovery.replace(parse_stop(at).map_err(wrong)?).is_some(),
                Some(("run", hash)) => {
                    let parsed = u32::from_str_radix(hash, 16).map_err(|_| wrong(format!("{hash:?} is no hash")))?;
                    run.replace(parsed).is_some()
                }
                Some((other, _)) => return Err(wrong(format!("there is no part {other:?}"))),
            };
            if twice {
                return Err(wrong(format!("the part {part:?} comes twice")));
            }
        }
        let (cut, lost) = crash.ok_or_else(|| wrong("the part crash@... is missing".to_owned()))?;
        let crash = Crash { restarted_at, failed_sync, cut, lost, in_recovery };
        Ok(Self { strategy, model, workload, loss, invariant, turns, crash, run })
    }
}

fn number<N: std::str::FromStr>(s: &str) -> Result<N, String> {
    s.parse().map_err(|_| format!("{s:?} is no number"))
}

fn parse_turns(s: &str) -> Result<Schedule, String> {
    let (first, preemptions) = s.split_once(':').map_or((s, None), |(first, turns)| (first, Some(turns)));
    let first = match first {
        "1" => 0,
        "2" => 1,
        _ => return Err(format!("{s:?}: client 1 begins, or client 2")),
    };
    let preemptions = preemptions.into_iter().flat_map(|turns| turns.split(',')).map(number);
    let preemptions: Vec<u32> = preemptions.collect::<Result<_, _>>()?;
    if preemptions.is_sorted_by(|a, b| a < b) {
        Ok(Schedule { first, preemptions })
    } else {
        Err(format!("{s:?}: the turns must be in ascending order"))
    }
}

fn parse_failed(s: &str) -> Result<FailedSync, String> {
    let (nth, pages) = s.split_once(':').ok_or_else(|| format!("{s:?}: what becomes of the pages is missing"))?;
    let known = FailedPages::ALL.into_iter().find(|known| known.name() == pages);
    let known =
        known.ok_or_else(|| format!("{pages:?}: known are {}", FailedPages::ALL.map(FailedPages::name).join(", ")))?;
    Ok(FailedSync { nth: number(nth)?, pages: known })
}

fn parse_place(s: &str) -> Result<Cut, String> {
    match s.split_once('.') {
        None => Ok(Cut { records: number(s)?, inside: None }),
        Some((records, sectors)) => match number(sectors)? {
            0 => Err(format!("{s:?}: a write that is cut has executed a sector at least")),
            sectors => Ok(Cut { records: number(records)?, inside: Some(sectors) }),
        },
    }
}

fn parse_stop(s: &str) -> Result<(Cut, Vec<AtomId>), String> {
    let (at, ids) = s.split_once(':').map_or((s, None), |(at, ids)| (at, Some(ids)));
    let mut lost = Vec::new();
    for range in ids.into_iter().flat_map(|ids| ids.split(',')) {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (AtomId, AtomId) = (number(from)?, number(to)?);
        if from > to || lost.last().is_some_and(|last| *last >= from) {
            return Err(format!("{range:?}: the lost effects must be in ascending order"));
        }
        if to - from >= MAX_LOST - lost.len() {
            return Err(format!("{range:?}: more than {MAX_LOST} lost effects"));
        }
        lost.extend(from..=to);
    }
    Ok((parse_place(at)?, lost))
}

/// A replay file: a crash, what its content was made from, and, for people, what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFile {
    /// [`FILE_VERSION`].
    pub version: u64,
    /// The crash: a [`Spec`].
    pub replay: String,
    /// The seed of the generated image, in decimal.
    pub seed: String,
    /// The directory of the image layout, if it was not generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What is broken, in words. Not read.
    #[serde(default)]
    pub detail: String,
    /// The lost effects, in words. Not read.
    #[serde(default)]
    pub lost: Vec<String>,
}

impl ReplayFile {
    /// Reads the text of a replay file.
    pub fn parse(text: &[u8]) -> Result<Self, SpecError> {
        let not = |e: serde_json::Error| SpecError(format!("it is no replay file, or not a whole one: {e}"));
        let value: serde_json::Value = serde_json::from_slice(text).map_err(not)?;
        match value.get("version") {
            None => return Err(SpecError("it is no replay file: it has no version".to_owned())),
            Some(v) if v.as_u64() == Some(FILE_VERSION) => {}
            Some(v) => return Err(SpecError(format!("it has version {v}, and this pullplug reads {FILE_VERSION}"))),
        }
        serde_json::from_value(value).map_err(not)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(crash: Crash) -> Spec {
        Spec {
            strategy: "durable".to_owned(),
            model: "posix".to_owned(),
            workload: "push".to_owned(),
            loss: Loss::PowerCut,
            invariant: Some("no-dangling-link".to_owned()),
            turns: None,
            crash,
            run: Some(0x1a_2b3c),
        }
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let crash = Crash {
            restarted_at: Some(Cut { records: 7, inside: Some(2) }),
            failed_sync: None,
            cut: Cut::after(57),
            lost: vec![4, 5, 6, 9],
            in_recovery: Some((Cut { records: 3, inside: Some(1) }, Vec::new())),
        };
        let word = "durable/posix/push/power-cut/no-dangling-link/restart@7.2/crash@57:4-6,9/recovery@3.1/run@001a2b3c";
        assert_eq!(spec(crash.clone()).to_string(), word);
        let bare =
            Spec { invariant: None, run: None, ..spec(Crash { restarted_at: None, in_recovery: None, ..crash }) };
        assert_eq!(bare.to_string(), "durable/posix/push/power-cut/crash@57:4-6,9");
        assert_eq!(bare.to_string().parse(), Ok(bare.clone()));
        let failed_sync = Some(FailedSync { nth: 3, pages: FailedPages::Revert });
        let failed = Spec { crash: Crash { failed_sync, ..bare.crash.clone() }, ..bare.clone() };
        assert_eq!(failed.to_string(), "durable/posix/push/power-cut/failed@3:reverted/crash@57:4-6,9");
        let both = |preemptions| Spec { turns: Some(Schedule { first: 1, preemptions }), ..bare.clone() };
        assert_eq!(both(vec![17, 40]).to_string(), "durable/posix/push/power-cut/turns@2:17,40/crash@57:4-6,9");
        for preemptions in [vec![], vec![3], vec![17, 40]] {
            assert_eq!(both(preemptions.clone()).to_string().parse(), Ok(both(preemptions)));
        }
    }

    #[test]
    fn what_names_no_crash_says_why() {
        for (word, why) in [
            ("durable", "the model is missing"),
            ("durable/posix//power-cut/crash@1", "the workload is missing"),
            ("d/m/w/flood/crash@1", "known are power-cut, process-crash, lying-disk"),
            ("d/m/w/power-cut", "the part crash@... is missing"),
            ("d/m/w/power-cut/crash@1/crash@2", "comes twice"),
            ("d/m/w/power-cut/smash@1", "there is no part \"smash\""),
            ("d/m/w/power-cut/crash@x", "\"x\" is no number"),
            ("d/m/w/power-cut/crash@1.0", "a sector at least"),
            ("d/m/w/power-cut/crash@1:3-2", "ascending"),
            ("d/m/w/power-cut/crash@1:3,3", "ascending"),
            ("d/m/w/power-cut/crash@1:0-99999999999", "more than"),
            ("d/m/w/power-cut/crash@1:", "is no number"),
            ("d/m/w/power-cut/crash@1/run@xyz", "is no hash"),
            ("d/m/w/power-cut/failed@3/crash@1", "what becomes of the pages is missing"),
            ("d/m/w/power-cut/failed@3:x/crash@1", "known are clean, reverted, dirty"),
            ("d/m/w/power-cut/turns@3/crash@1", "client 1 begins, or client 2"),
            ("d/m/w/power-cut/turns@1:4,4/crash@1", "ascending"),
            ("d/m/w/power-cut/turns@1:/crash@1", "is no number"),
        ] {
            let told = word.parse::<Spec>().unwrap_err().to_string();
            assert!(told.contains(why), "{word}: {told}");
        }
    }

    proptest! {
        #[test]
        fn words_lead_back(
            restart in proptest::option::of((any::<u32>(), proptest::option::of(1u32..))),
            failed in proptest::option::of((any::<u32>(), 0..FailedPages::ALL.len())),
            records: u32,
            lost in proptest::collection::btree_set(0usize..300, 0..40),
            recovery in proptest::option::of((any::<u32>(), proptest::collection::btree_set(0usize..30, 0..20))),
        ) {
            let crash = Crash {
                restarted_at: restart.map(|(records, inside)| Cut { records, inside }),
                failed_sync: failed.map(|(nth, pages)| FailedSync { nth, pages: FailedPages::ALL[pages] }),
                cut: Cut { records, inside: None },
                lost: lost.into_iter().collect(),
                in_recovery: recovery.map(|(records, ids)| (Cut { records, inside: None }, ids.into_iter().collect())),
            };
            let spec = spec(crash);
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }

        #[test]
        fn no_word_is_a_panic(word in "[a-z0-9/@:.,-]{0,60}") {
            let _ = word.parse::<Spec>();
            let _ = format!("d/m/w/power-cut/crash@{word}").parse::<Spec>();
        }
    }

    #[test]
    fn replay_files_come_back_and_torn_ones_do_not() {
        let file = ReplayFile {
            version: FILE_VERSION,
            replay: "d/m/w/power-cut/crash@1".to_owned(),
            seed: u64::MAX.to_string(),
            image: None,
            detail: "x".to_owned(),
            lost: vec!["y".to_owned()],
        };
        let text = serde_json::to_string(&file).unwrap();
        assert_eq!(ReplayFile::parse(text.as_bytes()), Ok(file));
        for cut in 0..text.len() {
            assert!(ReplayFile::parse(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
        let newer = ReplayFile::parse(br#"{"version":2}"#).unwrap_err().to_string();
        assert_eq!(newer, "it has version 2, and this pullplug reads 1");
    }
}
