//! The envelopes, word by word.

use pullplug::http::notify::{EndpointOptions, MEDIA_TYPE};
use pullplug::oci::manifest::OCI_MANIFEST;
use pullplug::workload::image::Image;

use super::receiver::{Answer, Receiver};
use super::{Site, block_on};
use crate::registry::tag;
use crate::script::assert_snapshot;

#[test]
fn every_action_in_distributions_words() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Status(200)).await;
        let site = Site::new(vec![EndpointOptions::new("hook", &receiver.url)], true);
        let image = Image::generated(1, tag("v1"), &[100]);
        for blob in image.blobs() {
            site.push("lib/app", &blob.bytes).await;
        }
        let (manifest, layer) = (&image.manifests()[0], image.blobs()[0].digest);
        assert_eq!(site.send("PUT", "/v2/lib/app/manifests/v1", OCI_MANIFEST, &manifest.bytes).await, 201);
        let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from=lib/app");
        assert_eq!(site.send("POST", &mount, "", b"").await, 201);
        // What is not there, not changed, or only asked about is no event.
        for (method, uri, status) in [
            ("GET", "/v2/lib/app/manifests/v2".to_owned(), 404),
            ("HEAD", "/v2/lib/app/manifests/v1".to_owned(), 200),
            ("HEAD", format!("/v2/lib/app/blobs/{layer}"), 200),
            ("GET", "/v2/lib/app/tags/list".to_owned(), 200),
            ("POST", "/v2/lib/app/blobs/uploads/".to_owned(), 202),
        ] {
            assert_eq!(site.send(method, &uri, "", b"").await, status, "{method} {uri}");
        }
        let blob = format!("/v2/lib/app/blobs/{layer}");
        let by_digest = format!("/v2/lib/app/manifests/{}", manifest.digest);
        for (method, uri, status) in [
            ("GET", "/v2/lib/app/manifests/v1", 200),
            ("GET", &blob, 200),
            ("DELETE", "/v2/lib/app/manifests/v1", 202),
            ("DELETE", &by_digest, 202),
            ("DELETE", &blob, 202),
        ] {
            assert_eq!(site.send(method, uri, "", b"").await, status, "{method} {uri}");
        }
        let events = image.blobs().len() + 7;
        receiver.until(events).await;
        assert_eq!(site.notifier.drain(std::time::Duration::from_secs(5)).await, 0);
        assert_eq!(receiver.accepted().len(), events);
        let told = receiver.accepted()[image.blobs().len() - 1..].join("\n");
        assert_snapshot("notification_envelopes", &told);
        let heads = receiver.heads();
        let head = heads[0].to_lowercase();
        assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("content-type: {MEDIA_TYPE}\r\n")), "{head}");
        assert!(!head.contains("authorization"), "the client's credentials go nowhere: {head}");
    });
}

#[test]
fn references_are_listed_only_where_that_is_wanted() {
    block_on(async {
        let receiver = Receiver::start(&[], Answer::Status(202)).await;
        let site = Site::new(vec![EndpointOptions::new("hook", &receiver.url)], false);
        let image = Image::generated(1, tag("v1"), &[100]);
        for blob in image.blobs() {
            site.push("a", &blob.bytes).await;
        }
        site.send("PUT", "/v2/a/manifests/v1", OCI_MANIFEST, &image.manifests()[0].bytes).await;
        receiver.until(image.blobs().len() + 1).await;
        let last = receiver.accepted().pop().unwrap();
        assert!(last.contains("\"tag\": \"v1\"") && !last.contains("references"), "{last}");
    });
}
