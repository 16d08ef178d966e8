//! What a proof covers, a sync that fails included; and what it costs: what a probe does not ask does not multiply, and what
//! would cost too much is given up.

use num_bigint::BigUint;
use pullplug::check::contents::Contents;
use pullplug::disk::SimFs;
use pullplug::disk::crash::Loss;
use pullplug::disk::model::{ALL, Btrfs, Ext4Ordered, Ext4Writeback, PersistenceModel, Posix};
use pullplug::env::run_now;
use pullplug::explore::lazy::{Limits, NoProof, Proof, Prover, prove};
use pullplug::explore::replay::Crash;
use pullplug::explore::{Budget, Observation, Run, Setting, Subject};
use pullplug::fs::{File, FileExt, FileKind, Fs, FsExt, OpenMode};
use pullplug::harness::ensure;
use pullplug::oci::Name;
use pullplug::report::spec::Spec;
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::op::Op;
use pullplug::workload::subject::RegistrySubject;
use pullplug::{Explorer, Scenario};

use crate::script::{Player, calls};

/// Repositories, each of which gets a blob and a link to it, and no sync.
struct Repositories {
    count: usize,
    /// Whether one probe looks at all of them.
    together: bool,
}

impl Subject for Repositories {
    /// A repository, or all of them.
    type Probe = Option<usize>;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        play(disk, &(0..self.count).map(|at| format!("mkdir {at}; ")).collect::<String>());
        Ok(())
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        for at in 0..self.count {
            play(
                disk,
                &format!("create {at}/new; append {at}/new 600 B; rename {at}/new {at}/blob; link {at}/blob {at}/link"),
            );
        }
        Ok(())
    }

    fn recover(&self, _: &SimFs) -> Result<(), String> {
        Ok(())
    }

    fn restart(&self, _: &SimFs, _: usize) -> Result<(), String> {
        Ok(())
    }

    fn probes(&self, _: usize, _: &[(String, FileKind)]) -> Vec<Self::Probe> {
        if self.together { vec![None] } else { (0..self.count).map(Some).collect() }
    }

    fn evaluate(&self, probe: &Self::Probe, disk: &SimFs) -> Vec<Observation> {
        let repositories = probe.map_or(0..self.count, |at| at..at + 1);
        let violation = repositories.filter_map(|at| dangling(at, disk)).next();
        vec![Observation { invariant: "a-link-has-its-blob", violation }]
    }
}

fn play(disk: &SimFs, script: &str) {
    let mut player = Player::on(disk.clone());
    calls(script).for_each(|call| drop(player.call(call)));
}

/// What is wrong with the link in a repository, if it is there.
fn dangling(at: usize, disk: &SimFs) -> Option<String> {
    run_now(async {
        let link = disk.open(&format!("{at}/link"), OpenMode::Read).await.ok()?;
        let blob = disk.open(&format!("{at}/blob"), OpenMode::Read).await.ok();
        let Some(blob) = blob else { return Some(format!("{at} has a link and no blob")) };
        let (link, blob) = (link.read_full(0, 600).await.ok()?, blob.read_full(0, 600).await.ok()?);
        (link.len() < 600 || link != blob).then(|| format!("the blob in {at} is not whole"))
    })
}

fn proof(count: usize, together: bool, limits: Limits) -> Result<Proof<Option<usize>>, NoProof> {
    let subject = &Repositories { count, together };
    let run = Run::of(subject).unwrap();
    let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
    prove(subject, &run, Setting { model: &Posix, loss: Loss::PowerCut, seed: 1, budget }, limits)
}

#[test]
fn ten_repositories_cost_ten_times_what_one_does() {
    let one = proof(1, false, Limits::default()).unwrap();
    let ten = proof(10, false, Limits::default()).unwrap();
    // Only one of the writes is cut in the middle, so it is a little less than the tenth power.
    let many = BigUint::from(100_u32).pow(10);
    assert!(one.crash_states.states > BigUint::from(100_u32) && ten.crash_states.states > many, "{one:?} {ten:?}");
    assert!(
        (8 * one.executions..=12 * one.executions).contains(&ten.executions),
        "{} {}",
        one.executions,
        ten.executions
    );
    assert!(ten.findings.contains_key("a-link-has-its-blob"), "a link may survive without its blob");
}

