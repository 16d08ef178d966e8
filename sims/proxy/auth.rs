//! How a cache gets in: tokens, passwords, redirects; and who must not see them.

use super::*;

const PASSWORD: &str = "Basic bWU6czNjcmV0";

fn guarded(remote: &Remote, challenge: String, authorization: &str) {
    remote.behave(Manner::Guarded { authorization: authorization.to_owned(), challenge });
}

fn with_password(remote: &Remote) -> UpstreamOptions {
    UpstreamOptions { credentials: Some(("me".to_owned(), "s3cret".to_owned())), ..options(remote) }
}

#[test]
fn a_token_is_fetched_with_the_password_and_used_until_it_expires() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let challenge = format!("Bearer realm=\"{}/token\",service=\"the service\"", remote.url);
        guarded(&remote, challenge, "Bearer t0ken");
        let token = serde_json::json!({ "token": "t0ken", "access_token": "t0ken", "expires_in": 300 });
        remote.shared.lock().unwrap().token = Some((PASSWORD.to_owned(), token));
        let clock = SimClock::default();
        let cache = Cache::on(SimFs::new(), clock.clone(), with_password(&remote), WEEK).await;
        cache.pull(REPO, &image).await;
        let expected = format!("GET /token?service=the%20service&scope=repository%3Alib%2Fapp%3Apull {PASSWORD}");
        assert_eq!((remote.asked("GET /token"), remote.asked(&expected)), (1, 1), "{:?}", {
            remote.shared.lock().unwrap().asked.clone()
        });
        clock.advance(300);
        cache.pull(REPO, &image).await;
        assert_eq!(remote.asked("GET /token"), 2);
        // A token that upstream takes back before its time is replaced too.
        let token = serde_json::json!({ "access_token": "new" });
        remote.shared.lock().unwrap().token = Some((PASSWORD.to_owned(), token));
        guarded(&remote, format!("Bearer realm=\"{}/token\"", remote.url), "Bearer new");
        cache.pull(REPO, &image).await;
        assert_eq!(remote.asked("GET /token"), 3);
    });
}

#[test]
fn a_wrong_password_is_no_way_in() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let cache = Cache::on(SimFs::new(), SimClock::default(), with_password(&remote), WEEK).await;
        for challenge in [format!("Bearer realm=\"{}/token\"", remote.url), "Basic realm=\"r\"".to_owned()] {
            guarded(&remote, challenge, "Basic of-another");
            assert_eq!(cache.get(format!("/v2/{REPO}/manifests/v1")).await.code(), "MANIFEST_UNKNOWN");
            assert_eq!(cache.get(blob_path(REPO, &big(&image).0)).await.code(), "BLOB_UNKNOWN");
        }
        assert!(remote.asked("") < 20, "it does not ask for ever");
    });
}

#[test]
fn a_password_is_sent_where_it_is_asked_for_and_not_before() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let cache = Cache::on(SimFs::new(), SimClock::default(), with_password(&remote), WEEK).await;
        cache.pull(REPO, &image).await;
        let asked = remote.shared.lock().unwrap().asked.clone();
        assert!(asked.iter().all(|line| !line.contains("Basic")), "nobody has asked for it: {asked:?}");
        guarded(&remote, "Basic realm=\"r\"".to_owned(), PASSWORD);
        cache.pull(REPO, &image).await;
    });
}

#[test]
fn a_redirect_is_followed_without_what_let_us_in() {
    on_runtime(async {
        let (remote, storage, image) = (Remote::start().await, Remote::start().await, image(1));
        storage.push(REPO, &image).await;
        let cache = Cache::on(SimFs::new(), SimClock::default(), with_password(&remote), WEEK).await;
        guarded(&remote, "Basic realm=\"r\"".to_owned(), PASSWORD);
        assert_eq!(cache.get(format!("/v2/{REPO}/manifests/v1")).await.status, 404);
        assert_eq!(remote.asked(&format!("HEAD /v2/{REPO}/manifests/v1 {PASSWORD}")), 1);
        remote.behave(Manner::Redirect(storage.url.clone()));
        cache.pull(REPO, &image).await;
        let (asked, stored) =
            (remote.asked(&format!("GET /v2/{REPO}/blobs")), storage.shared.lock().unwrap().asked.clone());
        assert_eq!(asked, image.blobs().len());
        assert!(stored.iter().all(|line| line.ends_with(' ')), "{stored:?}");
        // Nor may it ask for it.
        guarded(&storage, format!("Bearer realm=\"{}/token\"", storage.url), "Bearer t");
        let reply = cache.get(blob_path(REPO, &Digest::sha256(b"more"))).await;
        assert_eq!((reply.code(), storage.asked("GET /token")), ("UNAVAILABLE".to_owned(), 0));
    });
}

#[test]
fn redirects_come_to_an_end() {
    on_runtime(async {
        let remote = Remote::start().await;
        let cache = Cache::of(&remote).await;
        for to in [remote.url.clone(), String::new(), "ftp://127.0.0.1".to_owned(), "nowhere".to_owned()] {
            let before = remote.asked("");
            remote.behave(Manner::Redirect(to.clone()));
            assert_eq!(cache.get(blob_path(REPO, &Digest::sha256(b""))).await.code(), "UNAVAILABLE", "{to}");
            assert!(remote.asked("") - before <= 6);
        }
    });
}
