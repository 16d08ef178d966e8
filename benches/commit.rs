//! The commit hot path: one recorded push (a 40,000-byte layer, a config, a manifest with a tag) by each strategy, on
//! the simulated disk (the strategy's own work) and in a real directory (with its syncs).

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pullplug::disk::SimFs;
use pullplug::fs::real::RealFs;
use pullplug::strategy;
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::subject::RegistrySubject;

fn push(strategy: &str) -> RegistrySubject {
    let image = |seed| Image::generated(seed, "v1".parse().expect("a tag"), &[40_000]);
    let workload = Workload::named("push", &image(1), &image(2)).expect("a known workload");
    RegistrySubject::new(strategy, workload).expect("a known strategy")
}

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("push");
    group.sample_size(20);
    for strategy in strategy::NAMES {
        let subject = push(strategy);
        group.bench_with_input(BenchmarkId::new("simulated", strategy), &subject, |b, subject| {
            b.iter_batched(SimFs::new, |fs| subject.run_on(fs, |_| {}), BatchSize::SmallInput);
        });
        group.bench_with_input(BenchmarkId::new("directory", strategy), &subject, |b, subject| {
            let fresh = || tempfile::tempdir().expect("a temporary directory");
            let run = |dir: tempfile::TempDir| {
                let fs = RealFs::open_root(dir.path()).expect("the directory opens");
                subject.run_on(fs, |_| {}).expect("the push succeeds");
                dir
            };
            b.iter_batched(fresh, run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);
