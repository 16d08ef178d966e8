//! What it costs to know all outcomes, by how many effects are pending: crash state by crash state, and by what is asked.
//!
//! So many links to one file are made, and nothing is synced: each of them may be lost without the others. One reader a
//! link looks whether it is there, and at what it reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, free_atoms, survivors};
use pullplug::disk::effect::Cut;
use pullplug::disk::model::{Family, Posix};
use pullplug::disk::space::Space;
use pullplug::env::choice::DepthFirst;
use pullplug::env::run_now;
use pullplug::explore::lazy::outcomes;
use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode, Result};

const PENDING: [usize; 8] = [2, 4, 6, 8, 10, 12, 14, 100];
/// More than so many would take too long state by state.
const MOST_STATE_BY_STATE: usize = 14;

/// What a reader of a link comes to.
type Outcome = (usize, Option<usize>);

fn link(at: usize) -> String {
    format!("links/{at}")
}

async fn make_links(disk: &SimFs, count: usize) -> Result<()> {
    disk.mkdir("links").await?;
    let blob = disk.open("blob", OpenMode::CreateNew).await?;
    blob.write_full(0, vec![7; 600].into()).await?;
    blob.sync_all().await?;
    disk.settle();
    for at in 0..count {
        disk.hard_link("blob", &link(at)).await?;
    }
    Ok(())
}

fn look(disk: &SimFs, at: usize) -> Outcome {
    (at, run_now(disk.read(&link(at), 1_000)).ok().map(|bytes| bytes.len()))
}

fn state_by_state(space: &Space, all: &[Family], count: usize) -> BTreeSet<Outcome> {
    let mut found = BTreeSet::new();
    for family in all {
        let (free, mut chooser) = (free_atoms(family), DepthFirst::default());
        loop {
            let bits = survivors(space, family, &free, &mut chooser);
            let disk = SimFs::with_tree(space.view(&bits).tree());
            found.extend((0..count).map(|at| look(&disk, at)));
            if !chooser.advance() {
                break;
            }
        }
    }
    found
}

fn by_what_is_asked(space: &Arc<Space>, all: &[Family], count: usize) -> BTreeSet<Outcome> {
    (0..count).flat_map(|at| outcomes(space, all, |disk| look(disk, at)).into_keys()).collect()
}

fn pending_effects(c: &mut Criterion) {
    let mut group = c.benchmark_group("outcomes");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for count in PENDING {
        let disk = SimFs::new();
        run_now(make_links(&disk, count)).expect("a disk that works");
        let (base, log) = disk.snapshot();
        let end = Cut::after(log.len());
        let space = Arc::new(Space::new(base, log.into(), &Posix));
        let all = families(&space, &Posix, Loss::PowerCut, end);
        let asked = by_what_is_asked(&space, &all, count);
        assert_eq!(asked.len(), 2 * count, "each link is there in some states, and not in others");
        group.bench_function(BenchmarkId::new("lazy", count), |b| b.iter(|| by_what_is_asked(&space, &all, count)));
        if count <= MOST_STATE_BY_STATE {
            assert_eq!(asked, state_by_state(&space, &all, count));
            group.bench_function(BenchmarkId::new("plain", count), |b| b.iter(|| state_by_state(&space, &all, count)));
        }
    }
    group.finish();
}

criterion_group!(benches, pending_effects);
criterion_main!(benches);
