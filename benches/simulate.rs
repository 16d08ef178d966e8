//! How many whole worlds are run per second: schedules of about 50 client operations each, crashes, faults and judging
//! included.
//!
//! An element is a schedule. They run one after the other on one core; a campaign runs as many at once as there are
//! cores.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use pullplug::sim::generate::{Wanted, generate};
use pullplug::sim::schedule::Schedule;
use pullplug::sim::world::{Options, run};

/// How many schedules one iteration runs.
const SCHEDULES: u64 = 20;

fn worlds(c: &mut Criterion) {
    let mut group = c.benchmark_group("worlds");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(SCHEDULES));
    for model in ["ext4-ordered", "btrfs", "posix"] {
        let wanted = Wanted { strategy: "durable".to_owned(), model: model.to_owned(), clients: 3, steps: 70 };
        let schedules: Vec<Schedule> = (1..=SCHEDULES).map(|seed| generate(seed, &wanted)).collect();
        group.bench_function(model, |b| {
            b.iter(|| {
                for schedule in &schedules {
                    run(schedule, &Options::default()).expect("a schedule that can be run");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, worlds);
criterion_main!(benches);
