//! The library as another crate uses it: through its public API alone.

pub mod foreign;

use pullplug::disk::space::Count;
use pullplug::disk::{SimFs, model};
use pullplug::explore::{Observation, Subject};
use pullplug::fs::{File, FileExt, FileKind, Fs, FsExt, OpenMode, Result};
use pullplug::harness::{Story, ensure};
use pullplug::report::Coverage;
use pullplug::workload::{Workload, image::Image, subject::RegistrySubject};
use pullplug::{Explorer, Scenario};

use crate::script::assert_snapshot;

/// Replaces `conf`.
async fn save(fs: &impl Fs, text: &'static str, sync: bool) -> Result<()> {
    let file = fs.open("conf.tmp", OpenMode::Create).await?;
    file.write_full(0, text.into()).await?;
    if sync {
        file.sync_all().await?;
    }
    fs.rename("conf.tmp", "conf").await?;
    fs.sync_dir("").await
}

fn config(sync: bool) -> Scenario {
    Scenario::new("config")
        .setup(async move |fs| save(fs, "old", sync).await)
        .step("save new", async move |fs| save(fs, "new", sync).await)
        .invariant("old-or-new", async |fs, at| {
            let text = fs.read("conf", 100).await?;
            ensure(text == "new" || (at.answered == 0 && text == "old"), format!("it holds {text:?}"))
        })
}

