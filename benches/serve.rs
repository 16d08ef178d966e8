//! `pullplug serve` beside Debian's `docker-registry`: the same requests to both, in turns, on one disk, in one run.
//!
//! Prints ratios, since the numbers themselves are those of a machine and a moment. `cargo bench --bench serve -- PART…`
//! runs some of its parts (`push`, `pull`, `memory`) only. `durable` promises more than what it is compared with: an
//! answered push survives a power cut on every file system.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nobody to tell but the terminal")]

#[path = "../sims/clients/crowd.rs"]
mod crowd;
#[path = "../sims/clients/program.rs"]
#[expect(dead_code, reason = "the tests end servers in an orderly way; here they are killed")]
mod program;
#[path = "../sims/clients/wire.rs"]
mod wire;

use std::thread::scope;
use std::time::{Duration, Instant};

use crowd::Crowd;
use program::Program;
use pullplug::oci::Digest;
use wire::Wire;

/// Turns that each server takes at each measurement; the median counts.
const TURNS: usize = 5;
const REPO: &str = "lib/bench";
/// The kernel's unit of CPU time (USER_HZ).
const TICK_MILLIS: f64 = 10.0;

/// What one turn cost.
#[derive(Debug, Clone, Copy)]
struct Turn {
    per_second: f64,
    /// The slowest answer.
    slowest: Duration,
    server_millis_each: f64,
}

