//! What a cache gives up, when, and what it knows of that after a start.

use bytes::Bytes;
use pullplug::disk::{crash::Loss, model};
use pullplug::env::run_now;
use pullplug::explore::{Budget, Observation, Run as Recorded, Setting, Subject, explore};
use pullplug::fs::{File, FileExt, FileKind, Fs, FsExt, OpenMode};
use pullplug::proxy::schedule::{Kind, STATE};
use pullplug::registry::Registry;
use pullplug::strategy::CollectOptions;

use super::*;

/// How many links an image has.
fn links(image: &Image) -> usize {
    image.blobs().len() + image.manifests().len()
}

#[test]
fn content_goes_after_its_time_and_comes_back() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        let schedule = cache.proxy.schedule();
        cache.clock.advance(WEEK - 1);
        assert_eq!((schedule.expire().await, schedule.len()), (0, links(&image)));
        cache.clock.advance(1);
        schedule.turn(true).await;
        assert!(schedule.is_empty());
        let repo: Name = REPO.parse().unwrap();
        assert!(cache.registry.stat_blob(&repo, &big(&image).0).await.is_err());
        assert!(cache.registry.get_manifest(&repo, &"v1".parse().unwrap()).await.is_err(), "nor is the tag there");
        cache.pull(REPO, &image).await;
        assert_eq!(remote.asked(&format!("GET {}", blob_path(REPO, &big(&image).0))), 2);
        assert_eq!(schedule.len(), links(&image), "what came back has a new time");
    });
}

#[test]
fn without_a_time_nothing_goes() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let cache = Cache::on(SimFs::new(), SimClock::default(), options(&remote), 0).await;
        cache.pull(REPO, &image).await;
        cache.clock.advance(1000 * WEEK);
        cache.proxy.schedule().turn(true).await;
        cache.proxy.schedule().turn(true).await;
        assert!(!cache.fs.exists(STATE).await.unwrap());
        let before = remote.asked("GET");
        cache.pull(REPO, &image).await;
        assert_eq!(remote.asked("GET"), before);
    });
}

#[test]
fn what_expires_in_one_repository_stays_in_the_other() {
    on_runtime(async {
        let (mut remote, image) = (Remote::start().await, image(1));
        remote.push("old", &image).await;
        remote.push("new", &image).await;
        let cache = Cache::of(&remote).await;
        cache.pull("old", &image).await;
        cache.clock.advance(WEEK / 2);
        cache.pull("new", &image).await;
        cache.clock.advance(WEEK / 2);
        assert_eq!(cache.proxy.schedule().expire().await, links(&image));
        // What came lately is spared by the first.
        for _ in 0..3 {
            cache.registry.collect(CollectOptions::default()).await.unwrap();
        }
        remote.vanish().await;
        cache.pull("new", &image).await;
        assert_eq!(cache.get(blob_path("old", &big(&image).0)).await.code(), "UNAVAILABLE");
        cache.clock.advance(WEEK / 2);
        assert_eq!(cache.proxy.schedule().expire().await, links(&image));
        let mut gone = 0;
        for _ in 0..3 {
            gone += cache.registry.collect(CollectOptions::default()).await.unwrap().blobs.len();
        }
        assert_eq!(gone, links(&image), "nobody needs it now");
    });
}

#[test]
fn times_outlast_a_start() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        cache.proxy.schedule().save().await.unwrap();
        let Cache { fs, clock, .. } = cache;
        clock.advance(WEEK / 2);
        let cache = Cache::on(fs.clone(), clock.clone(), options(&remote), WEEK).await;
        assert_eq!(cache.proxy.schedule().len(), links(&image));
        clock.advance(WEEK / 2);
        assert_eq!(cache.proxy.schedule().expire().await, links(&image));
        // A shorter time to live holds for what is there already.
        cache.pull(REPO, &image).await;
        cache.proxy.schedule().save().await.unwrap();
        let cache = Cache::on(fs, clock.clone(), options(&remote), 60).await;
        clock.advance(60);
        assert_eq!(cache.proxy.schedule().expire().await, links(&image));
    });
}

async fn write(fs: &SimFs, text: &[u8]) {
    let file = fs.open(STATE, OpenMode::Create).await.unwrap();
    file.set_len(0).await.unwrap();
    file.write_full(0, Bytes::copy_from_slice(text)).await.unwrap();
}

