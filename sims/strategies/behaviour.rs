//! What distribution's versions do when not everything is as it should be: each a reason for a finding somewhere.

use pullplug::env::clock::{SIM_EPOCH, UnixSeconds};
use pullplug::fs::{ErrorKind, File as _, FileExt, OpenMode};
use pullplug::strategy::layout::{self, Place};
use pullplug::strategy::{Body, LinkKind, Result};

use super::*;

const RESUMING: [&str; 2] = ["distribution-2.8", "distribution-3.1"];

/// Replaces a file's content behind the registry's back.
async fn overwrite<F: Fs>(fs: &F, path: &str, content: &[u8]) {
    let file = fs.open(path, OpenMode::Write).await.unwrap();
    file.set_len(content.len() as u64).await.unwrap();
    file.write_full(0, Bytes::copy_from_slice(content)).await.unwrap();
}

/// A body whose second piece never comes.
struct Broken(Option<Bytes>);

#[async_trait::async_trait]
impl Body for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.take().map(Some).ok_or_else(|| Error::Body("the client has gone".to_owned()))
    }
}

/// A repository with one image behind the tag `v1`: its manifest, layer and config.
async fn image<F: Fs>(registry: &Registry<F>, repo: &Name) -> [Bytes; 3] {
    let (layer, config) = (content("image layer", 5000), content("image config", 79));
    push_blob(registry, repo, &layer).await.unwrap();
    push_blob(registry, repo, &config).await.unwrap();
    let image = manifest(&config, &[&layer], 0);
    registry.put_manifest(repo, &tag("v1"), Some(OCI_MANIFEST), image.clone()).await.unwrap();
    [image, layer, config]
}

async fn exists<F: Fs>(fs: &F, place: Place) -> bool {
    fs.exists(&place.path()).await.unwrap()
}

#[test]
fn the_oldest_version_makes_these_calls_and_none_that_syncs() {
    let fs = HookedFs::new(SimFs::new());
    let registry = registry("distribution-2.0", &fs);
    let (repo, blob) = (name("app"), content("old", 500));
    run_now(async {
        fs.create_dir_all(&layout::uploads_dir(&repo)).await.unwrap();
        fs.trace().take();
        push_blob(&registry, &repo, &blob).await.unwrap();
    });
    let expected = [
        "mkdir R/app/_uploads/upload-1",
        "open-create R/app/_uploads/upload-1/startedat",
        "write R/app/_uploads/upload-1/startedat 20",
        "truncate R/app/_uploads/upload-1/startedat 20",
        "open-create R/app/_uploads/upload-1/data",
        "write R/app/_uploads/upload-1/data 500",
        "mkdir B",
        "mkdir B/sha256",
        "mkdir B/sha256/HH",
        "mkdir B/sha256/HH/digest-1",
        "rename R/app/_uploads/upload-1/data -> B/sha256/HH/digest-1/data",
        "mkdir R/app/_layers",
        "mkdir R/app/_layers/sha256",
        "mkdir R/app/_layers/sha256/digest-1",
        "open-create R/app/_layers/sha256/digest-1/link",
        "write R/app/_layers/sha256/digest-1/link 71",
        "truncate R/app/_layers/sha256/digest-1/link 71",
        "unlink R/app/_uploads/upload-1/startedat",
        "rmdir R/app/_uploads/upload-1",
    ];
    let expected = expected.map(|l| l.replace("R/", "docker/registry/v2/repositories/").replace('B', layout::BLOBS));
    assert_eq!(ops::comparable(&fs.trace().lines()), expected);
    run_now(push(&registry)).unwrap();
    assert!(fs.trace().calls().iter().all(|call| !call.is_sync()));
}

#[test]
fn a_blob_that_is_there_is_never_repaired() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, blob) = (name("lib/app"), content("torn", 3000));
        run_now(async {
            push_blob(&registry, &repo, &blob).await.unwrap();
            let path = layout::blob_data(&Digest::sha256(&blob));
            overwrite(&fs, &path, b"").await;
            push_blob(&registry, &repo, &blob).await.unwrap();
            assert_eq!(fs.read(&path, 10_000).await.unwrap(), "", "{strategy}");
        });
    }
}

