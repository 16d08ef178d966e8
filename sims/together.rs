//! Two clients at once, under every interleaving within a bound.

use pullplug::disk::model::{self, PersistenceModel};
use pullplug::explore::interleave::search::{Coverage, Search};
use pullplug::workload::image::Image;
use pullplug::workload::pair::{PAIRS, Pair};
use pullplug::workload::together::{Stage, Together};

fn image(seed: u64) -> Image {
    Image::generated(seed, "v1".parse().unwrap(), &[])
}

fn stage(strategy: &str, pair: &str) -> Stage<String> {
    Stage::new(strategy.to_owned(), Pair::named(pair, &image(1), &image(2)).unwrap()).unwrap()
}

fn search<'a>(
    stage: &'a Stage<String>,
    model: &dyn PersistenceModel,
    preemptions: usize,
    reduce: bool,
) -> (Vec<Together<'a, String>>, Coverage) {
    let search = Search { preemptions, order: model.keeps_order(), reduce };
    search.all(|schedule| stage.run(schedule)).unwrap()
}

#[test]
fn measure() {
    for strategy in ["distribution-2.8", "durable"] {
        for pair in PAIRS {
            let stage = stage(strategy, pair);
            for (model, bound) in [(&model::Posix as &dyn PersistenceModel, 1), (&model::Xfs, 1), (&model::Posix, 2)] {
                #[expect(clippy::disallowed_methods, reason = "x")]
                let at = std::time::Instant::now();
                let (runs, coverage) = search(&stage, model, bound, true);
                let refused = runs.iter().filter(|r| !r.refused.is_empty()).count();
                let ex = runs.iter().flat_map(|r| r.refused.first()).next();
                println!(
                    "{strategy} {pair} {} {bound}: {coverage:?} {:?} refused {refused} {ex:?}",
                    model.name(),
                    at.elapsed()
                );
            }
        }
    }
}
