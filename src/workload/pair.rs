//! What two clients do at once.

use super::image::Image;
use super::op::Op;
use super::{Workload, WorkloadError};

/// The names of all pairs, in the order in which reports show them.
pub const PAIRS: [&str; 5] = ["push,push", "push,gc", "push,delete", "retag,retag", "resume,purge"];

/// The uploads of the second client have numbers of their own.
const SECOND_UPLOADS: u32 = 10;

/// Operations of two clients, on one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// All operations, those of the first client first.
    pub workload: Workload,
    /// So many of them are the first client's.
    pub first: usize,
}

impl Pair {
    /// The pair called `name`, either of its words first, on two images.
    ///
    /// * `push,push`: both push the first image as `v1` into an empty registry.
    /// * `push,gc`: with the first image there, and the second pushed and deleted, the second is pushed again while
    ///   garbage is collected, twice.
    /// * `push,delete`: with the first image there, it is pushed again while its manifest is deleted.
    /// * `retag,retag`: with both images there, one moves `v1` to the second, the other (back) to the first.
    /// * `resume,purge`: the first image's first blob came half, and the process was restarted; its client goes on while
    ///   all unfinished uploads are purged.
    pub fn named(name: &str, first: &Image, second: &Image) -> Result<Self, WorkloadError> {
        let sorted = |name: &str| {
            let mut words: Vec<String> = name.split(',').map(str::to_owned).collect();
            words.sort();
            words
        };
        let known = PAIRS.into_iter().find(|pair| sorted(pair) == sorted(name));
        let known = known.ok_or_else(|| WorkloadError::UnknownPair(name.to_owned()))?;
        let workload = |name| Workload::named(name, first, second);
        let pair = |from: Workload, setup: Vec<Op>, mine: Vec<Op>, other: Vec<Op>| {
            let (count, ops) = (mine.len(), [mine, other].concat());
            Self { workload: Workload { name: known.to_owned(), setup, ops, contents: from.contents }, first: count }
        };
        Ok(match known {
            "push,push" => {
                let push = workload("push")?;
                let ops = push.ops.clone();
                pair(push, Vec::new(), ops.clone(), in_own_uploads(&ops))
            }
            "push,gc" => {
                let (gc, before) = (workload("gc")?, workload("retag")?.setup.len());
                let (setup, collections) = (gc.setup.clone(), gc.ops.clone());
                // The deletion is the last operation of the setup.
                let again = in_own_uploads(&setup[before..setup.len() - 1]);
                pair(gc, setup, again, collections)
            }
            "push,delete" => {
                let delete = workload("delete")?;
                let (setup, deletion) = (delete.setup.clone(), delete.ops.clone());
                let again = in_own_uploads(&setup);
                pair(delete, setup, again, deletion)
            }
            "retag,retag" => {
                let (gc, before) = (workload("gc")?, workload("retag")?.setup.len());
                let setup = gc.setup[..gc.setup.len() - 1].to_vec();
                let back = setup[before - 1].clone();
                let mut away = setup[setup.len() - 1].clone();
                if let (Op::PutManifest { tag: away, .. }, Op::PutManifest { tag: v1, .. }) = (&mut away, &back) {
                    away.clone_from(v1);
                }
                pair(gc, setup, vec![away], vec![back])
            }
            _ => {
                let resume = workload("resume")?;
                let restart = resume.ops.iter().position(|op| *op == Op::Restart).unwrap_or_default();
                let (setup, rest) = (resume.ops[..restart].to_vec(), resume.ops[restart + 1..].to_vec());
                pair(resume, setup, rest, vec![Op::PurgeUploads])
            }
        })
    }
}

/// The same operations, in upload sessions of their own.
fn in_own_uploads(ops: &[Op]) -> Vec<Op> {
    let mut ops = ops.to_vec();
    for op in &mut ops {
        if let Op::StartUpload { upload, .. } | Op::Append { upload, .. } | Op::Commit { upload } = op {
            *upload += SECOND_UPLOADS;
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_what_they_say() {
        let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
        let shape = |name: &str| {
            let pair = Pair::named(name, &first, &second).unwrap();
            (pair.workload.setup.len(), pair.first, pair.workload.ops.len())
        };
        assert_eq!(PAIRS.map(shape), [(0, 5, 10), (11, 5, 7), (5, 5, 6), (10, 1, 2), (3, 5, 6)]);
        assert_eq!(shape("gc,push"), shape("push,gc"), "either comes first");
        let unknown = Pair::named("push,serve", &first, &second).unwrap_err().to_string();
        assert!(unknown.contains("push,push; push,gc"), "{unknown}");
    }
}
