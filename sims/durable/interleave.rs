//! Operations at the same time, on one registry: before each call on the file system any other task may run. Whatever
//! one of them is told must survive a power cut at that very moment, under `posix`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pullplug::disk::crash::{self, Loss};
use pullplug::disk::effect::Cut;
use pullplug::disk::space::Space;
use pullplug::disk::{SimFs, model};
use pullplug::env::choice::{Chooser, Seeded};
use pullplug::env::{World, run_now};
use pullplug::fs::{DirEntry, File, FileExt, Fs, FsExt, Metadata, OpenMode, Result};
use pullplug::oci::{Digest, Name};
use pullplug::registry::{Error, Registry};
use pullplug::strategy::CollectOptions;
use pullplug::workload::image::Image;

use super::tree;
use crate::registry::{Stage, nothing, reference, repo, tag};

/// Lets every other task run before each call.
#[derive(Clone)]
pub struct Yielding<F>(pub F);

pub struct YieldingFile<H>(H);

async fn others_run() {
    let mut yielded = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Implements calls by yielding, then passing on.
macro_rules! yielding {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        $(async fn $name(&self, $($arg: $ty),*) -> Result<$out> {
            others_run().await;
            self.0.$name($($arg),*).await
        })*
    };
}

impl<F: Fs> Fs for Yielding<F> {
    type File = YieldingFile<F::File>;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<YieldingFile<F::File>> {
        others_run().await;
        self.0.open(path, mode).await.map(YieldingFile)
    }

    async fn makes_dirs(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    yielding! {
        rename(from: &str, to: &str) -> ();
        hard_link(existing: &str, new: &str) -> ();
        unlink(path: &str) -> ();
        mkdir(path: &str) -> ();
        rmdir(path: &str) -> ();
        read_dir(path: &str) -> Vec<DirEntry>;
        metadata(path: &str) -> Metadata;
        sync_dir(path: &str) -> ();
        sync_fs() -> ();
    }
}

impl<H: File> File for YieldingFile<H> {
    async fn knows_sha256(&self, _: u64, _: &[u8]) -> Result<Option<bool>> {
        Ok(None)
    }

    async fn has_sha256(&self, sha256: &[u8]) -> Result<bool> {
        Ok(self.sha256().await? == *sha256)
    }

    yielding! {
        read_at(offset: u64, len: usize) -> Bytes;
        write_at(offset: u64, data: Bytes) -> usize;
        set_len(len: u64) -> ();
        metadata() -> Metadata;
        sync_data() -> ();
        sync_all() -> ();
    }
}

pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls tasks in an order that `chooser` picks until all are done. Every task keeps its turn for a while: switching
/// at each call would rarely let one of them get far ahead.
pub fn run_together(mut tasks: Vec<Task<'_>>, chooser: &mut dyn Chooser) {
    let mut polls = 0;
    while !tasks.is_empty() {
        let at = chooser.choose(tasks.len());
        for _ in 0..=chooser.choose(12) {
            polls += 1;
            assert!(polls < 1_000_000, "the tasks wait for each other");
            if tasks[at].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                drop(tasks.remove(at));
                break;
            }
        }
    }
}

/// Drives a future whose calls yield to its end, with no other task beside it.
pub fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

/// The registry on `disk`, with a stage whose calls yield. What was there before is durable.
fn stage(disk: &SimFs) -> Stage<Yielding<SimFs>> {
    let registry = finish(Registry::open("durable", Yielding(disk.clone()), World::simulated(7))).unwrap();
    Stage { strategy: "durable", registry, fs: Yielding(disk.clone()), clock: Default::default() }
}

/// What is left when the power goes now: first all that may be lost is, then some of it by chance.
pub(super) fn after_a_power_cut(disk: &SimFs, chooser: &mut dyn Chooser) -> Vec<Stage<SimFs>> {
    let (base, log) = disk.snapshot();
    let cut = Cut::after(log.len());
    let space = Space::new(base, log.into(), &model::Posix);
    let family = crash::families(&space, &model::Posix, Loss::PowerCut, cut).remove(0);
    let free = crash::free_atoms(&family);
    let mut survivors = vec![family.forced.clone()];
    survivors.extend((0..3).map(|_| crash::survivors(&space, &family, &free, chooser)));
    let open = |tree| run_now(Stage::open("durable", SimFs::with_tree(tree)));
    survivors.iter().map(|bits| open(space.view(bits).tree())).collect()
}