#[test]
fn a_manifest_of_zeros_is_acknowledged_for_ever_and_never_served() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, ..] = image(&registry, &repo).await;
            let path = layout::blob_data(&Digest::sha256(&manifest));
            overwrite(&fs, &path, &vec![0; manifest.len()]).await;
            registry.put_manifest(&repo, &tag("v1"), Some(OCI_MANIFEST), manifest).await.unwrap();
            let e = registry.get_manifest(&repo, &tag("v1")).await.unwrap_err();
            assert!(matches!(e, Error::Corrupt { .. }), "{e}");
        });
    }
}

#[test]
fn a_stored_hash_state_is_trusted_over_the_bytes() {
    for (strategy, trusts) in DISTRIBUTIONS.into_iter().zip([false, true, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, blob) = (name("lib/app"), content("trusted", 10_000));
        let digest = Digest::sha256(&blob);
        let committed = run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            registry.append(&repo, &id, Some(0), &mut Some(blob)).await.unwrap();
            fs.corrupt(&layout::upload_data(&repo, &id), 5000, 1).unwrap();
            registry.commit(&repo, &id, &digest, None, &mut None).await
        });
        assert_eq!(committed.is_ok(), trusts, "{strategy}: {committed:?}");
    }
}

#[test]
fn without_its_hash_state_an_upload_is_hashed_again() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, blob) = (name("lib/app"), content("gap", 10_000));
        run_now(async {
            for wrong in [false, true] {
                let id = registry.start_upload(&repo).await.unwrap();
                registry.append(&repo, &id, None, &mut Some(blob.slice(..4000))).await.unwrap();
                fs.remove_tree(&layout::hash_states_dir(&repo, &id, Algorithm::Sha256)).await.unwrap();
                if wrong {
                    fs.corrupt(&layout::upload_data(&repo, &id), 100, 1).unwrap();
                }
                registry.append(&repo, &id, None, &mut Some(blob.slice(4000..))).await.unwrap();
                let done = registry.commit(&repo, &id, &Digest::sha256(&blob), None, &mut None).await;
                assert_eq!(done.is_err(), wrong, "{strategy}: {done:?}");
            }
        });
    }
}

#[test]
fn a_torn_hash_state_stops_the_upload() {
    for strategy in RESUMING {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, blob) = (name("lib/app"), content("torn state", 10_000));
        run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            registry.append(&repo, &id, None, &mut Some(blob.slice(..4000))).await.unwrap();
            let state = layout::hash_state(&repo, &id, Algorithm::Sha256, 4000);
            for torn in [&[][..], &[0; 108]] {
                overwrite(&fs, &state, torn).await;
                let e = registry.append(&repo, &id, None, &mut Some(blob.slice(4000..))).await.unwrap_err();
                assert!(matches!(&e, Error::Corrupt { path, .. } if *path == state), "{e}");
            }
        });
    }
}

#[test]
fn an_upload_begun_by_one_version_goes_on_under_another() {
    let (repo, blob) = (name("lib/app"), content("handed over", 10_000));
    for first in DISTRIBUTIONS {
        for second in DISTRIBUTIONS {
            let fs = SimFs::new();
            run_now(async {
                let begun = registry(first, &fs);
                let id = begun.start_upload(&repo).await.unwrap();
                begun.append(&repo, &id, Some(0), &mut Some(blob.slice(..777))).await.unwrap();
                let other = registry(second, &fs);
                assert_eq!(other.upload_offset(&repo, &id).await, Ok(777));
                let rest = &mut Some(blob.slice(777..));
                other.commit(&repo, &id, &Digest::sha256(&blob), Some(777), rest).await.unwrap();
                assert_eq!(other.stat_blob(&repo, &Digest::sha256(&blob)).await.unwrap().size, 10_000);
                assert!(!fs.exists(&layout::upload_dir(&repo, &id)).await.unwrap());
            });
        }
    }
}

#[test]
fn what_came_before_a_body_broke_off_is_kept() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, blob) = (name("lib/app"), content("broken", 6000));
        run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            // The first piece is small enough to stay in a buffer.
            for at in [0, 1000] {
                let body = &mut Broken(Some(blob.slice(at..at + 1000)));
                let e = registry.append(&repo, &id, Some(at as u64), body).await.unwrap_err();
                assert!(matches!(e, Error::Body(_)), "{e}");
                assert_eq!(registry.upload_offset(&repo, &id).await, Ok(at as u64 + 1000));
            }
            let rest = &mut Some(blob.slice(2000..));
            registry.commit(&repo, &id, &Digest::sha256(&blob), Some(2000), rest).await.unwrap();
        });
    }
}

