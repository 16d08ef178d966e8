//! What a deterministic reader does on any disk, as far as it was seen.
//!
//! A run is determined by what it is told. So its runs form a tree: what it asks first, and for each reply what it asks
//! next, down to what comes of it. Inodes are named in the order in which a run meets them, so that runs on different
//! disks share the tree: readers compare inode numbers, and learn nothing else from them. What comes of a run must not
//! name inodes either; where it does (a log of what a reader wrote), it is told what they are called elsewhere.

use std::collections::BTreeMap;

use crate::disk::space::{Ask, Reply, View};
use crate::disk::tree::{Ino, ROOT};
use crate::fs::FileKind;

/// A reply, in words that hold on any disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Nothing,
    /// An inode that was not met before.
    New(FileKind),
    /// The inode that was met so many inodes ago, from the beginning.
    Met(u32),
    Value(u64),
}

/// The inodes that a run met, in this order; the root first.
#[derive(Debug, Clone)]
pub(super) struct Met {
    inodes: Vec<Ino>,
}

impl Default for Met {
    /// What every run has met at its begin.
    fn default() -> Self {
        Self { inodes: vec![ROOT] }
    }
}

impl Met {
    /// What a run met that asked this of a state.
    pub(super) fn by(view: &View<'_>, asks: &[Ask<Ino>]) -> Self {
        let mut met = Self::default();
        for ask in asks {
            let _ = met.told(view.reply(ask));
        }
        met
    }

    /// What the inode that was met here as `ino` is where `other` was met by the same questions.
    pub(super) fn elsewhere(&self, ino: Ino, other: &Self) -> Option<Ino> {
        other.inodes.get(self.name(ino)? as usize).copied()
    }

    /// The inode with this name.
    pub(super) fn inode(&self, name: u32) -> Ino {
        self.inodes[name as usize]
    }

    fn name(&self, ino: Ino) -> Option<u32> {
        self.inodes.iter().position(|met| *met == ino).map(|at| at as u32)
    }

    /// What a reply tells a run that met these; it meets one more, where the reply names it.
    pub(super) fn told(&mut self, reply: Reply) -> Told {
        match reply {
            Reply::Nothing => Told::Nothing,
            Reply::Value(value) => Told::Value(value),
            Reply::Inode(ino, kind) => match self.name(ino) {
                Some(name) => Told::Met(name),
                None => {
                    self.inodes.push(ino);
                    Told::New(kind)
                }
            },
        }
    }
}

/// What a reader does, as far as it was seen.
#[derive(Debug, Clone)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug, Clone)]
enum Node<T> {
    Ask { ask: Ask<u32>, next: BTreeMap<Told, usize> },
    End(T),
}

/// Where a run stands.
pub(super) enum At<'t, T> {
    /// It asks.
    Ask(&'t Ask<u32>),
    /// It came to its end.
    End(&'t T),
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Trie<T> {
    /// The place at which every run begins, if one was seen.
    pub(super) fn begin(&self) -> Option<usize> {
        (!self.nodes.is_empty()).then_some(0)
    }

    /// What happens at a place.
    pub(super) fn at(&self, place: usize) -> At<'_, T> {
        match &self.nodes[place] {
            Node::Ask { ask, .. } => At::Ask(ask),
            Node::End(value) => At::End(value),
        }
    }

    /// Where a run goes on that is told this; `None` if no run was seen that was.
    pub(super) fn next(&self, place: usize, told: Told) -> Option<usize> {
        match &self.nodes[place] {
            Node::Ask { next, .. } => next.get(&told).copied(),
            Node::End(_) => None,
        }
    }

    /// What a run on a state comes to and asks, if one was seen that was told the same.
    pub(super) fn follow(&self, view: &View<'_>) -> Option<(T, Vec<Ask<Ino>>)>
    where
        T: Clone,
    {
        let (mut met, mut asks, mut place) = (Met::default(), Vec::new(), self.begin()?);
        loop {
            match self.at(place) {
                At::End(value) => return Some((value.clone(), asks)),
                At::Ask(ask) => {
                    let ask = ask.of(met.inode(ask.about()));
                    let told = met.told(view.reply(&ask));
                    asks.push(ask);
                    place = self.next(place, told)?;
                }
            }
        }
    }

    /// Adds a run on a state: what it asked, and what came of it.
    pub(super) fn insert(&mut self, view: &View<'_>, asks: &[Ask<Ino>], value: T) {
        let mut met = Met::default();
        let mut from = None;
        for ask in asks {
            let Some(name) = met.name(ask.about()) else {
                debug_assert!(false, "asked about an inode that it never met: {ask:?}");
                continue;
            };
            let ask_by_name = ask.of(name);
            let place = match from {
                None => self.begin(),
                Some((place, told)) => self.next(place, told),
            };
            let place = match place {
                None => self.attach(from, Node::Ask { ask: ask_by_name, next: BTreeMap::new() }),
                Some(place) => {
                    let same = matches!(&self.nodes[place], Node::Ask { ask, .. } if *ask == ask_by_name);
                    assert!(same, "a reader must be deterministic: told the same, it asked {ask:?}");
                    place
                }
            };
            from = Some((place, met.told(view.reply(ask))));
        }
        self.attach(from, Node::End(value));
    }

    fn attach(&mut self, from: Option<(usize, Told)>, node: Node<T>) -> usize {
        let new = self.nodes.len();
        self.nodes.push(node);
        if let Some((place, told)) = from
            && let Node::Ask { next, .. } = &mut self.nodes[place]
        {
            next.insert(told, new);
        }
        new
    }
}