#[test]
fn what_hangs_together_is_given_up_in_time() {
    let limits = Limits { executions: 500, ..Limits::default() };
    assert_eq!(proof(10, true, limits), Err(NoProof::TooMany));
    assert!(proof(10, false, limits).is_ok(), "one by one they are not many");
}

/// A registry of which no client comes back after a restart: restarts, as failed syncs, are as many as there are places
/// and syncs, which is not what is measured.
struct Deserted(RegistrySubject);

impl Subject for Deserted {
    type Probe = <RegistrySubject as Subject>::Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        self.0.prepare(disk)
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        self.0.run(disk)
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        self.0.recover(disk)
    }

    fn restart(&self, _: &SimFs, _: usize) -> Result<(), String> {
        Err("nobody goes on".to_owned())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Self::Probe> {
        self.0.probes(marks, paths)
    }

    fn evaluate(&self, probe: &Self::Probe, disk: &SimFs) -> Vec<Observation> {
        self.0.evaluate(probe, disk)
    }
}

/// An image of its own is pushed to each of so many repositories.
fn pushes(repositories: u64) -> Workload {
    let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[600]);
    let mut all =
        Workload { name: "pushes".to_owned(), setup: Vec::new(), ops: Vec::new(), contents: Contents::default() };
    for at in 0..repositories {
        let one = Workload::named("push", &image(at), &image(100 + at)).unwrap();
        let name: Name = format!("lib/app{at}").parse().unwrap();
        let uploads = 10 * at as u32;
        for mut op in one.ops {
            match &mut op {
                Op::StartUpload { repo, upload, .. } => (*repo, *upload) = (name.clone(), *upload + uploads),
                Op::Commit { upload } => *upload += uploads,
                Op::PutManifest { repo, .. } => *repo = name.clone(),
                other => panic!("a push does not {other}"),
            }
            all.ops.push(op);
        }
        for digest in one.contents.digests() {
            all.contents.insert(digest.algorithm(), one.contents.get(digest).unwrap().clone());
        }
    }
    all
}

#[test]
fn ten_repositories_of_a_registry_cost_ten_times_what_one_does() {
    let models: [(&str, &dyn PersistenceModel); 2] = [("distribution-3.1", &Posix), ("durable", &Ext4Ordered)];
    for (strategy, model) in models {
        let proof = |repositories| {
            let subject = Deserted(RegistrySubject::new(strategy, pushes(repositories)).unwrap());
            let run = Run::of(&subject).unwrap();
            let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
            let setting = Setting { model, loss: Loss::PowerCut, seed: 1, budget };
            prove(&subject, &run, setting, Limits { failed_syncs: false, ..Limits::default() }).unwrap()
        };
        let (one, ten) = (proof(1), proof(10));
        println!("{strategy}: {} and {} executions", one.executions, ten.executions);
        assert!(ten.executions <= 12 * one.executions, "{strategy}: {} {}", one.executions, ten.executions);
        assert!(ten.crash_states.states > one.crash_states.states * 10_u32, "{strategy}");
    }
}

/// What is removed may hold anything until that is durable, sector by sector. Who compares digests learns whether it is what
/// it was, and no more.
#[test]
fn blocks_of_what_is_removed_do_not_multiply() {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[40_000]));
    let subject = RegistrySubject::new("distribution-2.8", Workload::named("gc", &first, &second).unwrap()).unwrap();
    let run = Run::of(&subject).unwrap();
    let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
    let setting = Setting { model: &Ext4Writeback, loss: Loss::PowerCut, seed: 1, budget };
    let proof = prove(&subject, &run, setting, Limits { executions: 200, ..Limits::default() }).unwrap();
    assert!(proof.crash_states.states > BigUint::from(2_u32).pow(40_000 / 512), "{}", proof.crash_states);
}