#[test]
fn a_chunk_is_acknowledged_although_its_sync_failed() {
    for (strategy, syncs) in DISTRIBUTIONS.into_iter().zip([false, true, true]) {
        let repo = name("lib/app");
        let nth = Nth::new(0, Action::Fail(ErrorKind::Io), |c: &Call| c.is_sync() && c.path().ends_with("/data"));
        let judge = Arc::clone(&nth);
        let below = SimFs::new();
        let id = run_now(registry(strategy, &below).start_upload(&repo)).unwrap();
        let fs = HookedFs::with_hook(below, move |c| judge.judge(c));
        let appended = run_now(registry(strategy, &fs).append(&repo, &id, None, &mut Some(content("lost", 5000))));
        assert_eq!((appended, nth.fired()), (Ok(5000), syncs), "{strategy}");
    }
}

#[test]
fn a_full_disk_leaves_an_empty_link_only_where_links_are_truncated_first() {
    for (strategy, torn) in DISTRIBUTIONS.into_iter().zip([false, true, false]) {
        let (below, repo) = (SimFs::new(), name("lib/app"));
        let [manifest, ..] = run_now(image(&registry(strategy, &below), &repo));
        let current = layout::tag_current_link(&repo, &"v1".parse().unwrap());
        let dir = layout::tag_dir(&repo, &"v1".parse().unwrap()) + "/current/";
        let full = move |c: &Call| match c {
            Call::Write { path, .. } if path.starts_with(&dir) => Action::Fail(ErrorKind::NoSpace),
            _ => Action::Run,
        };
        let fs = HookedFs::with_hook(below, full);
        run_now(async {
            let registry = registry(strategy, &fs);
            let e = registry.put_manifest(&repo, &tag("v1"), Some(OCI_MANIFEST), manifest).await.unwrap_err();
            assert!(matches!(&e, Error::Fs(e) if e.kind == ErrorKind::NoSpace), "{e}");
            let after = fs.read(&current, 1000).await.unwrap();
            assert_eq!(after.is_empty(), torn, "{strategy}");
            assert_eq!(registry.get_manifest(&repo, &tag("v1")).await.is_err(), torn, "{strategy}");
        });
    }
}

#[test]
fn a_cancelled_upload_leaves_what_no_purge_removes() {
    for (strategy, leaves) in DISTRIBUTIONS.into_iter().zip([false, true, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            registry.cancel_upload(&repo, &id).await.unwrap();
            let e = registry.upload_offset(&repo, &id).await.unwrap_err();
            assert_eq!(e, Error::UploadUnknown(id.clone()));
            let never = UnixSeconds(u64::MAX);
            assert_eq!(registry.strategy().purge_uploads(never).await, Ok(0));
            assert_eq!(fs.exists(&layout::upload_dir(&repo, &id)).await.unwrap(), leaves, "{strategy}");
        });
    }
}

#[test]
fn uploads_are_purged_by_age() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [old, torn, unmarked] = [
                registry.start_upload(&repo).await.unwrap(),
                registry.start_upload(&repo).await.unwrap(),
                registry.start_upload(&repo).await.unwrap(),
            ];
            overwrite(&fs, &layout::upload_started_at(&repo, &torn), b"").await;
            fs.unlink(&layout::upload_started_at(&repo, &unmarked)).await.unwrap();
            let purge = async |before| registry.strategy().purge_uploads(UnixSeconds(before)).await.unwrap();
            assert_eq!(purge(SIM_EPOCH.0).await, 0);
            assert_eq!(purge(SIM_EPOCH.0 + 1).await, 1);
            assert!(!fs.exists(&layout::upload_dir(&repo, &old)).await.unwrap());
            for kept in [&torn, &unmarked] {
                assert!(fs.exists(&layout::upload_dir(&repo, kept)).await.unwrap(), "{strategy}");
            }
        });
    }
}

#[test]
fn a_failed_commit_costs_the_oldest_version_the_upload() {
    for (strategy, kept) in DISTRIBUTIONS.into_iter().zip([false, true, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            let wrong = Digest::sha256(b"wrong");
            let body = &mut Some(content("right", 900));
            let e = registry.commit(&repo, &id, &wrong, None, body).await.unwrap_err();
            assert_eq!(e, Error::DigestInvalid(wrong));
            let right = Digest::sha256(&content("right", 900));
            let again = registry.commit(&repo, &id, &right, None, &mut None).await;
            assert_eq!(again.is_ok(), kept, "{strategy}: {again:?}");
        });
    }
}

