//! The schedule beside the requests, on simulated time and a simulated disk.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::env::clock::SimClock;
use pullplug::http::run::Run;
use pullplug::http::server::maintenance::{Collect, FIRST_TURN_SECONDS, Plan, Purge, run};
use pullplug::oci::{Digest, Name};
use pullplug::registry::Registry;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs `scenario` beside a plan.
fn beside<T>(plan: Plan, scenario: impl AsyncFn(&Registry<SimFs>, &SimClock) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = SimClock::default();
        let world = World::new(Arc::new(clock.clone()), 1);
        let registry = Registry::open("durable", SimFs::new(), world).await.unwrap();
        let maintenance = tokio::spawn(run(registry.clone(), plan, Run::Task));
        let value = scenario(&registry, &clock).await;
        maintenance.abort();
        value
    })
}

fn repo() -> Name {
    "lib/app".parse().unwrap()
}

#[test]
fn old_uploads_go_at_their_turn_and_not_in_a_dry_run() {
    for dry_run in [false, true] {
        let purge = Purge { interval: 24 * HOUR, age: 168 * HOUR, dry_run };
        beside(Plan { purge: Some(purge), ..Plan::default() }, async |registry, clock| {
            let id = registry.start_upload(&repo()).await.unwrap();
            sleep(Duration::from_secs(FIRST_TURN_SECONDS + 1)).await;
            assert_eq!(registry.upload_offset(&repo(), &id).await, Ok(0), "it is new");
            clock.advance(169 * 3600);
            sleep(23 * HOUR).await;
            assert_eq!(registry.upload_offset(&repo(), &id).await, Ok(0), "the next turn is not yet");
            sleep(HOUR).await;
            assert_eq!(registry.upload_offset(&repo(), &id).await.is_ok(), dry_run);
        });
    }
}

#[test]
fn garbage_goes_at_its_turns() {
    let collect = Collect { interval: 6 * HOUR, delete_untagged: false };
    beside(Plan { collect: Some(collect), ..Plan::default() }, async |registry, _| {
        let content = Bytes::from_static(b"nobody needs this");
        let digest = Digest::sha256(&content);
        let id = registry.start_upload(&repo()).await.unwrap();
        registry.commit(&repo(), &id, &digest, None, &mut Some(content)).await.unwrap();
        assert!(registry.stat_blob(&repo(), &digest).await.is_ok());
        // A push is spared by the collection that comes next, not by those after it.
        sleep(Duration::from_secs(FIRST_TURN_SECONDS) + 13 * HOUR).await;
        assert!(registry.stat_blob(&repo(), &digest).await.is_err());
    });
}

#[test]
fn without_a_plan_nothing_goes() {
    beside(Plan::default(), async |registry, clock| {
        let id = registry.start_upload(&repo()).await.unwrap();
        clock.advance(1000 * 3600);
        sleep(1000 * HOUR).await;
        assert_eq!(registry.upload_offset(&repo(), &id).await, Ok(0));
    });
}
