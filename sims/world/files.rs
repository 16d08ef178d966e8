//! Schedules as files: they come back as they were, and bad ones are refused for what is wrong with them.

use pullplug::sim::campaign;
use pullplug::sim::generate::generate;
use pullplug::sim::schedule::Schedule;
use pullplug::sim::step::{Send, Step};
use pullplug::sim::world::Options;

use super::{schedule, wanted};

#[test]
fn schedules_come_back_from_their_files() {
    for seed in 0..200 {
        let schedule = generate(seed, &wanted("durable", "posix"));
        assert_eq!(Schedule::parse(schedule.to_json().as_bytes()), Ok(schedule.clone()));
        assert!(!schedule.steps.is_empty() && schedule.steps.len() <= 50);
        assert_eq!(schedule, generate(seed, &wanted("durable", "posix")));
    }
}

#[test]
fn bad_files_are_refused_for_what_is_wrong() {
    let good = schedule("durable", "posix", vec![Step::Pull { client: 0, repo: 0, tag: 0 }]);
    let change = |change: &dyn Fn(&mut Schedule)| {
        let mut bad = good.clone();
        change(&mut bad);
        Schedule::parse(bad.to_json().as_bytes()).unwrap_err().to_string()
    };
    let push = |image| Step::Push { client: 0, repo: 0, image, tag: 0, send: Send::Session, from: None };
    for (error, says) in [
        (change(&|s| s.version = 2), "it has version 2, and this pullplug reads version 1"),
        (change(&|s| s.seed = "x7".to_owned()), "its seed \"x7\" is no number"),
        (change(&|s| s.catalogue.images[1] = vec![9]), "image 1 names blob 9, but there are only 3 (0 to 2)"),
        (change(&|s| s.steps.push(push(7))), "step 2 names image 7, but there are only 2 (0 to 1)"),
        (change(&|s| s.steps.push(Step::Resume { client: 3 })), "step 2 names client 3, but there are only 3"),
        (change(&|s| s.strategy = "best".to_owned()), "there is no strategy \"best\""),
        (change(&|s| s.model = "ext5".to_owned()), "there is no model \"ext5\""),
        (change(&|s| s.clients = 0), "it has 0 clients"),
        (change(&|s| s.steps = vec![s.steps[0]; 10_001]), "it has 10001 steps; at most 10000 are possible"),
        (change(&|s| s.catalogue.blobs[0] = u32::MAX), "a blob has 4294967295 bytes"),
        (Schedule::parse(b"{}").unwrap_err().to_string(), "missing field `version`"),
        (Schedule::parse(b"\xff").unwrap_err().to_string(), "no schedule of pullplug"),
    ] {
        assert!(error.contains(says), "{error:?} should say {says:?}");
    }
    let error = campaign::runs(1, 1, &wanted("best", "posix"), &Options::default()).unwrap_err().to_string();
    assert!(
        error.contains("there is no strategy \"best\""),
        "a run that cannot be is no run without findings: {error}"
    );
    let text = good.to_json().replace("\"pull\"", "\"fly\"");
    assert!(Schedule::parse(text.as_bytes()).unwrap_err().to_string().contains("fly"));
}
