//! The quota: what is admitted, what is not, and that no order of things lets a repository grow past its limit.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::choice::{Chooser, Seeded};
use pullplug::env::{World, run_now};
use pullplug::fs::Fs;
use pullplug::oci::{Algorithm, Digest, Name};
use pullplug::registry::quota::{Quota, QuotaOptions};
use pullplug::registry::{Body, Error, Registry, Result};
use pullplug::strategy::{self, CollectOptions};
use pullplug::workload::image::Image;

use crate::durable::interleave::{Task, Yielding, run_together};
use crate::registry::{body, noise, nothing, pieces, reference, repo, tag};

const ALONE: CollectOptions = CollectOptions { delete_untagged: true, dry_run: false, exclusive: true };

fn quota<F: Fs>(strategy: &str, fs: &F, options: QuotaOptions) -> Quota<F> {
    Quota::new(strategy::build(strategy, fs.clone(), World::simulated(1)).unwrap(), fs.clone(), options)
}

/// A registry whose repositories may hold so many bytes each.
fn registry<F: Fs>(strategy: &str, fs: &F, limit_bytes: u64) -> Registry<F> {
    let options = QuotaOptions { default_limit_bytes: Some(limit_bytes), ..Default::default() };
    Registry::new(Box::new(quota(strategy, fs, options)), World::simulated(1))
}

/// What a fresh count says.
async fn used<F: Fs>(strategy: &str, fs: &F, repo: &Name) -> u64 {
    quota(strategy, fs, QuotaOptions::default()).used_bytes(repo).await.unwrap()
}

async fn push<F: Fs>(registry: &Registry<F>, repo: &Name, content: &[u8]) -> Result<Digest> {
    let digest = Digest::sha256(content);
    registry.push_blob(repo, &digest, &mut body(content)).await.map(|blob| blob.digest)
}

fn denied(repo: &str, limit: u64, used: u64, needed: u64) -> Error {
    Error::Denied(format!("repository {repo} may hold {limit} bytes; it holds {used}, and {needed} more are needed"))
}

/// A body that must not be read.
struct Unread(u64);

#[async_trait]
impl Body for Unread {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        panic!("it is known to be too long")
    }

    fn declared_bytes(&self) -> Option<u64> {
        Some(self.0)
    }
}

#[test]
fn what_fits_comes_in_and_one_byte_more_does_not() {
    for name in strategy::NAMES {
        let (fs, a, b) = (SimFs::new(), repo("a"), repo("b"));
        let registry = registry(name, &fs, 1000);
        run_now(async {
            let first = push(&registry, &a, &noise("1", 600)).await.unwrap();
            assert_eq!(push(&registry, &a, &noise("2", 401)).await, Err(denied("a", 1000, 600, 401)), "{name}");
            assert_eq!(used(name, &fs, &a).await, 600);
            let second = push(&registry, &a, &noise("2", 400)).await.unwrap();
            assert_eq!(push(&registry, &a, &[1]).await, Err(denied("a", 1000, 1000, 1)));
            // What it has is free, by every name.
            push(&registry, &a, &noise("1", 600)).await.unwrap();
            let alias = Digest::of(Algorithm::Sha512, &noise("1", 600));
            let mut content = body(&noise("1", 600));
            let by_another_name = registry.push_blob(&a, &alias, &mut content).await;
            assert_eq!(by_another_name.map(|_| ()), Err(denied("a", 1000, 1000, 600)), "not known to be the same");
            push(&registry, &a, b"").await.unwrap();
            // Another repository has a limit of its own, and what it shares counts in both.
            assert_eq!(registry.mount(&b, &a, &first).await.unwrap().size, 600);
            assert_eq!(registry.mount(&b, &a, &first).await.unwrap().size, 600);
            assert_eq!(registry.mount(&b, &a, &second).await.unwrap().size, 400);
            push(&registry, &b, &[2]).await.unwrap_err();
            // Room is made by a deletion, and is there to the byte.
            registry.delete_blob(&a, &second).await.unwrap();
            push(&registry, &a, &noise("3", 401)).await.unwrap_err();
            push(&registry, &a, &noise("3", 399)).await.unwrap();
            push(&registry, &a, &[3]).await.unwrap();
            push(&registry, &a, &[4]).await.unwrap_err();
            // A new process counts the same.
            let registry = self::registry(name, &fs, 1000);
            push(&registry, &a, &[4]).await.unwrap_err();
            push(&registry, &a, &noise("1", 600)).await.unwrap();
            assert_eq!(used(name, &fs, &a).await, 1000);
        });
    }
}

