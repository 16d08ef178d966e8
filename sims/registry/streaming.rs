//! Streaming: what the registry keeps of a blob while it takes it in, verifies it and hands it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pullplug::env::limits::IO_CHUNK_BYTES;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::real::RealFs;
use pullplug::fs::trace::{Call, Trace};
use pullplug::oci::{Algorithm, Digest, Hasher};
use pullplug::registry::Body;
use pullplug::strategy::{self, Result};

use super::{Stage, nothing, repo};

const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 200;

/// A piece of a body, and how many of its kind are alive.
struct Piece(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is made while it is read, and counts what the registry holds on to.
struct Counted {
    made: usize,
    alive: Arc<AtomicUsize>,
    most_alive: usize,
}

fn piece(nth: usize) -> Vec<u8> {
    vec![nth as u8; PIECE_BYTES]
}

#[async_trait]
impl Body for Counted {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.made == PIECES {
            return Ok(None);
        }
        let alive = self.alive.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_alive = self.most_alive.max(alive);
        self.made += 1;
        Ok(Some(Bytes::from_owner(Piece(piece(self.made), self.alive.clone()))))
    }
}

#[test]
fn memory_does_not_grow_with_the_blob() {
    let hash = |algorithm| {
        let mut hasher = Hasher::new(algorithm);
        (1..=PIECES).for_each(|nth| hasher.update(&piece(nth)));
        hasher.finish()
    };
    for strategy in strategy::NAMES {
        for digest in [hash(Algorithm::Sha256), hash(Algorithm::Sha512)] {
            let dir = tempfile::tempdir().unwrap();
            let fs = HookedFs::with_trace(RealFs::open_root(dir.path()).unwrap(), Trace::with_reads(), |_| Action::Run);
            run_now(async {
                let s = Stage::open(strategy, fs.clone()).await;
                take_in_and_hand_out(&s, &digest).await;
            });
            let whole = (PIECES * PIECE_BYTES) as u64;
            let mut read = 0;
            for call in fs.trace().take() {
                if let Call::Read { len, .. } | Call::Write { len, .. } = call {
                    assert!(len <= IO_CHUNK_BYTES as u64, "{strategy}: {len} bytes in one call");
                    read += if matches!(call, Call::Read { .. }) { len } else { 0 };
                }
            }
            assert!(read >= whole, "{strategy}: the blob was handed out, so it was read");
        }
    }
}

async fn take_in_and_hand_out(s: &Stage<HookedFs<RealFs>>, digest: &Digest) {
    let name = repo("lib/app");
    let mut body = Counted { made: 0, alive: Arc::default(), most_alive: 0 };
    let id = s.registry.start_upload(&name).await.unwrap();
    s.registry.append(&name, &id, None, &mut body).await.unwrap();
    assert_eq!(body.alive.load(Ordering::Relaxed), 0, "{}: nothing of it is kept", s.strategy);
    assert!(body.most_alive <= 2, "{}: {} pieces at once", s.strategy, body.most_alive);
    s.registry.commit(&name, &id, digest, None, &mut nothing()).await.unwrap();
    let mut reader = s.registry.read_blob(&name, digest, None).await.unwrap();
    let mut bytes = 0;
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(piece.len() <= IO_CHUNK_BYTES);
        bytes += piece.len();
    }
    assert_eq!(bytes, PIECES * PIECE_BYTES);
}
