//! The bugs, and who plants them: a hook between the strategy and the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::fs::{ErrorKind, File, Fs, OpenMode};

use pullplug::synthesis::roles::general;

/// One kind of bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The sync is left out.
    Without,
    /// The sync comes only after the next name was given or taken.
    Late,
    /// The call and the next one that changes something are swapped.
    Swapped,
}

/// A bug and where it stands.
#[derive(Debug, Clone)]
pub struct Plant {
    pub bug: Bug,
    /// The call, in general terms ([`general`]).
    pub call: String,
    /// Which of these calls in a process; `None` for all of them.
    pub nth: Option<usize>,
}

/// What goes on in one process into which a bug may have been planted.
pub struct Saboteur {
    disk: SimFs,
    plant: Option<Plant>,
    /// The sync that fails, counted from 0, though the disk is well.
    fails: Option<u64>,
    /// Whose turn it is, where several clients share the process.
    turn: AtomicUsize,
    state: Mutex<State>,
}

/// A sync that is late.
struct Late {
    call: Call,
    /// Whose it is.
    whose: usize,
    /// The next name was given: it comes before this client's next change.
    is_due: bool,
}

#[derive(Default)]
struct State {
    seen: usize,
    syncs: u64,
    /// Syncs that are late; those of files under the names that these have by now.
    late: Vec<Late>,
    /// How many records the disk's log had when the bug first struck.
    struck_at: Option<usize>,
}

/// A file system for one process, and its saboteur.
pub fn sabotaged(disk: &SimFs, plant: Option<&Plant>, fails: Option<u64>) -> (HookedFs<SimFs>, Arc<Saboteur>) {
    let saboteur = Saboteur {
        disk: disk.clone(),
        plant: plant.cloned(),
        fails,
        turn: AtomicUsize::new(0),
        state: Mutex::default(),
    };
    let saboteur = Arc::new(saboteur);
    let judge = Arc::clone(&saboteur);
    (HookedFs::with_hook(disk.clone(), move |call| judge.judge(call)), saboteur)
}

impl Saboteur {
    fn judge(&self, call: &Call) -> Action {
        if !call.is_change() {
            return Action::Run;
        }
        let mut state = self.state.lock().unwrap();
        let whose = self.turn.load(Ordering::Relaxed);
        let mut failed = None;
        state.late.retain(|late| {
            let is_now = late.is_due && late.whose == whose;
            if is_now {
                failed = failed.or(self.make_up(&late.call));
            }
            !is_now
        });
        if let Some(kind) = failed {
            return Action::Fail(kind);
        }
        if let Some(bug) = self.strikes(call, &mut state) {
            if bug == Bug::Late {
                state.late.push(Late { call: call.clone(), whose, is_due: false });
            }
            return if bug == Bug::Swapped { Action::Delay } else { Action::Drop };
        }
        if call.is_sync() {
            state.syncs += 1;
            if self.fails == Some(state.syncs - 1) {
                return Action::Fail(ErrorKind::Io);
            }
        }
        if let Call::Rename { .. } | Call::Link { .. } | Call::Unlink { .. } = call {
            for late in &mut state.late {
                late.is_due |= late.whose == whose;
                if let (Call::SyncData { path }, Call::Rename { from, to }) = (&mut late.call, call)
                    && path == from
                {
                    path.clone_from(to);
                }
            }
        }
        Action::Run
    }

    fn strikes(&self, call: &Call, state: &mut State) -> Option<Bug> {
        let plant = self.plant.as_ref()?;
        if general(call) != plant.call {
            return None;
        }
        state.seen += 1;
        if plant.nth.is_some_and(|nth| state.seen != nth + 1) {
            return None;
        }
        state.struck_at.get_or_insert_with(|| self.disk.snapshot().1.len());
        Some(plant.bug)
    }

    /// Makes a sync that is due, on the disk underneath; how it failed, if it did. A file or directory that is gone by
    /// now needs none.
    fn make_up(&self, late: &Call) -> Option<ErrorKind> {
        let made = run_now(async {
            match late {
                Call::SyncData { path } => self.disk.open(path, OpenMode::Read).await?.sync_data().await,
                Call::SyncDir { path } => self.disk.sync_dir(path).await,
                _ => self.disk.sync_fs().await,
            }
        });
        made.err().map(|e| e.kind).filter(|kind| *kind != ErrorKind::NotFound)
    }

    /// From now on it is this client's turn.
    pub fn turn_of(&self, client: usize) {
        self.turn.store(client, Ordering::Relaxed);
    }

    /// Makes what is still delayed when the process has nothing more to do. Tells where the log stood when the bug
    /// struck, if it did.
    pub fn settle(&self) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        for late in std::mem::take(&mut state.late) {
            self.make_up(&late.call);
        }
        state.struck_at
    }
}
