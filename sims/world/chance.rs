//! Schedules by chance, through proptest: what fails is made small and kept as a regression. The seed is fixed, so that
//! a test run depends on the code alone; `pullplug simulate --seed` looks further.

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use pullplug::sim::generate::{Swarm, schedules};
use pullplug::sim::world::{Options, run};

use super::wanted;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("snapshots/regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn durable_survives(
        schedule in (any::<u64>(), prop::sample::select(vec!["journal", "xfs", "btrfs", "posix"]))
            .prop_flat_map(|(seed, model)| schedules(Swarm::of(seed), seed, wanted("durable", model), 1))
    ) {
        let outcome = run(&schedule, &Options::default()).unwrap();
        prop_assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    }
}
