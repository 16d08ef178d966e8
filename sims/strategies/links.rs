//! Blobs, links and collections of distribution's versions when not everything is as it should be.

use pullplug::fs::ErrorKind;
use pullplug::strategy::LinkKind;
use pullplug::strategy::layout::Place;

use super::*;

async fn exists<F: Fs>(fs: &F, place: Place) -> bool {
    fs.exists(&place.path()).await.unwrap()
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
fn an_empty_layer_link_stops_only_a_collection_that_reads_layer_links() {
    for (strategy, stops) in DISTRIBUTIONS.into_iter().zip([false, false, true]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [_, layer, _] = image(&registry, &repo).await;
            overwrite(&fs, &layout::layer_link(&repo, &Digest::sha256(&layer)), b"").await;
            let collected = registry.collect(CollectOptions::default()).await;
            assert_eq!(collected.is_err(), stops, "{strategy}: {collected:?}");
        });
    }
}

/// A manifest whose bytes are unreadable stops the collection; one whose bytes are gone lets it take the layers.
#[test]
fn a_lost_manifest_costs_its_layers_and_a_torn_one_the_collection() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            let [manifest, layer, config] = image(&registry, &repo).await;
            let blob = layout::blob_data(&Digest::sha256(&manifest));
            overwrite(&fs, &blob, &vec![0; manifest.len()]).await;
            let e = registry.collect(CollectOptions::default()).await.unwrap_err();
            assert!(matches!(e, Error::ManifestInvalid(_)), "{e}");
            fs.unlink(&blob).await.unwrap();
            let mut lost = [Digest::sha256(&layer), Digest::sha256(&config)];
            lost.sort();
            assert_eq!(registry.collect(CollectOptions::default()).await.unwrap().blobs, lost, "{strategy}");
        });
    }
}

#[test]
fn untagged_manifests_of_a_repository_that_never_had_a_tag_stop_the_older_collection() {
    for (strategy, stops) in DISTRIBUTIONS.into_iter().zip([true, true, false]) {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let (repo, config) = (name("lib/app"), content("config", 79));
        run_now(async {
            push_blob(&registry, &repo, &config).await.unwrap();
            let image = manifest(&config, &[], 0);
            let digest = Digest::sha256(&image);
            registry.put_manifest(&repo, &Reference::Digest(digest), Some(OCI_MANIFEST), image).await.unwrap();
            let untagged = CollectOptions { delete_untagged: true, ..CollectOptions::default() };
            let collected = registry.collect(untagged).await;
            assert_eq!(collected.is_err(), stops, "{strategy}: {collected:?}");
            // Where it does not stop, the blob goes and the revision's link stays.
            assert_eq!(exists(&fs, Place::Blob(digest)).await, stops, "{strategy}");
            assert!(exists(&fs, Place::RevisionLink(repo, digest)).await, "{strategy}");
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

/// A collection that ended between the blobs and the links is never made up for.
#[test]
fn a_layer_link_whose_blob_is_gone_dangles_for_ever() {
    for strategy in DISTRIBUTIONS {
        let fs = SimFs::new();
        let registry = registry(strategy, &fs);
        let repo = name("lib/app");
        run_now(async {
            image(&registry, &repo).await;
            let orphan = content("orphan", 100);
            push_blob(&registry, &repo, &orphan).await.unwrap();
            let orphan = Digest::sha256(&orphan);
            fs.remove_tree(&layout::blob_dir(&orphan)).await.unwrap();
            let collected = registry.collect(CollectOptions::default()).await.unwrap();
            assert_eq!(collected, pullplug::strategy::Collected::default());
            assert!(exists(&fs, Place::LayerLink(repo, orphan)).await);
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
            let mut expected = vec![repo.clone()];
            expected.extend(bare.then(|| name("lib/app/nested")));
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
