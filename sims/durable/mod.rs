//! The strategy `durable`, where it promises more than the registry's scenarios ask of everyone: what it heals, what
//! it keeps when a sync fails, when a collection runs beside a push, and what it costs.

mod collection;
mod healing;
pub mod interleave;
mod removals;
mod resume;
mod stopping;
mod syncs;

use bytes::Bytes;
use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode, split};

use crate::registry::Stage;

/// Runs a scenario on a directory of this machine and on the simulated disk.
macro_rules! on_both {
    ($scenario:ident) => {
        let dir = tempfile::tempdir().unwrap();
        let fs = pullplug::fs::real::RealFs::open_root(dir.path()).unwrap();
        pullplug::env::run_now(async { $scenario(&crate::registry::Stage::open("durable", fs).await).await });
        let fs = pullplug::disk::SimFs::new();
        pullplug::env::run_now(async { $scenario(&crate::registry::Stage::open("durable", fs).await).await });
    };
}
use on_both;

/// Makes a file hold `content`, behind the registry's back.
async fn plant<F: Fs>(fs: &F, path: &str, content: &[u8]) {
    fs.create_dir_all(split(path).unwrap().0).await.unwrap();
    let file = fs.open(path, OpenMode::Create).await.unwrap();
    file.set_len(0).await.unwrap();
    file.write_full(0, Bytes::copy_from_slice(content)).await.unwrap();
}

/// All paths below `dir`, sorted.
async fn tree<F: Fs>(fs: &F, dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs.list(&dir).await.unwrap() {
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            if entry.kind == pullplug::fs::FileKind::Dir {
                dirs.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The same directory under a new process.
async fn restarted<F: Fs>(s: &Stage<F>) -> Stage<F> {
    Stage { strategy: s.strategy, registry: s.restarted().await, fs: s.fs.clone(), clock: s.clock.clone() }
}