/// Every link leads to right bytes.
pub(super) async fn no_link_dangles<F: Fs>(s: &Stage<F>) {
    for path in tree(&s.fs, "").await {
        for link in s.registry.strategy().links_at(&path).await.unwrap() {
            let target = link.target.unwrap_or_else(|why| panic!("{path}: {why}"));
            let content = s.fs.read(&link.needs[0], 1 << 20).await.unwrap_or_else(|e| panic!("{path} dangles: {e}"));
            assert_eq!(Digest::sha256(&content), target, "{path}");
            for need in &link.needs {
                assert!(s.fs.exists(need).await.unwrap(), "{path} needs {need}");
            }
        }
    }
}

/// Runs a case with many orders.
fn many_orders(case: impl Fn(&mut Seeded)) {
    for seed in 0..150 {
        println!("seed {seed}");
        case(&mut Seeded::stream(seed, "interleave"));
    }
}

fn image(seed: u64) -> Image {
    Image::generated(seed, tag("v1"), &[600])
}

/// Pushes as a client that tries again what is said to be missing.
async fn push_until_it_is_there<F: Fs>(s: &Stage<F>, name: &Name, image: &Image, by: &str) {
    for _ in 0..5 {
        for blob in image.blobs() {
            if s.registry.stat_blob(name, &blob.digest).await.is_err() {
                let id = s.registry.start_upload(name).await.unwrap();
                s.registry.append(name, &id, None, &mut Some(blob.bytes.clone())).await.unwrap();
                s.registry.commit(name, &id, &blob.digest, None, &mut nothing()).await.unwrap();
            }
        }
        let bytes = image.manifests()[0].bytes.clone();
        match s.registry.put_manifest(name, &reference(by), None, bytes).await {
            Ok(_) => return,
            Err(Error::ManifestBlobUnknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("a collection takes everything that is pushed");
}

#[test]
fn nobody_is_shown_a_tag_that_a_crash_takes_back() {
    many_orders(|chooser| {
        let (name, disk) = (repo("lib/app"), SimFs::new());
        let (old, new) = (image(1), image(2));
        run_now(async { Stage::open("durable", disk.clone()).await.push(&name, &old).await });
        let s = stage(&disk);
        let (old, moved) = (old.roots()[0].digest, new.roots()[0].digest);
        let mut crashes = Seeded::stream(chooser.next_u64(), "crashes");
        let read = async {
            for _ in 0..8 {
                let seen = s.registry.get_manifest(&name, &reference("v1")).await.ok().map(|m| m.digest);
                let tags = s.registry.tags(&name, &Default::default()).await.map_or(0, |page| page.items.len());
                for left in after_a_power_cut(&disk, &mut crashes) {
                    let then = run_now(left.registry.get_manifest(&name, &reference("v1"))).ok().map(|m| m.digest);
                    let rank = |d| [Some(old), Some(moved), None].iter().position(|known| *known == d).unwrap();
                    assert!(rank(then) >= rank(seen), "seen {seen:?}, after a crash {then:?}");
                    assert!(tags > 0 || then.is_none(), "a tag that was not listed is back");
                }
            }
        };
        let write = async {
            push_until_it_is_there(&s, &name, &new, "v1").await;
            s.registry.delete_manifest(&name, &moved.into()).await.unwrap();
        };
        run_together(vec![Box::pin(read), Box::pin(write)], chooser);
    });
}

#[test]
fn the_same_image_pushed_twice_at_once_is_there_as_soon_as_one_is_told_so() {
    many_orders(|chooser| {
        let disk = SimFs::new();
        let s = stage(&disk);
        let image = image(1);
        let seed = chooser.next_u64();
        let push = |to: Name, by: &'static str| {
            let (s, disk, image) = (&s, &disk, &image);
            Box::pin(async move {
                push_until_it_is_there(s, &to, image, by).await;
                let mut crashes = Seeded::stream(seed, "crashes");
                for left in after_a_power_cut(disk, &mut crashes) {
                    run_now(async {
                        left.pull(&to, &reference(by)).await.unwrap();
                        no_link_dangles(&left).await;
                    });
                }
            })
        };
        let tasks: Vec<Task<'_>> = vec![
            push(repo("lib/app"), "v1"),
            push(repo("lib/app"), "v1"),
            push(repo("lib/app"), "v2"),
            push(repo("lib/b"), "v1"),
        ];
        run_together(tasks, chooser);
    });
}

/// A registry in which the image's parts are garbage that the next collection takes.
fn with_garbage(image: &Image, with_manifest: bool) -> (SimFs, Stage<Yielding<SimFs>>) {
    let disk = SimFs::new();
    run_now(async {
        let s = Stage::open("durable", disk.clone()).await;
        let name = repo("lib/app");
        if with_manifest {
            s.push(&name, image).await;
            s.registry.delete_manifest(&name, &reference("v1")).await.unwrap();
        } else {
            for blob in image.blobs() {
                s.push_blob(&name, &blob.bytes).await;
            }
        }
    });
    let s = stage(&disk);
    let first = Box::pin(async { drop(s.registry.collect(CollectOptions::default()).await.unwrap()) });
    run_together(vec![first], &mut Seeded::stream(1, "first cycle"));
    (disk, s)
}

#[test]
fn a_collection_takes_nothing_from_under_a_push() {
    many_orders(|chooser| {
        let image = image(1);
        let delete_untagged = chooser.choose(2) == 1;
        let (disk, s) = with_garbage(&image, delete_untagged);
        let (name, seed) = (repo("lib/app"), chooser.next_u64());
        let collect = async {
            for _ in 0..2 {
                let options = CollectOptions { delete_untagged, ..CollectOptions::default() };
                s.registry.collect(options).await.unwrap();
                for left in after_a_power_cut(&disk, &mut Seeded::stream(seed, "crashes")) {
                    run_now(no_link_dangles(&left));
                }
            }
        };
        let index = {
            let (child, len) = (image.roots()[0].digest, image.manifests()[0].bytes.len());
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media_type}","digest":"{child}","size":{len}}}]}}"#
            )
        };
        let push = async {
            if delete_untagged {
                // An index over a manifest that is about to go: all of it is spared, or none is relied on.
                let put = s.registry.put_manifest(&name, &reference("all"), None, index.clone().into()).await;
                assert!(matches!(put, Ok(_) | Err(Error::ManifestBlobUnknown(_))), "{put:?}");
                if put.is_ok() {
                    run_now(async { Stage::open("durable", disk.clone()).await.pull(&name, &reference("all")).await })
                        .unwrap();
                }
            }
            push_until_it_is_there(&s, &name, &image, "v1").await;
        };
        run_together(vec![Box::pin(collect), Box::pin(push)], chooser);
        for left in after_a_power_cut(&disk, &mut Seeded::stream(seed, "crashes")) {
            run_now(async {
                left.pull(&name, &reference("v1")).await.unwrap();
                if left.registry.get_manifest(&name, &reference("all")).await.is_ok() {
                    left.pull(&name, &reference("all")).await.unwrap();
                }
                no_link_dangles(&left).await;
            });
        }
    });
}

