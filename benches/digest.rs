//! How fast content is hashed: the floor under every push and every verified read.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pullplug::oci::{Algorithm, Digest};

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("digest");
    for bytes in [71, 40_000, 4 << 20] {
        let content = vec![0x5A; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            group.bench_with_input(BenchmarkId::new(algorithm.name(), bytes), &content, |b, content| {
                b.iter(|| Digest::of(algorithm, black_box(content)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hashing);
criterion_main!(benches);
