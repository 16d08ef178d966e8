//! Named scenarios on `durable`: a crash at every call of a push, of a collection and of a recovery; a collection beside
//! a push; links and disks that fail.

use pullplug::sim::step::{DiskFault, LinkFault, Send, Step, Stop};
use pullplug::sim::world::{Options, run};

use super::{schedule, survives};

const PUSH: Step = Step::Push { client: 0, repo: 0, image: 1, tag: 0, send: Send::Chunks(1000), from: None };
const OTHER: Step = Step::Push { client: 1, repo: 0, image: 0, tag: 0, send: Send::Whole, from: None };
const MOUNT: Step = Step::Push { client: 1, repo: 1, image: 1, tag: 1, send: Send::Session, from: Some(0) };
const PULL: Step = Step::Pull { client: 2, repo: 0, tag: 0 };

fn cut(how: Stop, calls: u16) -> Step {
    Step::Cut { how, calls }
}

/// How many calls a schedule makes until it is over.
fn calls(steps: &[Step]) -> u16 {
    let outcome = run(&schedule("durable", "posix", steps.to_vec()), &Options { timeline: true, ..Options::default() });
    let outcome = outcome.unwrap();
    outcome.timeline.unwrap().lines().filter(|line| line.contains(" disk ")).count() as u16
}

#[test]
fn a_crash_in_every_call_of_a_push() {
    let total = calls(&[PUSH]);
    assert!(total > 60, "{total} calls");
    let mut before_the_answer = 0;
    for call in (1..=total).step_by(3) {
        for how in [Stop::Power, Stop::Process] {
            let outcome = survives(&[cut(how, call), PUSH, PULL]);
            before_the_answer += outcome.counts.get("requests without an answer").copied().unwrap_or_default();
        }
    }
    assert!(before_the_answer > 20, "{before_the_answer} requests were cut");
}

#[test]
fn a_crash_in_every_call_of_a_collection() {
    let garbage =
        [PUSH, Step::DeleteManifest { client: 0, repo: 0, image: 1 }, Step::Pull { client: 0, repo: 0, tag: 1 }];
    // Twice: the first collection spares what it cannot yet tell from a push.
    let collect = [Step::Collect, Step::Wait { ms: 30 }, Step::Collect, Step::Wait { ms: 30 }];
    let mut during = 0;
    for call in (1..200).step_by(9) {
        let steps = [&garbage[..], &[cut(Stop::Power, call)], &collect, &[OTHER, PULL]].concat();
        during += survives(&steps).counts.get("crashes during a collection").copied().unwrap_or_default();
    }
    assert!(during > 4, "{during} crashes during a collection");
}

#[test]
fn a_crash_in_the_recovery_from_a_crash() {
    let mut double = 0;
    for (first, second) in [(20, 1), (40, 1), (60, 1), (80, 2), (33, 3), (90, 5)] {
        let outcome = survives(&[cut(Stop::Power, first), PUSH, cut(Stop::Power, second), OTHER, PULL]);
        double += outcome.counts.get("crashes in recovery").copied().unwrap_or_default();
    }
    assert!(double > 1, "{double} crashes in recovery");
}

#[test]
fn a_collection_beside_a_push_takes_nothing() {
    let delete = Step::DeleteManifest { client: 0, repo: 0, image: 1 };
    for ms in 1..12 {
        survives(&[
            PUSH,
            delete,
            Step::Pull { client: 0, repo: 0, tag: 2 },
            Step::Collect,
            Step::Wait { ms },
            MOUNT,
            PUSH,
            OTHER,
            Step::Collect,
        ]);
    }
}

#[test]
fn links_that_fail_cost_time_and_nothing_else() {
    for fault in
        [LinkFault::Partition, LinkFault::LoseRequests, LinkFault::LoseAnswers, LinkFault::Hold, LinkFault::Latency(30)]
    {
        for wait in [2, 6, 11] {
            let link = Step::Link { client: 0, fault, ms: 60 };
            let outcome = survives(&[PUSH, Step::Wait { ms: wait }, link, OTHER, Step::Wait { ms: 100 }, PUSH, PULL]);
            assert!(outcome.counts["links healed"] > 0);
        }
    }
    let reset = [PUSH, Step::Wait { ms: 7 }, Step::Reset { client: 0 }, OTHER, PULL];
    assert!(survives(&reset).counts["requests without an answer"] > 0, "the reset hit nothing");
}

#[test]
fn disks_that_fail() {
    for fault in [
        DiskFault::Full,
        DiskFault::ReadError(3),
        DiskFault::ShortRead(2),
        DiskFault::WriteError(3),
        DiskFault::ShortWrite(2),
        DiskFault::SyncFailure(2),
        DiskFault::Slow(1500),
    ] {
        for wait in [1, 5] {
            let disk = Step::Disk { fault, ms: 40 };
            survives(&[
                OTHER,
                disk,
                Step::Wait { ms: wait },
                PUSH,
                MOUNT,
                Step::Wait { ms: 60 },
                cut(Stop::Power, 9),
                PUSH,
                PULL,
            ]);
        }
    }
}

#[test]
fn an_upload_goes_on_after_a_crash_and_is_purged_after_days() {
    let begin = Step::Begin { client: 0, repo: 0, blob: 1, bytes: 1024 };
    let resume = Step::Resume { client: 0 };
    let outcome = survives(&[begin, Step::Pull { client: 0, repo: 0, tag: 0 }, cut(Stop::Process, 0), resume, PUSH]);
    assert!(outcome.counts["uploads resumed after a crash"] > 0);
    let days = [begin, Step::Pull { client: 0, repo: 0, tag: 0 }, Step::Advance { hours: 169 }, Step::Purge];
    let outcome = survives(&[&days[..], &[Step::Wait { ms: 20 }, resume]].concat());
    assert!(outcome.counts["uploads that were gone"] > 0);
}
