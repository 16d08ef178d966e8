//! Many clients at once with large blobs, and what the server's memory makes of them.

use std::thread::scope;

use pullplug::oci::{Algorithm, Hasher};

use super::wire::Wire;

/// How many clients.
pub const CLIENTS: u8 = 16;
/// Most that a server may ever have resident with them.
pub const MAX_RESIDENT_BYTES: u64 = 100 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// A crowd in which each client has a blob of its own.
pub struct Crowd {
    pieces: u64,
    digests: Vec<String>,
}

impl Crowd {
    /// Blobs of `mebibytes` each.
    pub fn new(mebibytes: u64) -> Self {
        let digest = |client| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            (0..mebibytes).for_each(|_| hasher.update(&piece(client)));
            hasher.finish().to_string()
        };
        Self { pieces: mebibytes, digests: (0..CLIENTS).map(digest).collect() }
    }

    /// All push at once.
    pub fn push(&self, address: &str) {
        self.each(|client, digest| {
            let (mut wire, piece) = (Wire::connect(address), piece(client));
            let path = wire.start("lib/large", digest);
            wire.send("PUT", &path, "", self.pieces * PIECE_BYTES as u64);
            (0..self.pieces).for_each(|_| wire.write(&piece));
            assert_eq!(wire.skip().0, 201);
        });
    }

    /// All pull at once.
    pub fn pull(&self, address: &str) {
        self.each(|_, digest| {
            let mut wire = Wire::connect(address);
            wire.send("GET", &format!("/v2/lib/large/blobs/{digest}"), "", 0);
            assert_eq!(wire.skip(), (200, self.pieces * PIECE_BYTES as u64));
        });
    }

    fn each(&self, act: impl Fn(u8, &str) + Sync) {
        scope(|scope| {
            for (client, digest) in (0..CLIENTS).zip(&self.digests) {
                let act = &act;
                scope.spawn(move || act(client, digest));
            }
        });
    }
}

fn piece(client: u8) -> Vec<u8> {
    vec![client; PIECE_BYTES]
}

/// The most that a process ever had resident.
#[expect(clippy::disallowed_methods, reason = "what the kernel says of a process")]
pub fn peak_resident_bytes(process: u32) -> u64 {
    let status = String::from_utf8(std::fs::read(format!("/proc/{process}/status")).unwrap()).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
