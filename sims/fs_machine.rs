//! Random sequences of calls on two implementations of the port at once: every result must agree (value or kind of
//! error), and in the end both trees, and what is left in the open handles.
//!
//! Few names and short paths, so that the calls meet: that they do, and that every kind of result comes up, is itself
//! a test. Inode numbers are compared by what they mean (which names are one file), not by value.

use std::collections::{BTreeMap, BTreeSet};

use ::bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs, Nth};
use pullplug::fs::real::Resolve;
use pullplug::fs::{DirEntry, ErrorKind, File, FileExt, FileKind, Fs, FsError, FsExt, Metadata, OpenMode};

use crate::fs_contract::real;

/// One call. Handles are picked among those that are open; without one the step is skipped.
#[derive(Debug, Clone)]
enum Step {
    Open(String, OpenMode),
    Close(Index),
    Read(Index, u64, usize),
    Write(Index, u64, usize, u8),
    SetLen(Index, u64),
    HandleMetadata(Index),
    Sync(Index),
    Rename(String, String),
    HardLink(String, String),
    Unlink(String),
    Mkdir(String),
    Rmdir(String),
    ReadDir(String),
    Metadata(String),
    SyncDir(String),
}

/// What a call came to, in a form in which two implementations can be compared.
type Outcome = Result<Value, ErrorKind>;

#[derive(Debug, PartialEq)]
enum Value {
    Nothing,
    Bytes(Bytes),
    Written(usize),
    Entries(Vec<DirEntry>),
    Metadata(FileKind, u64),
}

impl From<Metadata> for Value {
    fn from(m: Metadata) -> Self {
        Self::Metadata(m.kind, m.len)
    }
}

/// One implementation, and its open handles.
struct Machine<F: Fs> {
    fs: F,
    handles: Vec<F::File>,
}

impl<F: Fs> Machine<F> {
    fn new(fs: F) -> Self {
        Self { fs, handles: Vec::new() }
    }

    async fn step(&mut self, step: &Step) -> Outcome {
        let done = |r: Result<(), FsError>| r.map(|()| Value::Nothing).map_err(|e| e.kind);
        let handle = |i: &Index| (!self.handles.is_empty()).then(|| &self.handles[i.index(self.handles.len())]);
        match step {
            Step::Open(path, mode) => {
                let file = self.fs.open(path, *mode).await.map_err(|e| e.kind)?;
                self.handles.push(file);
            }
            Step::Close(i) if !self.handles.is_empty() => {
                self.handles.swap_remove(i.index(self.handles.len()));
            }
            Step::Read(i, offset, len) => {
                let Some(file) = handle(i) else { return Ok(Value::Nothing) };
                return file.read_at(*offset, *len).await.map(Value::Bytes).map_err(|e| e.kind);
            }
            Step::Write(i, offset, len, fill) => {
                let Some(file) = handle(i) else { return Ok(Value::Nothing) };
                let data = Bytes::from(vec![*fill; *len]);
                return file.write_at(*offset, data).await.map(Value::Written).map_err(|e| e.kind);
            }
            Step::HandleMetadata(i) => {
                let Some(file) = handle(i) else { return Ok(Value::Nothing) };
                return file.metadata().await.map(Value::from).map_err(|e| e.kind);
            }
            Step::SetLen(i, len) => {
                let Some(file) = handle(i) else { return Ok(Value::Nothing) };
                return done(file.set_len(*len).await);
            }
            Step::Sync(i) => {
                let Some(file) = handle(i) else { return Ok(Value::Nothing) };
                return done(file.sync_data().await.and(file.sync_all().await));
            }
            Step::Close(_) => {}
            Step::Rename(from, to) => return done(self.fs.rename(from, to).await),
            Step::HardLink(existing, new) => return done(self.fs.hard_link(existing, new).await),
            Step::Unlink(path) => return done(self.fs.unlink(path).await),
            Step::Mkdir(path) => return done(self.fs.mkdir(path).await),
            Step::Rmdir(path) => return done(self.fs.rmdir(path).await),
            Step::SyncDir(path) => return done(self.fs.sync_dir(path).await),
            Step::ReadDir(path) => return self.fs.read_dir(path).await.map(Value::Entries).map_err(|e| e.kind),
            Step::Metadata(path) => return self.fs.metadata(path).await.map(Value::from).map_err(|e| e.kind),
        }
        Ok(Value::Nothing)
    }

    /// Every path with its metadata, its bytes, and the first path that is the same inode; then the handles' bytes.
    async fn remains(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut first_name = BTreeMap::new();
        let mut stack = vec![String::new()];
        while let Some(dir) = stack.pop() {
            for entry in self.fs.read_dir(&dir).await.unwrap() {
                let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
                let m = self.fs.metadata(&path).await.unwrap();
                assert_eq!(m.kind, entry.kind, "a listing and a stat of {path}");
                let first = first_name.entry(m.ino).or_insert_with(|| path.clone()).clone();
                let bytes =
                    if m.kind == FileKind::File { self.fs.read(&path, u64::MAX).await.unwrap() } else { Bytes::new() };
                lines.push(format!("{path} = {first}: {:?} {bytes:?}", Value::from(m)));
                if m.kind == FileKind::Dir {
                    stack.push(path);
                }
            }
        }
        for file in &self.handles {
            let m = file.metadata().await.unwrap();
            let name = first_name.get(&m.ino);
            let bytes = file.read_full(0, m.len as usize).await.unwrap();
            lines.push(format!("handle = {name:?}: {:?} {bytes:?}", Value::from(m)));
        }
        lines
    }
}

