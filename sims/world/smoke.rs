//! tmp

use pullplug::sim::campaign;
use pullplug::sim::generate::Wanted;
use pullplug::sim::world::Options;

#[test]
fn smoke() {
    let n = std::option_env!("X").map_or(20, |x| x.parse().unwrap());
    for strategy in ["durable", "distribution-2.8"] {
        let wanted = Wanted { strategy: strategy.into(), model: "posix".into(), clients: 3, steps: 50 };
        let t = std::time::Duration::ZERO;
        let s = campaign::runs(1, n, &wanted, &Options::default());
        println!("{strategy} {t:?} {} runs {} ms\n{:#?}", s.runs, s.ms, s.counts);
        println!("broken {:?}\n never {:?}", s.broken(), s.never());
        for (seed, f) in s.found.iter().take(6) {
            println!("{seed}: {:?}", f.first());
        }
    }
}
