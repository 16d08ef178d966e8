//! Upload sessions of distribution's versions when not everything is as it should be.

use pullplug::env::clock::{SIM_EPOCH, UnixSeconds};
use pullplug::fs::ErrorKind;
use pullplug::strategy::{Body, Result};

use super::*;

const RESUMING: [&str; 2] = ["distribution-2.8", "distribution-3.1"];

/// A body whose second piece never comes.
struct Broken(Option<Bytes>);

#[async_trait::async_trait]
impl Body for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.take().map(Some).ok_or_else(|| Error::Body("the client has gone".to_owned()))
    }
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
            assert_eq!(registry.strategy().purge_uploads(never, false).await, Ok(0));
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
            let purge = async |before| registry.strategy().purge_uploads(UnixSeconds(before), false).await.unwrap();
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