#[test]
fn uploads_are_let_in_until_their_length_is_known() {
    for name in strategy::NAMES {
        let (fs, a) = (SimFs::new(), repo("a"));
        let registry = registry(name, &fs, 1000);
        run_now(async {
            push(&registry, &a, &noise("1", 600)).await.unwrap();
            let content = noise("2", 900);
            let digest = Digest::sha256(&content);
            let id = registry.start_upload(&a).await.unwrap();
            assert_eq!(
                registry.append(&a, &id, None, &mut pieces(&content[..500], 100, false)).await,
                Ok(500),
                "{name}"
            );
            // Longer than the limit: at once where it is said, else as soon as it is.
            let refused = registry.append(&a, &id, None, &mut Unread(501)).await;
            assert_eq!(refused, Err(denied("a", 1000, 600, 1001)));
            let refused = registry.append(&a, &id, None, &mut pieces(&[0; 5000], 100, false)).await;
            assert_eq!(refused, Err(denied("a", 1000, 600, 1100)));
            let at = registry.upload_offset(&a, &id).await.unwrap();
            assert!((500..=1000).contains(&at), "{at} bytes stay");
            registry.cancel_upload(&a, &id).await.unwrap();

            let id = registry.start_upload(&a).await.unwrap();
            registry.append(&a, &id, None, &mut pieces(&content[..500], 100, false)).await.unwrap();
            let refused = registry.commit(&a, &id, &digest, None, &mut Unread(400)).await;
            assert_eq!(refused, Err(denied("a", 1000, 600, 900)));
            assert_eq!(registry.stat_blob(&a, &digest).await, Err(Error::BlobUnknown(digest)));
            let refused = registry.push_blob(&a, &digest, &mut pieces(&content, 100, false)).await;
            assert_eq!(refused, Err(denied("a", 1000, 600, 900)), "at the end of a body of unknown length");
            // A wrong digest reserves nothing for long.
            let wrong = registry.push_blob(&a, &digest, &mut body(&noise("3", 400))).await;
            assert_eq!(wrong, Err(Error::DigestInvalid(digest)));
            push(&registry, &a, &noise("3", 400)).await.unwrap();
        });
    }
}

#[test]
fn manifests_count_and_collections_make_room() {
    for name in strategy::NAMES {
        let (fs, a) = (SimFs::new(), repo("a"));
        run_now(async {
            let image = Image::generated(1, tag("v1"), &[500]);
            let blobs: u64 = image.blobs().iter().map(|b| b.bytes.len() as u64).sum();
            let manifest = image.manifests()[0].bytes.clone();
            let needed = manifest.len() as u64;
            for (limit, fits) in [(blobs + needed - 1, false), (blobs + needed, true)] {
                let registry = registry(name, &fs, limit);
                for blob in image.blobs() {
                    push(&registry, &a, &blob.bytes).await.unwrap();
                }
                let put = registry.put_manifest(&a, &reference("v1"), None, manifest.clone()).await;
                if fits {
                    put.unwrap();
                    registry.put_manifest(&a, &reference("v2"), None, manifest.clone()).await.unwrap();
                    push(&registry, &a, &[1]).await.unwrap_err();
                    registry.delete_manifest(&a, &image.roots()[0].digest.into()).await.unwrap();
                    push(&registry, &a, &noise("x", manifest.len())).await.unwrap();
                    for blob in image.blobs() {
                        registry.delete_blob(&a, &blob.digest).await.unwrap();
                    }
                    registry.collect(ALONE).await.unwrap();
                    push(&registry, &a, &noise("y", blobs as usize)).await.unwrap();
                } else {
                    assert_eq!(put, Err(denied("a", limit, blobs, needed)), "{name}");
                    assert!(registry.tags(&a, &Default::default()).await.map_or(true, |tags| tags.items.is_empty()));
                }
            }
        });
    }
}

#[test]
fn limits_are_single_repositories_or_everybodys() {
    let (fs, own, free) = (SimFs::new(), repo("own"), repo("free"));
    let limits = [(own.clone(), 10)].into_iter().collect();
    let options = QuotaOptions { default_limit_bytes: None, limit_bytes: limits };
    let registry = Registry::new(Box::new(quota("durable", &fs, options)), World::simulated(1));
    run_now(async {
        push(&registry, &free, &noise("1", 5000)).await.unwrap();
        assert_eq!(push(&registry, &own, &noise("1", 11)).await, Err(denied("own", 10, 0, 11)));
        push(&registry, &own, &noise("1", 10)).await.unwrap();
        // Less than what is there: it stays, and nothing comes.
        let registry = self::registry("durable", &fs, 100);
        assert_eq!(push(&registry, &free, &[1]).await, Err(denied("free", 100, 5000, 1)));
        push(&registry, &free, &noise("1", 5000)).await.unwrap();
    });
}

/// Opens a registry on a disk where every call lets the others run.
fn yielding(disk: &SimFs, limit_bytes: u64) -> Arc<Registry<Yielding<SimFs>>> {
    Arc::new(registry("durable", &Yielding(disk.clone()), limit_bytes))
}