#[test]
fn litter_collection_takes_nothing_from_under_a_push() {
    many_orders(|chooser| {
        let disk = SimFs::new();
        let s = stage(&disk);
        let (name, image) = (repo("lib/app"), image(1));
        let litter = async {
            for _ in 0..6 {
                s.registry.collect_litter().await.unwrap();
            }
        };
        let push = async {
            push_until_it_is_there(&s, &name, &image, "v1").await;
            s.registry.delete_manifest(&name, &reference("v1")).await.unwrap();
            push_until_it_is_there(&s, &name, &image, "v1").await;
        };
        run_together(vec![Box::pin(litter), Box::pin(push)], chooser);
        for left in after_a_power_cut(&disk, chooser) {
            run_now(left.pull(&name, &reference("v1"))).unwrap();
        }
    });
}

/// A server drops a request whose client went away: what it had begun is finished by whoever relies on it.
#[test]
fn a_request_that_is_dropped_half_way_harms_nobody() {
    let image = Arc::new(image(1));
    for dropped_after in 0.. {
        let disk = SimFs::new();
        let s = stage(&disk);
        let name = repo("lib/app");
        let mut polls = 0;
        {
            let mut first = Box::pin(push_until_it_is_there(&s, &name, &image, "v1"));
            while polls < dropped_after && first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                polls += 1;
            }
            if polls < dropped_after {
                assert!(dropped_after > 100, "a push has more calls than {dropped_after}");
                break;
            }
        }
        run_together(
            vec![Box::pin(push_until_it_is_there(&s, &name, &image, "v1"))],
            &mut Seeded::stream(1, "second push"),
        );
        for left in after_a_power_cut(&disk, &mut Seeded::stream(dropped_after, "crashes")) {
            run_now(async {
                left.pull(&name, &reference("v1")).await.unwrap();
                no_link_dangles(&left).await;
            });
        }
    }
}
