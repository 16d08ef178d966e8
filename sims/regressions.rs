//! Defects that people met in the field, and one that was measured on a real kernel. In each test the registry that
//! has the defect shows it, and `durable` does not, on the same directory where that makes sense.
//!
//! The reports are of distribution/distribution, where nothing else is said. Left out are those that this layer cannot
//! show: that a push is skipped after a collection because an in-memory cache still knows the blobs (1803, 3743, 4569,
//! 4702; there is no cache here), and that a collection stops at a repository without `_manifests` (1640; the versions
//! reproduced here do not). What is damaged is damaged by a kill of the process or by a power cut that a model allows,
//! never by hand.

mod collection;
mod crash;

use std::future::Future;
use std::task::{Context, Waker};

use pullplug::disk::SimFs;
use pullplug::disk::tree::Tree;
use pullplug::env::{World, run_now};
use pullplug::registry::Registry;
use pullplug::workload::image::Image;

use crate::durable::interleave::{Yielding, finish};
use crate::registry::{Stage, tag};

/// A registry between any two of whose calls something else may happen.
type Stoppable = Stage<Yielding<SimFs>>;

const DISTRIBUTIONS: [&str; 2] = ["distribution-2.8", "distribution-3.1"];

fn image(seed: u64) -> Image {
    Image::generated(seed, tag("v1"), &[600])
}

/// A process of `strategy` on `disk`.
fn stoppable(strategy: &'static str, disk: &SimFs) -> Stoppable {
    finish(Stage::open(strategy, Yielding(disk.clone())))
}

/// The next process, on what is left.
fn started(strategy: &'static str, left: &Tree) -> Stage<SimFs> {
    let fs = SimFs::with_tree(left.clone());
    let registry = run_now(Registry::open(strategy, fs.clone(), World::simulated(2))).unwrap();
    Stage { strategy, registry, fs, clock: Default::default() }
}

/// Makes at most `calls` calls of `work`; what it gave, if it came to its end.
fn advance<T>(work: &mut std::pin::Pin<Box<impl Future<Output = T>>>, calls: usize) -> Option<T> {
    for _ in 0..calls {
        if let std::task::Poll::Ready(value) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(value);
        }
    }
    None
}

/// What a process of `strategy` does on an empty directory leaves.
fn after<T>(strategy: &'static str, work: impl AsyncFn(&Stage<SimFs>) -> T) -> Tree {
    let disk = SimFs::new();
    run_now(async { drop(work(&Stage::open(strategy, disk.clone()).await).await) });
    disk.tree()
}

/// What is left of `before` when the process is killed before each of the calls of `work`, and after all of them.
fn kills<T>(strategy: &'static str, before: &Tree, work: impl AsyncFn(&Stoppable) -> T) -> Vec<Tree> {
    let mut left = Vec::new();
    for calls in 0.. {
        let disk = SimFs::with_tree(before.clone());
        let s = stoppable(strategy, &disk);
        let mut work = Box::pin(work(&s));
        let done = advance(&mut work, calls).is_some();
        left.push(disk.tree());
        if done {
            break;
        }
    }
    assert!(left.len() > 10, "only {} calls", left.len());
    left
}
