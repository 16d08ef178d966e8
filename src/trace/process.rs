//! Who has which descriptors and works in which directory: threads share them, a fork has copies.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::line::{Call, Event, ProcessId};

/// An open file, as descriptors share it that were made of each other.
pub struct Slot<O> {
    /// What was opened.
    pub open: Rc<RefCell<O>>,
    /// Whether an execve closes it.
    pub closes_on_exec: bool,
}

impl<O> Clone for Slot<O> {
    fn clone(&self) -> Self {
        Self { open: self.open.clone(), closes_on_exec: self.closes_on_exec }
    }
}

type Table<O> = Rc<RefCell<BTreeMap<i32, Slot<O>>>>;
type Cwd = Rc<RefCell<Option<Vec<u8>>>>;

struct Process<O> {
    table: Table<O>,
    cwd: Cwd,
}

/// How a process came to be.
struct Birth {
    parent: ProcessId,
    shares_table: bool,
    shares_cwd: bool,
}

/// All processes and threads. `O` is what is open.
pub struct Processes<O> {
    all: BTreeMap<ProcessId, Process<O>>,
    births: BTreeMap<ProcessId, VecDeque<Birth>>,
}

impl<O> Processes<O> {
    /// Those of a trace. It is looked through for their births, since a child may be seen before the call that made it
    /// comes back.
    pub fn of(events: &[Event<'_>]) -> Self {
        let mut births: BTreeMap<ProcessId, VecDeque<Birth>> = BTreeMap::new();
        for event in events {
            if let Event::Call(call) = event
                && let Some(child) = child(call)
            {
                let says = |flag| call.arguments.contains(flag);
                let (shares_table, shares_cwd) = (says("CLONE_FILES"), says("CLONE_FS"));
                births.entry(child).or_default().push_back(Birth { parent: call.process, shares_table, shares_cwd });
            }
        }
        Self { all: BTreeMap::new(), births }
    }

    /// A child was born, if it has not been seen yet.
    pub fn born(&mut self, child: ProcessId) {
        self.process(child);
    }

    /// Its descriptors close, unless others share them.
    pub fn ended(&mut self, process: ProcessId) {
        self.all.remove(&process);
    }

    /// Another program begins in it.
    pub fn executed(&mut self, process: ProcessId) {
        let process = self.process(process);
        let mut table = process.table.borrow().clone();
        table.retain(|_, slot| !slot.closes_on_exec);
        process.table = Rc::new(RefCell::new(table));
    }

    fn process(&mut self, id: ProcessId) -> &mut Process<O> {
        if !self.all.contains_key(&id) {
            let birth = self.births.get_mut(&id).and_then(VecDeque::pop_front);
            let new = match birth.filter(|birth| birth.parent != id) {
                Some(birth) => {
                    let parent = self.process(birth.parent);
                    let copy = || Rc::new(RefCell::new(parent.table.borrow().clone()));
                    let cwd = || Rc::new(RefCell::new(parent.cwd.borrow().clone()));
                    Process {
                        table: if birth.shares_table { parent.table.clone() } else { copy() },
                        cwd: if birth.shares_cwd { parent.cwd.clone() } else { cwd() },
                    }
                }
                None => Process { table: Rc::default(), cwd: Rc::default() },
            };
            self.all.insert(id, new);
        }
        self.all.entry(id).or_insert_with(|| Process { table: Rc::default(), cwd: Rc::default() })
    }

    /// What a descriptor of a process has open, where the trace opened it.
    pub fn get(&self, process: ProcessId, number: i32) -> Option<Rc<RefCell<O>>> {
        self.all.get(&process)?.table.borrow().get(&number).map(|slot| slot.open.clone())
    }

    /// Gives a descriptor to a process, or takes it.
    pub fn set(&mut self, process: ProcessId, number: i32, slot: Option<Slot<O>>) {
        let mut table = self.process(process).table.borrow_mut();
        match slot {
            Some(slot) => drop(table.insert(number, slot)),
            None => drop(table.remove(&number)),
        }
    }

    /// Takes a range of descriptors, or lets the next execve take them.
    pub fn close_range(&mut self, process: ProcessId, from: i64, to: i64, on_exec: bool) {
        let mut table = self.process(process).table.borrow_mut();
        let within = |number: i32| (from..=to).contains(&i64::from(number));
        if on_exec {
            table.iter_mut().filter(|(n, _)| within(**n)).for_each(|(_, slot)| slot.closes_on_exec = true);
        } else {
            table.retain(|number, _| !within(*number));
        }
    }

    /// Whether an execve takes a descriptor.
    pub fn set_closes_on_exec(&mut self, process: ProcessId, number: i32, closes: bool) {
        if let Some(slot) = self.process(process).table.borrow_mut().get_mut(&number) {
            slot.closes_on_exec = closes;
        }
    }

    /// The directory that a process works in, as far as it is known.
    pub fn cwd(&self, process: ProcessId) -> Option<Vec<u8>> {
        self.all.get(&process)?.cwd.borrow().clone()
    }

    /// A process works in another directory, or says in which.
    pub fn set_cwd(&mut self, process: ProcessId, cwd: Vec<u8>) {
        *self.process(process).cwd.borrow_mut() = Some(cwd);
    }
}

/// The process that a call made.
pub fn child(call: &Call<'_>) -> Option<ProcessId> {
    let makes = matches!(call.name, "fork" | "vfork" | "clone" | "clone2" | "clone3");
    call.returned.filter(|id| makes && *id > 0).and_then(|id| id.try_into().ok())
}