#[test]
fn what_is_proved_under_one_model_does_not_depend_on_others() {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
    for strategy in ["distribution-2.8", "durable"] {
        let subject = RegistrySubject::new(strategy, Workload::named("gc", &first, &second).unwrap()).unwrap();
        let run = Run::of(&subject).unwrap();
        let setting = |model, loss| Setting { model, loss, seed: 1, budget: Budget::of(0) };
        let prover = Prover::new(&subject, &run);
        for (model, loss) in ALL.into_iter().flat_map(|model| [(model, Loss::PowerCut), (model, Loss::ProcessCrash)]) {
            let alone = prove(&subject, &run, setting(model, loss), Limits::default()).unwrap();
            let after_others = prover.prove(setting(model, loss), Limits::default()).unwrap();
            assert_eq!(after_others, alone, "{strategy} under {} ({})", model.name(), loss.name());
        }
    }
}

/// A file is written, synced and answered for. Who is told that the sync has failed asks again, or refuses.
fn saved(asks_again: bool) -> Scenario {
    Scenario::new("saved")
        .step("save", async move |fs| {
            let file = fs.open("new", OpenMode::Create).await?;
            file.write_full(0, "x".repeat(600).into()).await?;
            match file.sync_all().await {
                Err(_) if asks_again => file.sync_all().await?,
                done => done?,
            }
            fs.sync_dir("").await
        })
        .invariant("answered-is-there", async |fs, at| {
            let there = fs.read("new", 1000).await.unwrap_or_default();
            ensure(at.answered == 0 || there == "x".repeat(600), "it was answered for, and is not there")
        })
}

/// The second sync succeeds, and brings nothing: the pages are clean.
#[test]
fn a_sync_that_failed_and_was_asked_for_again_is_found_and_shown_again() {
    let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
    for model in pullplug::disk::model::ALL {
        let setting = Setting { model, loss: Loss::PowerCut, seed: 1, budget };
        let proof = |subject: &Scenario, limits| prove(subject, &Run::of(subject).unwrap(), setting, limits).unwrap();
        let (stubborn, careful) = (saved(true), saved(false));
        assert!(proof(&careful, Limits::default()).findings.is_empty(), "{}", model.name());
        let without = Limits { failed_syncs: false, ..Limits::default() };
        assert!(proof(&stubborn, without).findings.is_empty(), "{}", model.name());
        let finding = proof(&stubborn, Limits::default()).findings["answered-is-there"].clone();
        let spec = Spec {
            strategy: "saved".to_owned(),
            model: model.name().to_owned(),
            workload: "steps".to_owned(),
            loss: Loss::PowerCut,
            invariant: Some(finding.invariant.to_owned()),
            turns: None,
            crash: Crash::from(&finding),
            run: None,
        };
        let (story, broken) = Explorer::new(stubborn).replay(&spec.to_string()).unwrap();
        assert!(broken && story.contains("-- fsync new fails: its pages are"), "{spec}: {story}");
    }
}

/// Every sync fails that there is, in every way; each is a crash state more, if anything comes of it.
#[test]
fn durable_is_proved_where_a_sync_fails() {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[]));
    for (workload, model) in [("push", &Ext4Ordered as &dyn PersistenceModel), ("gc", &Posix), ("delete", &Btrfs)] {
        let subject = RegistrySubject::new("durable", Workload::named(workload, &first, &second).unwrap()).unwrap();
        let run = Run::of(&subject).unwrap();
        let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
        let setting = Setting { model, loss: Loss::PowerCut, seed: 1, budget };
        let proof = prove(&subject, &run, setting, Limits::default()).unwrap();
        assert!(proof.findings.is_empty(), "{workload}: {:?}", proof.findings);
        assert!(proof.failed_sync_states.states > BigUint::ZERO, "{workload}");
    }
}