#[test]
fn no_order_of_things_squeezes_past() {
    let mut admitted = 0;
    for seed in 0..300 {
        let (disk, a, b) = (SimFs::new(), repo("a"), repo("b"));
        let chooser = &mut Seeded::stream(seed, "quota");
        run_now(async {
            let setup = registry("durable", &disk, 10_000);
            push(&setup, &a, &noise("old", 300)).await.unwrap();
            push(&setup, &b, &noise("mounted", 500)).await.unwrap();
        });
        let registry = yielding(&disk, 1000);
        let (old, mounted) = (Digest::sha256(&noise("old", 300)), Digest::sha256(&noise("mounted", 500)));
        let done = std::sync::Mutex::new(Vec::new());
        let mut tasks: Vec<Task<'_>> = Vec::new();
        for i in 0..2 + chooser.choose(4) {
            let (registry, a, done) = (&registry, &a, &done);
            let what = chooser.choose(7);
            tasks.push(match what {
                // Two of these push the same blob.
                0..=2 => Box::pin(async move {
                    let content = noise(&format!("{}", what / 2), 450);
                    let pushed = push(registry, a, &content).await;
                    assert!(matches!(pushed, Ok(_) | Err(Error::Denied(_))), "{i}: {pushed:?}");
                    done.lock().unwrap().push(pushed.is_ok());
                }),
                3 => Box::pin(async move {
                    let got = registry.mount(a, &repo("b"), &mounted).await;
                    assert!(matches!(got, Ok(_) | Err(Error::Denied(_))), "{got:?}");
                }),
                4 => Box::pin(async move {
                    let _ = registry.delete_blob(a, &old).await;
                }),
                5 => Box::pin(async move {
                    let pushed = push(registry, a, &noise("old", 300)).await;
                    assert!(matches!(pushed, Ok(_) | Err(Error::Denied(_))), "{pushed:?}");
                }),
                _ => Box::pin(async move {
                    let _ = registry.delete_blob(a, &mounted).await;
                }),
            });
        }
        run_together(tasks, chooser);
        admitted += done.lock().unwrap().iter().filter(|ok| **ok).count();
        let used = run_now(used("durable", &disk, &a));
        assert!(used <= 1000, "seed {seed}: {used} bytes");
        // What the books say afterwards is what is there: they admit to the byte.
        let fits = noise("rest", (1000 - used) as usize);
        let more = noise("more", 1);
        let last: Vec<Task<'_>> = vec![Box::pin(async {
            push(&registry, &a, &fits).await.unwrap();
            push(&registry, &a, &more).await.unwrap_err();
        })];
        run_together(last, chooser);
    }
    assert!(admitted > 100, "{admitted} pushes came in");
}

#[test]
fn a_push_that_is_given_up_holds_no_room() {
    let content = noise("1", 1000);
    let digest = Digest::sha256(&content);
    let mut linked = 0;
    for polls in 0..200 {
        let (disk, a) = (SimFs::new(), repo("a"));
        let registry = yielding(&disk, 1000);
        let mut ended = false;
        {
            let mut content = body(&content);
            let mut push = std::pin::pin!(registry.push_blob(&a, &digest, &mut content));
            for _ in 0..polls {
                let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
                if push.as_mut().poll(cx).is_ready() {
                    ended = true;
                    break;
                }
            }
        }
        let there = run_now(used("durable", &disk, &a));
        linked += u32::from(there > 0);
        let mut next: Vec<Task<'_>> = vec![Box::pin(async {
            let other = push(&registry, &a, &noise("2", 1000)).await;
            assert_eq!(other.is_ok(), there == 0, "after {polls} polls: {other:?}");
        })];
        run_together(std::mem::take(&mut next), &mut Seeded::stream(1, "x"));
        if ended {
            assert!(linked > 1, "some were given up with the link in place");
            return;
        }
    }
    panic!("the push comes to no end");
}

#[test]
fn a_session_without_a_last_chunk_is_weighed_too() {
    let (fs, a) = (SimFs::new(), repo("a"));
    let registry = registry("durable", &fs, 100);
    run_now(async {
        push(&registry, &a, &noise("1", 60)).await.unwrap();
        let content = noise("2", 50);
        let id = registry.start_upload(&a).await.unwrap();
        registry.append(&a, &id, Some(0), &mut body(&content)).await.unwrap();
        let refused = registry.commit(&a, &id, &Digest::sha256(&content), Some(50), &mut nothing()).await;
        assert_eq!(refused, Err(denied("a", 100, 60, 50)));
        registry.delete_blob(&a, &Digest::sha256(&noise("1", 60))).await.unwrap();
        registry.commit(&a, &id, &Digest::sha256(&content), Some(50), &mut nothing()).await.unwrap();
    });
}

#[test]
fn a_client_is_told_what_there_is_no_room_for() {
    let fs = SimFs::new();
    let options = pullplug::http::Options { run: pullplug::http::run::Run::Task, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let router = pullplug::http::router(registry("durable", &fs, 100), options);
        let send = async |content: Vec<u8>| {
            let uri = format!("/v2/a/blobs/uploads/?digest={}", Digest::sha256(&content));
            let request = http::Request::post(uri).body(axum::body::Body::from(content)).unwrap();
            let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
            let status = response.status().as_u16();
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(send(noise("1", 60)).await.0, 201);
        let message = "repository a may hold 100 bytes; it holds 60, and 41 more are needed";
        let error = format!(r#"{{"errors":[{{"code":"DENIED","detail":null,"message":"{message}"}}]}}"#);
        assert_eq!(send(noise("2", 41)).await, (403, error));
        assert_eq!(send(noise("2", 40)).await.0, 201);
    });
}