#[test]
fn an_alias_resolves_where_it_was_pushed_and_dangles_where_it_was_mounted() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, two, blob) = (name("lib/app"), name("lib/two"), content("alias", 1000));
        let (canonical, alias) = (Digest::sha256(&blob), Digest::of(Algorithm::Sha512, &blob));
        run_now(async {
            let id = registry.start_upload(&repo).await.unwrap();
            registry.commit(&repo, &id, &alias, None, &mut Some(blob)).await.unwrap();
            for digest in [&canonical, &alias] {
                assert_eq!(registry.stat_blob(&repo, digest).await.unwrap().size, 1000);
                let path = layout::layer_link(&repo, digest);
                let [link] = &registry.strategy().links_at(&path).await.unwrap()[..] else { panic!("{path}") };
                assert_eq!((&link.kind, link.named, &link.target), (&LinkKind::Layer, Some(*digest), &Ok(canonical)));
                assert_eq!(link.needs, [layout::blob_data(&canonical)]);
            }
            registry.mount(&two, &repo, &alias).await.unwrap();
            let e = registry.stat_blob(&two, &alias).await.unwrap_err();
            assert_eq!(e, Error::BlobUnknown(alias), "{strategy}");
        });
    }
}

#[test]
fn a_torn_link_answers_with_an_error_and_says_why() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, layer, _] = image(&registry, &repo).await;
            let current = layout::tag_current_link(&repo, &"v1".parse().unwrap());
            let [whole] = &registry.strategy().links_at(&current).await.unwrap()[..] else { panic!() };
            let digest = Digest::sha256(&manifest);
            assert_eq!(whole.needs, [layout::blob_data(&digest), layout::revision_link(&repo, &digest)]);
            overwrite(&fs, &current, &[0; 71]).await;
            let e = registry.get_manifest(&repo, &tag("v1")).await.unwrap_err();
            assert!(matches!(&e, Error::Corrupt { path, .. } if *path == current), "{e}");
            let [torn] = &registry.strategy().links_at(&current).await.unwrap()[..] else { panic!() };
            assert_eq!((&torn.target, torn.needs.len()), (&Err("it is 71 zero bytes".to_owned()), 0));
            let link = layout::layer_link(&repo, &Digest::sha256(&layer));
            overwrite(&fs, &link, b"").await;
            assert!(matches!(registry.stat_blob(&repo, &Digest::sha256(&layer)).await, Err(Error::Corrupt { .. })));
        });
    }
}

#[test]
fn one_empty_link_stops_the_collection_before_it_removes_anything() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, ..] = image(&registry, &repo).await;
            let orphan = content("orphan", 100);
            push_blob(&registry, &name("lib/zoo"), &orphan).await.unwrap();
            let link = layout::revision_link(&repo, &Digest::sha256(&manifest));
            overwrite(&fs, &link, b"").await;
            let e = registry.collect(CollectOptions::default()).await.unwrap_err();
            assert!(matches!(&e, Error::Corrupt { path, .. } if *path == link), "{e}");
            assert!(exists(&fs, Place::Blob(Digest::sha256(&orphan))).await, "{strategy}");
        });
    }
}

#[test]
fn an_empty_revision_link_heals_on_the_next_push_but_in_the_oldest_version() {
    for (strategy, heals) in DISTRIBUTIONS.into_iter().zip([false, true, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, ..] = image(&registry, &repo).await;
            overwrite(&fs, &layout::revision_link(&repo, &Digest::sha256(&manifest)), b"").await;
            registry.put_manifest(&repo, &tag("v1"), Some(OCI_MANIFEST), manifest).await.unwrap();
            assert_eq!(registry.get_manifest(&repo, &tag("v1")).await.is_ok(), heals, "{strategy}");
        });
    }
}

