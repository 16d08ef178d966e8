//! Two servers of which one is a cache of the other.

use rustix::process::Signal;

use super::process::{Served, pullplug, refused, write};

const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn a_cache_serves_what_it_has_seen_when_the_other_server_is_gone_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Served::on(&dir.path().join("origin"), &[]);
    let pushed = origin.ask(&format!("POST /v2/lib/app/blobs/uploads/?digest={DIGEST}"), "hello");
    assert!(pushed.starts_with("HTTP/1.1 201 "), "{pushed}");
    let (root, config) = (dir.path().join("cache"), dir.path().join("config.yml"));
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
         proxy: {{remoteurl: 'http://{}'}}\n",
        root.display(),
        origin.address()
    );
    write(&config, &text);
    let serve = || pullplug(&["serve", config.to_str().unwrap()]);
    let blob = format!("GET /v2/lib/app/blobs/{DIGEST}");
    let cache = Served::start(&mut serve());
    let reply = cache.ask(&blob, "");
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("hello"), "{reply}");
    let reply = cache.ask(&format!("POST /v2/lib/app/blobs/uploads/?digest={DIGEST}"), "hello");
    assert!(reply.starts_with("HTTP/1.1 405 ") && reply.contains("UNSUPPORTED"), "{reply}");
    drop(origin);
    assert!(cache.ask(&blob, "").ends_with("hello"));
    assert!(cache.ask("GET /v2/lib/app/manifests/v1", "").starts_with("HTTP/1.1 503 "));
    cache.signal(Signal::TERM);
    let (code, _, log) = cache.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("in the middle"), "nobody holds the registry at the end: {log}");
    assert!(root.join("scheduler-state.json").exists());
    let cache = Served::start(&mut serve());
    assert!(cache.ask(&blob, "").ends_with("hello"));
    drop(cache);

    let (code, said) = refused(serve().env("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"));
    assert!(code == 2 && said.contains("read-only"), "{said}");
}
