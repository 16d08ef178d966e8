//! Delivery: in order, until it is taken, without anybody waiting for it, and in bounded memory.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use pullplug::http::client::ClientError;
use pullplug::http::metrics::Metrics;
use pullplug::http::notify::{EndpointOptions, Notifier, NotifyOptions};
use pullplug::oci::Digest;
use tokio::time::Instant;

use super::receiver::{Answer, Receiver};
use super::{Site, block_on};

fn quick(url: &str) -> EndpointOptions {
    let (timeout, backoff) = (Duration::from_millis(100), Duration::from_millis(20));
    EndpointOptions { timeout, backoff, threshold: 2, ..EndpointOptions::new("hook", url) }
}

fn digests(contents: std::ops::Range<u8>) -> Vec<String> {
    contents.map(|i| Digest::sha256(&[i]).to_string()).collect()
}

#[test]
fn failures_are_tried_again_in_order() {
    block_on(async {
        use Answer::{Garbage, HangUp, Never, Status};
        let script = [Status(500), Garbage, Never, Status(200), HangUp, HangUp, Status(404), Status(302), Garbage];
        let receiver = Receiver::start(&script, Status(200)).await;
        let site = Site::new(vec![quick(&receiver.url)], false);
        for i in 0..5 {
            site.push("a", &[i]).await;
        }
        receiver.until(5).await;
        assert_eq!(receiver.digests(), digests(0..5), "each once, in order");
        let bodies = receiver.bodies();
        assert_eq!(bodies.len(), 12, "three tries in vain for the first, three for the second, one for the third");
        assert!(bodies[0] == bodies[3] && bodies[4] == bodies[7], "the same event, with the same identifier");
        assert_eq!(site.notifier.drain(Duration::from_secs(5)).await, 0);
        let count = |kind: &str| {
            site.metric(&format!("registry_notifications_events_total{{endpoint=\"hook\",type=\"{kind}\"}}"))
        };
        assert_eq!([count("Events"), count("Successes"), count("Failures"), count("Errors")], [5, 5, 2, 5]);
        assert_eq!(count("Dropped"), 0);
        let status = |code: &str| {
            site.metric(&format!("registry_notifications_status_total{{code=\"{code}\",endpoint=\"hook\"}}"))
        };
        assert_eq!([status("200 OK"), status("302 Found"), status("500 Internal Server Error")], [4, 1, 1]);
    });
}

#[test]
fn it_waits_only_after_so_many_failures() {
    block_on(async {
        let script = [[Answer::Status(500); 5].as_slice(), &[Answer::Status(200)], &[Answer::Status(500); 4]].concat();
        let receiver = Receiver::start(&script, Answer::Status(200)).await;
        let backoff = Duration::from_millis(600);
        let site = Site::new(vec![EndpointOptions { threshold: 5, backoff, ..quick(&receiver.url) }], false);
        let began = Instant::now();
        site.push("a", &[0]).await;
        receiver.until(1).await;
        // Five failures, and a wait after the fifth.
        assert!(began.elapsed() >= backoff, "{:?}", began.elapsed());
        let began = Instant::now();
        site.push("a", &[1]).await;
        receiver.until(2).await;
        assert!(began.elapsed() < 3 * backoff, "four failures wait for nothing: {:?}", began.elapsed());
        assert_eq!(receiver.bodies().len(), 11);
    });
}

#[test]
fn a_push_waits_for_nobody_and_the_oldest_makes_room() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Never).await;
        let other = Receiver::start(&[], Answer::Status(200)).await;
        let slow = EndpointOptions { timeout: Duration::from_secs(60), queue_events: 10, ..quick(&receiver.url) };
        let site = Site::new(vec![slow, EndpointOptions { name: "other".into(), ..quick(&other.url) }], false);
        let began = Instant::now();
        site.push("a", &[0]).await;
        while receiver.bodies().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for i in 1..40 {
            site.push("a", &[i]).await;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let dropped = "registry_notifications_events_total{endpoint=\"hook\",type=\"Dropped\"}";
        assert_eq!(site.metric(dropped), 29, "39 came while one was being sent, and 10 wait");
        assert_eq!(site.metric("registry_notifications_pending_total{endpoint=\"hook\"}"), 11);
        other.until(40).await;
        assert_eq!(other.digests(), digests(0..40), "one endpoint does not hold up another");
    });
}