#[test]
fn a_collection_removes_layer_links_only_in_the_newest_version_and_only_where_there_are_manifests() {
    for (strategy, unlinks) in DISTRIBUTIONS.into_iter().zip([false, false, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, bare) = (name("lib/app"), name("lib/bare"));
        run_now(async {
            let [_, layer, config] = image(&registry, &repo).await;
            let orphan = content("orphan", 100);
            for repo in [&repo, &bare] {
                push_blob(&registry, repo, &orphan).await.unwrap();
            }
            let collected = registry.collect(CollectOptions::default()).await.unwrap();
            let orphan = Digest::sha256(&orphan);
            assert_eq!(collected.blobs, [orphan], "{strategy}");
            assert_eq!(exists(&fs, Place::LayerLink(repo.clone(), orphan)).await, !unlinks, "{strategy}");
            assert!(exists(&fs, Place::LayerLink(bare, orphan)).await, "{strategy}");
            for kept in [&layer, &config] {
                assert!(registry.stat_blob(&repo, &Digest::sha256(kept)).await.is_ok());
            }
        });
    }
}

#[test]
fn collecting_untagged_manifests_takes_an_index_apart_but_in_the_newest_version() {
    for (strategy, spares) in DISTRIBUTIONS.into_iter().zip([false, false, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [child, layer, _] = image(&registry, &repo).await;
            let index = index(&[&child]);
            registry.put_manifest(&repo, &tag("v1"), Some(OCI_INDEX), index).await.unwrap();
            let untagged = CollectOptions { delete_untagged: true, ..CollectOptions::default() };
            let planned = registry.collect(CollectOptions { dry_run: true, ..untagged }).await.unwrap();
            assert!(registry.get_manifest(&repo, &Reference::Digest(Digest::sha256(&child))).await.is_ok());
            assert_eq!(registry.collect(untagged).await.unwrap(), planned);
            let index = registry.get_manifest(&repo, &tag("v1")).await;
            assert!(index.is_ok(), "{strategy}: {index:?}");
            let child = registry.get_manifest(&repo, &Reference::Digest(Digest::sha256(&child))).await;
            assert_eq!(child.is_ok(), spares, "{strategy}");
            assert_eq!(exists(&fs, Place::Blob(Digest::sha256(&layer))).await, spares, "{strategy}");
        });
    }
}

#[test]
fn a_killed_process_leaves_a_temporary_file_that_nobody_collects() {
    let (below, repo) = (SimFs::new(), name("lib/app"));
    let fs = HookedFs::with_hook(below.clone(), |c| match c {
        Call::SyncAll { path } if path.contains("/link.") => Action::Fail(ErrorKind::Io),
        _ => Action::Run,
    });
    run_now(async {
        let layer = content("layer", 5000);
        let pushed = push_blob(&registry("distribution-3.1", &fs), &repo, &layer).await;
        assert!(matches!(pushed, Err(Error::Fs(_))));
        let registry = registry("distribution-3.1", &below);
        registry.recover().await.unwrap();
        assert_eq!(registry.collect_litter().await, Ok(0));
        let link = layout::layer_link(&repo, &Digest::sha256(&layer));
        let left = below.read_dir(link.strip_suffix("/link").unwrap()).await.unwrap();
        assert!(left.len() == 1 && left[0].name.ends_with(".tmp"), "{left:?}");
    });
}

#[test]
fn listings_hold_what_the_version_knows() {
    for (strategy, bare) in DISTRIBUTIONS.into_iter().zip([true, true, false]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, ..] = image(&registry, &repo).await;
            push_blob(&registry, &name("lib/app/nested"), &content("x", 10)).await.unwrap();
            let strategy = registry.strategy();
            let repositories = strategy.repositories().await.unwrap();
            let expected: &[Name] = if bare { &[repo.clone(), name("lib/app/nested")] } else { &[repo.clone()] };
            assert_eq!(repositories, expected);
            assert_eq!(strategy.revisions(&repo).await.unwrap(), [Digest::sha256(&manifest)]);
            assert_eq!(strategy.tags(&repo).await.unwrap(), ["v1".parse().unwrap()]);
            let e = strategy.tags(&name("lib/app/nested")).await.unwrap_err();
            assert_eq!(e, Error::NameUnknown(name("lib/app/nested")));
            let v2 = "v2".parse().unwrap();
            assert_eq!(strategy.delete_tag(&repo, &v2).await, Err(Error::ManifestUnknown("v2".to_owned())));
            strategy.delete_tag(&repo, &"v1".parse().unwrap()).await.unwrap();
            assert!(strategy.tags(&repo).await.unwrap().is_empty());
            assert!(strategy.get_manifest(&repo, &Digest::sha256(&manifest)).await.is_ok());
        });
    }
}