#[test]
fn a_damaged_file_of_times_stops_no_start_and_keeps_nothing_for_ever() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        cache.proxy.schedule().save().await.unwrap();
        let good = cache.fs.read(STATE, 1 << 20).await.unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..good.len()).step_by(97).map(|len| good[..len].to_vec()).collect();
        damaged.push(vec![0; good.len()]);
        damaged
            .extend([&b"[]"[..], b"null", b"{\"a\":1}", b"\xff\xfe", b"{\"a\":{\"Key\":\"b\"}}"].map(<[u8]>::to_vec));
        for text in damaged {
            write(&cache.fs, &text).await;
            let world = World::new(Arc::new(cache.clock.clone()), 1);
            let again = Schedule::open(cache.registry.clone(), cache.fs.clone(), world, WEEK).await.unwrap();
            assert_eq!(again.len(), links(&image), "{}", String::from_utf8_lossy(&text));
        }
        cache.fs.unlink(STATE).await.unwrap();
        let cache = Cache::on(cache.fs, cache.clock, options(&remote), WEEK).await;
        cache.clock.advance(WEEK);
        assert_eq!(cache.proxy.schedule().expire().await, links(&image));
    });
}

#[test]
fn the_file_is_distributions() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        cache.proxy.schedule().save().await.unwrap();
        let file: serde_json::Value = serde_json::from_slice(&cache.fs.read(STATE, 1 << 20).await.unwrap()).unwrap();
        let key = format!("{REPO}@{}", image.roots()[0].digest);
        let entry = serde_json::json!({ "Key": key, "ExpiryData": "2020-01-08T00:00:00Z", "EntryType": 1 });
        assert_eq!(file[&key], entry);
        assert_eq!(file.as_object().unwrap().len(), links(&image));
        // As its clock writes it; and of what is not stored.
        let early = serde_json::json!({
            &key: { "Key": key, "ExpiryData": "2020-01-01T03:00:00.123456789+02:00", "EntryType": 1 },
            "x": { "Key": format!("gone@{}", Digest::sha256(b"")), "ExpiryData": "2020-01-01T00:00:00Z", "EntryType": 0 },
        });
        write(&cache.fs, early.to_string().as_bytes()).await;
        let cache = Cache::on(cache.fs, cache.clock, options(&remote), WEEK).await;
        assert_eq!(cache.proxy.schedule().len(), links(&image));
        cache.clock.advance(3600);
        assert_eq!(cache.proxy.schedule().expire().await, 1);
        assert!(cache.registry.get_manifest(&REPO.parse().unwrap(), &"v1".parse().unwrap()).await.is_err());
    });
}

/// The file of times, replaced by one of two entries.
struct Replace;

fn save(disk: &SimFs, entries: &[&[u8]]) -> Result<(), String> {
    let world = World::simulated(1);
    let strategy = pullplug::strategy::build("durable", disk.clone(), world.clone()).unwrap();
    run_now(async {
        let registry = Registry::new(strategy, world.clone());
        let schedule = Schedule::open(registry, disk.clone(), world, WEEK).await.map_err(|e| e.to_string())?;
        for content in entries {
            schedule.add(&"a".parse().unwrap(), &Digest::sha256(content), Kind::Blob);
        }
        schedule.save().await.map_err(|e| e.to_string())
    })
}

impl Subject for Replace {
    type Probe = ();

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        save(disk, &[b"1"])
    }
    fn run(&self, disk: &SimFs) -> Result<(), String> {
        save(disk, &[b"1", b"2"])
    }
    fn recover(&self, _: &SimFs) -> Result<(), String> {
        Ok(())
    }
    fn restart(&self, disk: &SimFs, _: usize) -> Result<(), String> {
        self.run(disk)
    }
    fn probes(&self, _: usize, _: &[(String, FileKind)]) -> Vec<()> {
        vec![()]
    }
    fn evaluate(&self, (): &(), disk: &SimFs) -> Vec<Observation> {
        let text = run_now(disk.read(STATE, 1 << 20)).unwrap_or_default();
        let entries = serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|v| Some(v.as_object()?.len()));
        let good = matches!(entries, Some(1 | 2));
        vec![Observation { invariant: "old-or-new", violation: (!good).then(|| format!("{text:?}")) }]
    }
}

#[test]
fn a_power_cut_leaves_the_old_times_or_the_new() {
    let run = Recorded::of(&Replace).unwrap();
    for name in ["posix", "ext4-ordered", "xfs", "btrfs"] {
        let budget = Budget { states: 2000, recovery_states: 0, restart_states: 100 };
        let setting = Setting { model: model::named(name).unwrap(), loss: Loss::PowerCut, seed: 1, budget };
        let seen = explore(&Replace, &run, setting);
        assert!(!seen.violations.contains_key("old-or-new"), "{name}: {:?}", seen.findings);
    }
}
