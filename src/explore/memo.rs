//! Verdicts remembered by what was read to reach them.
//!
//! A probe is deterministic: it first asks the disk one thing, and what it asks next depends on the answer alone. So
//! its runs form a tree of questions, and a crash state whose answers lead to a leaf that was reached before has that
//! leaf's verdict: running the probe again would repeat the same run, read for read. Two states that differ only in
//! what the probe never looks at share one run. Questions that every crash state answers alike are left out.

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
    Ask { question: Question, answers: Vec<(u64, u32)> },
    Leaf(T),
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Memo<T> {
    /// A memo that has `value` for every state.
    pub fn answering(value: T) -> Self {
        Self { nodes: vec![Node::Leaf(value)] }
    }

    /// The value for a state that answers so, if one with the same answers was seen.
    pub fn get(&self, mut answer: impl FnMut(Question) -> u64) -> Option<&T> {
        let mut at = 0;
        loop {
            match self.nodes.get(at)? {
                Node::Leaf(value) => return Some(value),
                Node::Ask { question, answers } => {
                    let given = answer(*question);
                    at = answers.iter().find(|(a, _)| *a == given)?.1 as usize;
                }
            }
        }
    }

    /// Remembers `value` for the state of `view`, reached by asking `questions` of it, in this order.
    pub fn insert(&mut self, view: &View<'_>, questions: &[Question], value: T) {
        let mut at = None;
        for question in questions {
            at = Some(self.child(at, *question, view.answer(*question)));
        }
        match at {
            // The place behind the last answer was reserved by `child`; the leaf goes there.
            Some((node, slot)) => {
                let leaf = self.nodes.len() as u32;
                self.nodes.push(Node::Leaf(value));
                if let Node::Ask { answers, .. } = &mut self.nodes[node] {
                    answers[slot].1 = leaf;
                }
            }
            None => self.nodes.push(Node::Leaf(value)),
        }
    }

    /// The node that asks `question` behind the answer `from`, and the slot of `answer` in it; both made if missing.
    fn child(&mut self, from: Option<(usize, usize)>, question: Question, answer: u64) -> (usize, usize) {
        let at = match from {
            None if !self.nodes.is_empty() => 0,
            Some((node, slot)) if self.target(node, slot) != UNSET => self.target(node, slot) as usize,
            _ => {
                self.nodes.push(Node::Ask { question, answers: Vec::new() });
                let new = self.nodes.len() - 1;
                if let Some((node, slot)) = from
                    && let Node::Ask { answers, .. } = &mut self.nodes[node]
                {
                    answers[slot].1 = new as u32;
                }
                new
            }
        };
        let Node::Ask { question: asked, answers } = &mut self.nodes[at] else {
            unreachable!("a deterministic probe stops where it stopped before")
        };
        debug_assert_eq!(*asked, question, "a probe must be deterministic");
        let slot = answers.iter().position(|(a, _)| *a == answer).unwrap_or_else(|| {
            answers.push((answer, UNSET));
            answers.len() - 1
        });
        (at, slot)
    }

    fn target(&self, node: usize, slot: usize) -> u32 {
        match &self.nodes[node] {
            Node::Ask { answers, .. } => answers[slot].1,
            Node::Leaf(_) => UNSET,
        }
    }
}

const UNSET: u32 = u32::MAX;

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