#[test]
fn the_newest_are_kept() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Status(503)).await;
        let site = Site::new(vec![EndpointOptions { queue_events: 3, ..quick(&receiver.url) }], false);
        site.push("a", &[0]).await;
        while receiver.bodies().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for i in 1..9 {
            site.push("a", &[i]).await;
        }
        receiver.answer_from_now_on(Answer::Status(200));
        receiver.until(4).await;
        assert_eq!(receiver.digests(), [digests(0..1), digests(6..9)].concat());
    });
}

#[test]
fn the_end_waits_for_the_queue_but_not_for_ever() {
    block_on(async {
        let receiver = Receiver::start(&[Answer::Status(500); 5], Answer::Status(200)).await;
        let site = Site::new(vec![quick(&receiver.url)], false);
        for i in 0..20 {
            site.push("a", &[i]).await;
        }
        assert_eq!(site.notifier.drain(Duration::from_secs(20)).await, 0);
        assert_eq!(receiver.digests(), digests(0..20));
        site.push("a", &[99]).await;
        assert_eq!(receiver.accepted().len(), 20, "after the end nothing is taken");

        let dead = Receiver::start(&[], Answer::Never).await;
        let site = Site::new(vec![quick(&dead.url), EndpointOptions { name: "b".into(), ..quick(&dead.url) }], false);
        for i in 0..4 {
            site.push("a", &[i]).await;
        }
        let began = Instant::now();
        assert_eq!(site.notifier.drain(Duration::from_millis(300)).await, 8, "four for each of two");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn what_is_ignored_is_not_sent() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Status(200)).await;
        let kinds = Receiver::start(&[], Answer::Status(200)).await;
        let actions = ["pull".to_owned(), "mount".to_owned()].into();
        let media_types = ["application/octet-stream".to_owned()].into();
        let site = Site::new(
            vec![
                EndpointOptions { ignored_actions: actions, ..quick(&receiver.url) },
                EndpointOptions { name: "b".into(), ignored_media_types: media_types, ..quick(&kinds.url) },
            ],
            false,
        );
        site.push("a", &[1]).await;
        let digest = Digest::sha256(&[1]);
        assert_eq!(site.send("GET", &format!("/v2/a/blobs/{digest}"), "", b"").await, 200);
        assert_eq!(site.send("DELETE", &format!("/v2/a/blobs/{digest}"), "", b"").await, 202);
        assert_eq!(site.notifier.drain(Duration::from_secs(5)).await, 0);
        let sent = |receiver: &Receiver| {
            let action =
                |body: &String| body.split("\"action\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            receiver.accepted().iter().map(action).collect::<Vec<_>>()
        };
        assert_eq!(sent(&receiver), ["push", "delete"]);
        assert_eq!(sent(&kinds), ["delete"], "a deletion has no media type");
    });
}

#[test]
fn credentials_for_the_endpoint_are_sent_and_shown_to_nobody_else() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Status(200)).await;
        let url = receiver.url.replace("http://", "http://me:p%40ss@");
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-key"), HeaderValue::from_static("k1"))]);
        let site = Site::new(vec![EndpointOptions { headers, ..quick(&url) }], false);
        site.push("a", &[1]).await;
        receiver.until(1).await;
        let head = receiver.heads()[0].to_lowercase();
        assert!(head.contains("authorization: basic bwu6cebzcw==\r\n") && head.contains("x-key: k1\r\n"), "{head}");
        assert!(!head.contains('@'), "{head}");

        for bad in ["", "hook", "ftp://me:secret@host/", "http://", "http://me:secret@/", "http://%zz@host/"] {
            let options = NotifyOptions { endpoints: vec![EndpointOptions::new("hook", bad)], ..Default::default() };
            let world = pullplug::env::World::simulated(1);
            let error = Notifier::start(options, world, &Metrics::new().unwrap()).err().unwrap();
            assert_eq!(error.cause, ClientError::Url, "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    });
}