/// The two servers, by name.
struct Pair(Vec<(&'static str, Program)>);

impl Pair {
    fn start(dirs: &[tempfile::TempDir; 2]) -> Self {
        let [ours, theirs] = dirs.each_ref().map(|dir| program::configure(dir.path()).1);
        let strategy = std::env::args().find_map(|arg| arg.strip_prefix("--strategy=").map(str::to_owned));
        let strategy = strategy.unwrap_or_else(|| "durable".to_owned());
        Self(vec![
            ("pullplug", Program::pullplug(&ours, &strategy)),
            ("docker-registry", Program::docker_registry(&theirs)),
        ])
    }

    /// Measures both in turns, and prints what came of it.
    fn compare(&self, what: &str, mut turn: impl FnMut(&Program, usize) -> Turn) {
        let mut turns: [Vec<Turn>; 2] = [Vec::new(), Vec::new()];
        for at in 0..TURNS {
            // Whoever comes first finds the disk calmer, or busier: they take turns at that as well.
            for server in [at % 2, 1 - at % 2] {
                turns[server].push(turn(&self.0[server].1, at));
            }
        }
        let median = |of: fn(&Turn) -> f64| {
            [0, 1].map(|server: usize| {
                let mut values: Vec<f64> = turns[server].iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            })
        };
        let rate = median(|turn| turn.per_second);
        let cpu = median(|turn| turn.server_millis_each);
        let slowest = [0, 1].map(|server: usize| turns[server].iter().map(|turn| turn.slowest).max().unwrap());
        println!("{what}");
        for (server, (name, _)) in self.0.iter().enumerate() {
            let millis = slowest[server].as_millis();
            let (rate, cpu) = (rate[server], cpu[server]);
            println!("  {name:16} {rate:9.1}/s   server CPU {cpu:7.3} ms each   slowest {millis} ms");
        }
        println!("  ratio            {:9.2}     {:18.2}", rate[0] / rate[1], cpu[0] / cpu[1]);
    }
}

/// Runs `act` for each client of each of `clients`, `times` times, and measures.
#[expect(clippy::disallowed_methods, reason = "what is measured here is the machine's time")]
fn measure(server: &Program, clients: usize, times: usize, act: impl Fn(&mut Wire, usize) + Sync) -> Turn {
    let wires: Vec<Wire> = (0..clients).map(|_| Wire::connect(server.address())).collect();
    let (cpu, began) = (cpu_millis(server.id()), Instant::now());
    let slowest = scope(|scope| {
        let client = |(client, mut wire): (usize, Wire)| {
            let act = &act;
            scope.spawn(move || {
                let one = |at| {
                    let began = Instant::now();
                    act(&mut wire, client * times + at);
                    began.elapsed()
                };
                (0..times).map(one).max().unwrap()
            })
        };
        let clients: Vec<_> = wires.into_iter().enumerate().map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).max().unwrap()
    });
    let (seconds, all) = (began.elapsed().as_secs_f64(), (clients * times) as f64);
    let server_millis_each = (cpu_millis(server.id()) - cpu) / all;
    Turn { per_second: all / seconds, slowest, server_millis_each }
}

/// User and system time of a process so far.
#[expect(clippy::disallowed_methods, reason = "what the kernel says of a process")]
fn cpu_millis(process: u32) -> f64 {
    let stat = String::from_utf8(std::fs::read(format!("/proc/{process}/stat")).unwrap()).unwrap();
    // The name, in brackets, may hold anything; user time is the 14th field, system time the 15th.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks * TICK_MILLIS
}

/// Content that no other call made.
fn blob(of: u64, len_bytes: usize) -> (String, Vec<u8>) {
    let mut blob: Vec<u8> = (0..len_bytes).map(|at| (at * 31 % 251) as u8).collect();
    blob[..8].copy_from_slice(&of.to_le_bytes());
    (Digest::sha256(&blob).to_string(), blob)
}

fn pushes(pair: &Pair) {
    let mut next = 0;
    for (clients, times) in [(1, 200), (16, 40)] {
        pair.compare(&format!("pushes of 64 KiB (POST and PUT), {clients} at once"), |server, _| {
            let blobs: Vec<_> = (next..next + (clients * times) as u64).map(|of| blob(of, 64 << 10)).collect();
            next += blobs.len() as u64;
            measure(server, clients, times, |wire, at| wire.push_blob(REPO, &blobs[at].0, &blobs[at].1))
        });
    }
}

fn pulls(pair: &Pair) {
    for (name, len_bytes, clients, times) in [
        ("4 KiB", 4 << 10, 1, 1000),
        ("4 KiB", 4 << 10, 16, 200),
        ("1 MiB", 1 << 20, 1, 200),
        ("1 MiB", 1 << 20, 16, 30),
        ("64 MiB", 64 << 20, 1, 8),
        ("64 MiB", 64 << 20, 16, 1),
    ] {
        let (digest, blob) = blob(u64::MAX - len_bytes as u64, len_bytes);
        for (_, server) in &pair.0 {
            Wire::connect(server.address()).push_blob(REPO, &digest, &blob);
        }
        let path = format!("/v2/{REPO}/blobs/{digest}");
        pair.compare(&format!("pulls of {name}, {clients} at once"), |server, _| {
            measure(server, clients, times, |wire, _| {
                wire.send("GET", &path, "", 0);
                assert_eq!(wire.skip(), (200, len_bytes as u64));
            })
        });
    }
}

fn memory(pair: &Pair) {
    const BLOB_MEBIBYTES: u64 = 256;
    let crowd = Crowd::new(BLOB_MEBIBYTES);
    println!("most memory resident, {} clients with a blob of {BLOB_MEBIBYTES} MiB each", crowd::CLIENTS);
    for (name, server) in &pair.0 {
        crowd.push(server.address());
        let pushed = crowd::peak_resident_bytes(server.id()) >> 20;
        crowd.pull(server.address());
        let pulled = crowd::peak_resident_bytes(server.id()) >> 20;
        println!("  {name:16} {pushed} MiB after the pushes, {pulled} MiB after the pulls");
    }
    println!("  wanted           at most {} MiB", crowd::MAX_RESIDENT_BYTES >> 20);
}

fn main() {
    if !program::is_installed("docker-registry") {
        eprintln!("SKIPPED: docker-registry is not installed (apt-get install docker-registry)");
        return;
    }
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    // The build's directory: a disk, where the system's directory for temporary files may be memory.
    let dirs = [(); 2].map(|()| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    for (part, run) in [("push", pushes as fn(&Pair)), ("pull", pulls), ("memory", memory)] {
        if wanted(part) {
            // Fresh servers: what one part left in their memory is no matter of the next.
            run(&Pair::start(&dirs));
        }
    }
}