/// What a test of this subject fails with.
fn message<S: Story>(explorer: &Explorer<S>) -> String {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| explorer.assert_safe())).unwrap_err();
    failed.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_failure_tells_all_that_it_takes() {
    let explorer = Explorer::new(config(false)).models(model::ALL);
    let text = message(&explorer);
    assert_snapshot("harness-config", &text);
    let crash = text.split("assert_safe_at(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let (story, broken) = explorer.replay(crash).unwrap();
    assert!(broken && story.contains("old-or-new: it holds"), "{story}");
    assert!(
        text.ends_with(story.split("\nVerdict").next().unwrap()),
        "the crash that is named is the one that is told"
    );
    let changed = Explorer::new(config(true)).replay(crash).unwrap_err();
    assert!(changed.contains("makes other calls now"), "{changed}");
}

#[test]
fn what_is_known_may_be_allowed() {
    let careful = || Explorer::new(config(true));
    let broken: Vec<_> = careful().explore().unwrap().broken().collect();
    assert_eq!(broken, [("ext4-writeback", "old-or-new"), ("posix-split-rename", "old-or-new")]);
    let allowing = careful().allow("ext4-writeback", "old-or-new").allow("posix-split-rename", "old-or-new");
    allowing.assert_safe();
    careful().model("xfs").assert_safe();
}

/// Writes ten files, and is wrong if just every other one of them survives.
fn scattered() -> Scenario {
    let files = || ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut scattered = Scenario::new("scattered");
    for name in files() {
        let save = async move |fs: &mut SimFs| fs.open(name, OpenMode::Create).await.map(drop);
        scattered = scattered.step(format!("create {name}"), save);
    }
    scattered.invariant("not-every-other", async move |fs, _| {
        let names: Vec<String> = fs.list("").await?.into_iter().map(|entry| entry.name).collect();
        let every_other: Vec<&str> = files().into_iter().step_by(2).collect();
        ensure(names != every_other, "every other file is there")
    })
}

#[test]
fn what_a_sample_misses_a_proof_finds() {
    let sample = Explorer::new(scattered()).model("posix").budget(100).explore().unwrap();
    assert!(sample.is_safe() && sample.to_string().ends_with("were visited, a sample under posix"), "{sample}");
    let proof = Explorer::new(scattered()).model("posix").explore().unwrap();
    assert_eq!(proof.broken().collect::<Vec<_>>(), [("posix", "not-every-other")], "{proof}");
    assert!(proof.explored.iter().all(|explored| explored.covered.coverage == Coverage::Proved));
    let safe = Explorer::new(scattered()).model("journal").explore().unwrap();
    assert!(safe.is_safe() && safe.to_string().contains("is safe; all "), "{safe}");
}

#[test]
fn a_sample_is_no_proof_unless_it_was_asked_for() {
    // One look at thirteen files, each of which may be there or not.
    let many = || {
        let mut many = Scenario::new("many");
        for at in 0..13 {
            let create = async move |fs: &mut SimFs| fs.open(&at.to_string(), OpenMode::Create).await.map(drop);
            many = many.step(format!("create {at}"), create);
        }
        many.invariant("at-most-all", async |fs, _| ensure(fs.list("").await?.len() <= 13, "more than were made"))
    };
    let text = message(&Explorer::new(many()).model("posix"));
    assert!(text.contains("a sample under posix: too many to cover all"), "{text}");
    Explorer::new(many()).model("posix").budget(100).assert_safe();
    let neither = Explorer::new(many()).model("posix").budget(100).failed_syncs().explore().unwrap_err();
    assert!(neither.contains("no sync fails in a sample"), "{neither}");
}

#[test]
fn a_sync_that_failed_is_not_made_good_by_the_next() {
    let careless = || {
        Scenario::new("careless")
            .step("save", async |fs| {
                let file = fs.open("conf", OpenMode::Create).await?;
                file.write_full(0, "new".into()).await?;
                fs.sync_dir("").await?;
                // The second says that all is well: the kernel has told of its failure once.
                if file.sync_all().await.is_err() { file.sync_all().await } else { Ok(()) }
            })
            .invariant("answered-is-there", async |fs, at| {
                let text = fs.read("conf", 100).await.unwrap_or_default();
                ensure(at.answered == 0 || text == "new", format!("it holds {text:?}"))
            })
    };
    Explorer::new(careless()).model("ext4-ordered").assert_safe();
    let seen = Explorer::new(careless()).model("ext4-ordered").failed_syncs().explore().unwrap();
    assert_eq!(seen.broken().collect::<Vec<_>>()[0], ("ext4-ordered", "answered-is-there"), "{seen}");
}

#[test]
fn the_same_seed_gives_the_same_words() {
    let text = || Explorer::new(config(false)).model("posix").budget(50).seed(7).explore().unwrap().to_string();
    assert_eq!(text(), text());
}

#[test]
fn what_cannot_be_explored_is_no_success() {
    let none = Explorer::new(Scenario::new("idle").step("nothing", async |_| Ok::<_, String>(())));
    assert!(none.explore().unwrap_err().contains("needs an invariant"));
    let fails = Explorer::new(config(true).step("fail", async |fs| fs.unlink("none").await));
    assert!(fails.explore().unwrap_err().contains("does not even work without a crash: fail: unlink"));
    let nowhere = Explorer::new(config(true)).models([]);
    assert!(nowhere.explore().unwrap_err().contains("there is no model"));
}

/// A log whose recovery forgets to cut off what is torn: a record that is written after that cannot be read.
struct Appended {
    file: pullplug::disk::SimFile,
    end: u64,
    lines: Vec<String>,
}

async fn log(fs: SimFs, cut: bool) -> Result<Appended> {
    let file = fs.open("log", OpenMode::Create).await?;
    fs.sync_dir("").await?;
    let text = fs.read("log", 1 << 16).await?;
    let whole = text.split_inclusive(|b| *b == b'\n').take_while(|line| line.ends_with(b"!\n"));
    let lines: Vec<String> = whole.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let whole = lines.iter().map(String::len).sum::<usize>() as u64;
    if cut {
        file.set_len(whole).await?;
    }
    Ok(Appended { end: if cut { whole } else { text.len() as u64 }, file, lines })
}

fn appending(cut: bool) -> Scenario<Appended> {
    let append = async |log: &mut Appended, line: String| {
        log.file.write_full(log.end, line.clone().into()).await?;
        log.end += line.len() as u64;
        log.lines.push(line);
        log.file.sync_data().await
    };
    // Two sectors each: a write may be cut between them.
    let line = |i: usize| format!("{}!\n", ["one ", "two "][i].repeat(200));
    Scenario::open("log", async move |fs| log(fs, cut).await)
        .step("append one", async move |log| append(log, line(0)).await)
        .step("append two", async move |log| append(log, line(1)).await)
        .retry()
        .each("answered-is-there", 0..2, async move |log, i, at| {
            ensure(*i >= at.answered || log.lines.contains(&line(*i)), format!("line {i} is gone"))
        })
}

#[test]
fn a_crash_before_the_crash_is_tried_too() {
    let whole = Explorer::new(appending(true)).explore().unwrap();
    assert!(whole.is_safe() && whole.explored.iter().any(|e| e.covered.restart_states != Count::default()), "{whole}");
    let torn = Explorer::new(appending(false)).explore().unwrap().to_string();
    assert!(torn.contains("line 0 is gone") && torn.contains("the process crashes and is started again"), "{torn}");
}

/// A registry's own subject, with an invariant beside those of registries: subjects can be wrapped.
struct Watched(RegistrySubject);

impl Subject for Watched {
    type Probe = Option<<RegistrySubject as Subject>::Probe>;

    fn prepare(&self, disk: &SimFs) -> std::result::Result<(), String> {
        self.0.prepare(disk)
    }
    fn run(&self, disk: &SimFs) -> std::result::Result<(), String> {
        self.0.run(disk)
    }
    fn recover(&self, disk: &SimFs) -> std::result::Result<(), String> {
        self.0.recover(disk)
    }
    fn restart(&self, disk: &SimFs, marks: usize) -> std::result::Result<(), String> {
        self.0.restart(disk, marks)
    }
    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Self::Probe> {
        let probes = self.0.probes(marks, paths);
        probes.into_iter().map(Some).chain([None]).collect()
    }
    fn evaluate(&self, probe: &Self::Probe, disk: &SimFs) -> Vec<Observation> {
        match probe {
            Some(probe) => self.0.evaluate(probe, disk),
            None => {
                let top = pullplug::env::run_now(disk.list("docker/registry/v2/blobs")).unwrap();
                let violation = (!top.is_empty()).then(|| "a blob is there".to_owned());
                vec![Observation { invariant: "no-blob-ever", violation }]
            }
        }
    }
}

impl Story for Watched {
    fn title(&self) -> [String; 2] {
        self.0.title()
    }
    fn operations(&self) -> Vec<String> {
        self.0.operations()
    }
}

#[test]
fn subjects_of_any_kind_are_explored() {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
    let push = RegistrySubject::new("durable", Workload::named("push", &first, &second).unwrap()).unwrap();
    let seen = Explorer::new(Watched(push)).model("xfs").budget(400).explore().unwrap();
    assert_eq!(seen.broken().map(|(_, invariant)| invariant).collect::<Vec<_>>(), ["no-blob-ever"; 2], "{seen}");
}