/// Makes the same calls on both; the first difference is the error.
fn compare(a: impl Fs, b: impl Fs, steps: &[Step]) -> Result<(), String> {
    let (mut a, mut b) = (Machine::new(a), Machine::new(b));
    run_now(async {
        for (i, step) in steps.iter().enumerate() {
            let (left, right) = (a.step(step).await, b.step(step).await);
            if left != right {
                return Err(format!("step {i}, {step:?}: {left:?} against {right:?}"));
            }
        }
        let (left, right) = (a.remains().await, b.remains().await);
        if left == right { Ok(()) } else { Err(format!("what remains: {left:#?} against {right:#?}")) }
    })
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let below_root = prop::collection::vec(name, 1..=3).prop_map(|names| names.join("/"));
    let odd = prop::sample::select(vec!["", "..", "a/..", "/a", "a//b"]).prop_map(str::to_owned);
    prop_oneof![40 => below_root, 1 => odd]
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop::sample::select(vec![OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew]);
    // Around the edges of sectors and blocks, where an implementation may go wrong.
    let edge = prop::sample::select(vec![0_u64, 512, 1024, 4096, 8192]);
    let offset = (edge, 0..5_u64).prop_map(|(edge, by)| edge.saturating_add(by).saturating_sub(2)).boxed();
    let len = prop::sample::select(vec![0_usize, 1, 3, 511, 512, 513, 4096, 5000]).boxed();
    let handle = any::<Index>;
    prop_oneof![
        8 => (path(), mode).prop_map(|(p, m)| Step::Open(p, m)),
        2 => handle().prop_map(Step::Close),
        4 => (handle(), offset.clone(), len.clone()).prop_map(|(h, o, l)| Step::Read(h, o, l)),
        6 => (handle(), offset.clone(), len, 1..=255_u8).prop_map(|(h, o, l, fill)| Step::Write(h, o, l, fill)),
        4 => (handle(), offset).prop_map(|(h, l)| Step::SetLen(h, l)),
        2 => handle().prop_map(Step::HandleMetadata),
        8 => (path(), path()).prop_map(|(a, b)| Step::Rename(a, b)),
        5 => (path(), path()).prop_map(|(a, b)| Step::HardLink(a, b)),
        3 => path().prop_map(Step::Unlink),
        8 => path().prop_map(Step::Mkdir),
        3 => path().prop_map(Step::Rmdir),
        3 => path().prop_map(Step::ReadDir),
        3 => path().prop_map(Step::Metadata),
        // Seldom: they are slow on a real disk, and in a running machine they have nothing to show.
        1 => prop_oneof![path().prop_map(Step::SyncDir), handle().prop_map(Step::Sync)],
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..120)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel("snapshots/regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_simulated_disk_is_like_a_real_one(steps in steps()) {
        let (fs, _guard) = real(Resolve::Openat2);
        prop_assert_eq!(compare(fs, SimFs::new(), &steps), Ok(()));
    }

    #[test]
    fn walking_and_hooks_change_nothing(steps in steps()) {
        let (fs, _guard) = real(Resolve::Walk);
        prop_assert_eq!(compare(HookedFs::new(fs), SimFs::new(), &steps), Ok(()));
    }
}

/// Sequences that do not change from run to run.
fn fixed_sequences(count: usize) -> Vec<Vec<Step>> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| steps().new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn sequences_reach_every_kind_of_result() {
    let mut reached = BTreeSet::new();
    for steps in fixed_sequences(100) {
        let mut machine = Machine::new(SimFs::new());
        for step in &steps {
            let words = format!("{step:?}");
            let call = words.split('(').next().unwrap().to_owned();
            let outcome = run_now(machine.step(step));
            let skipped = outcome == Ok(Value::Nothing) && matches!(step, Step::Read(..) | Step::Write(..));
            if !skipped {
                reached.insert((call, outcome.err()));
            }
        }
    }
    use ErrorKind::*;
    let way: &[ErrorKind] = &[NotFound, NotADirectory, InvalidInput];
    for (call, own) in [
        ("Open", &[AlreadyExists, IsADirectory][..]),
        ("Rename", &[NotEmpty, IsADirectory]),
        ("HardLink", &[AlreadyExists, Denied]),
        ("Unlink", &[IsADirectory]),
        ("Mkdir", &[AlreadyExists]),
        ("Rmdir", &[NotEmpty]),
        ("ReadDir", &[]),
        ("Metadata", &[]),
    ] {
        let errors = way.iter().chain(own).map(|e| Some(*e)).chain([None]);
        let missing: Vec<_> = errors.filter(|e| !reached.contains(&(call.to_owned(), *e))).collect();
        assert_eq!(missing, [], "{call}");
    }
    for call in ["Read", "Write", "SetLen"] {
        assert!(reached.contains(&(call.to_owned(), None)), "{call}");
    }
    assert!(reached.contains(&("Write".to_owned(), Some(InvalidInput))));
}

/// The comparison sees a single call that did not happen, or happened late.
#[test]
fn one_spoilt_call_is_a_difference() {
    let sequences = fixed_sequences(30);
    for action in [Action::Drop, Action::Delay] {
        for call in ["rename", "link", "unlink", "mkdir", "rmdir", "truncate"] {
            let differs = |steps: &Vec<Step>| {
                let nth = Nth::new(0, action, move |c| c.name() == call);
                let spoilt = HookedFs::with_hook(SimFs::new(), move |c| nth.judge(c));
                compare(SimFs::new(), spoilt, steps).is_err()
            };
            assert!(sequences.iter().any(differs), "{action:?} of {call}");
        }
    }
}
