//! Verdicts remembered by what was read to reach them.
//!
//! A probe is deterministic: it first asks the disk one thing, and what it asks next depends on the answer alone. So
//! its runs form a tree of questions, and a crash state whose answers lead to a leaf that was reached before has that
//! leaf's verdict: running the probe again would repeat the same run, read for read. Two states that differ only in
//! what the probe never looks at share one run. Questions that every crash state answers alike are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::SimFs;
use crate::disk::space::{Question, Space, View};

/// A tree of questions with values of type `T` at its leaves.
#[derive(Debug)]
pub struct Memo<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
enum Node<T> {
    /// A question, and which node each answer leads to.
    Ask {
        question: Question,
        answers: BTreeMap<u64, usize>,
    },
    Leaf(T),
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Memo<T> {
    /// The value for a state that answers so, if one with the same answers was seen.
    pub fn get(&self, mut answer: impl FnMut(Question) -> u64) -> Option<&T> {
        let mut at = 0;
        loop {
            match self.nodes.get(at)? {
                Node::Leaf(value) => return Some(value),
                Node::Ask { question, answers } => at = *answers.get(&answer(*question))?,
            }
        }
    }

    /// Remembers `value` for the state of `view`, reached by asking `questions` of it, in this order.
    pub fn insert(&mut self, view: &View<'_>, questions: &[Question], value: T) {
        let mut from = None;
        for question in questions {
            let known = match from {
                None => (!self.nodes.is_empty()).then_some(0),
                Some((node, answer)) => self.follow(node, answer),
            };
            let at =
                known.unwrap_or_else(|| self.attach(from, Node::Ask { question: *question, answers: BTreeMap::new() }));
            debug_assert!(
                matches!(&self.nodes[at], Node::Ask { question: asked, .. } if asked == question),
                "a probe must be deterministic"
            );
            from = Some((at, view.answer(*question)));
        }
        self.attach(from, Node::Leaf(value));
    }

    fn follow(&self, node: usize, answer: u64) -> Option<usize> {
        match &self.nodes[node] {
            Node::Ask { answers, .. } => answers.get(&answer).copied(),
            Node::Leaf(_) => None,
        }
    }

    /// Adds a node behind an answer, and tells its number.
    fn attach(&mut self, from: Option<(usize, u64)>, node: Node<T>) -> usize {
        let new = self.nodes.len();
        self.nodes.push(node);
        if let Some((node, answer)) = from
            && let Node::Ask { answers, .. } = &mut self.nodes[node]
        {
            answers.insert(answer, new);
        }
        new
    }
}

/// Runs `probe` on the state of `view`, built as a disk of its own, and tells what it asked.
pub fn run_recording<T>(
    space: &Arc<Space>,
    view: &View<'_>,
    keep_log: bool,
    probe: impl FnOnce(&SimFs) -> T,
) -> (T, Vec<Question>) {
    let disk = SimFs::undecided(view.tree(), space.clone(), keep_log);
    let value = probe(&disk);
    (value, disk.questions())
}
