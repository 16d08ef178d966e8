//! How many crash states of the recorded push are verified per second, recovery included.
//!
//! An element is a crash state: distinct by its visible tree (and by what was acknowledged), every probe evaluated on
//! it. A verdict may be remembered from an earlier state in which the probe read the same.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use pullplug::disk::crash::Loss;
use pullplug::disk::model::{Btrfs, Ext4Ordered, PersistenceModel, Posix, Xfs};
use pullplug::explore::{Budget, Run, Setting, explore};
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::subject::RegistrySubject;

const BUDGET: Budget = Budget { states: 200_000, recovery_states: 1_000, restart_states: 0 };

fn crash_states(c: &mut Criterion) {
    let image = |seed| Image::generated(seed, "v1".parse().expect("a tag"), &[40_000]);
    let mut group = c.benchmark_group("explore-push");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for strategy in ["distribution-2.8", "distribution-3.1", "durable"] {
        let workload = Workload::named("push", &image(1), &image(2)).expect("a known workload");
        let subject = RegistrySubject::new(strategy, workload).expect("a known strategy");
        let run = Run::of(&subject).expect("the push succeeds");
        let models: [&dyn PersistenceModel; 4] = [&Ext4Ordered, &Xfs, &Btrfs, &Posix];
        for model in models {
            let setting = Setting { model, loss: Loss::PowerCut, seed: 1, budget: BUDGET };
            let seen = explore(&subject, &run, setting);
            let states = seen.crash_states + seen.recovery_states;
            println!("{strategy} under {}: {states} states, {} verdicts by running", model.name(), seen.executions);
            group.throughput(Throughput::Elements(states));
            group.bench_function(BenchmarkId::new(strategy, model.name()), |b| {
                b.iter(|| explore(&subject, &run, setting));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, crash_states);
criterion_main!(benches);
