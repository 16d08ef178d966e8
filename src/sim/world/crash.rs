//! How the registry's machine stops, what that takes, and what is judged then.

use super::{ARMED_MS, DOWN_MS, Run};
use crate::disk::SimFs;
use crate::disk::crash;
use crate::disk::effect::{Cut, Record, executed};
use crate::disk::model::Family;
use crate::disk::space::{AtomId, Bits, Space};
use crate::disk::tree::Tree;
use crate::env::choice::Chooser;
use crate::env::sync::hold;
use crate::sim::gate::{self, Gate};
use crate::sim::host::REGISTRY;
use crate::sim::judge::After;
use crate::sim::step::Stop;

impl Run<'_> {
    /// Stops the machine in the `calls`-th call from now, of whatever process makes it; now, if that is 0.
    pub(super) fn arm(&mut self, how: Stop, calls: u16) {
        self.how = how;
        if calls == 0 && self.start_at.is_none() {
            self.stop(how);
        } else {
            self.machine.borrow().gate.cut_in(u64::from(calls));
            self.armed_until = self.now() + ARMED_MS;
        }
    }

    /// Whether a cut was asked for that may still happen.
    pub(super) fn is_armed(&self) -> bool {
        self.start_at.is_none() && self.machine.borrow().gate.is_armed() && self.now() < self.armed_until
    }

    /// Stops the machine now.
    pub(super) fn stop(&mut self, how: Stop) {
        self.how = how;
        self.machine.borrow().gate.cut_now();
        self.crash();
    }

    /// The gate has closed: takes what the crash takes, and prepares the next start.
    pub(super) fn crash(&mut self) {
        let Some(cut) = self.machine.borrow().gate.cut() else { return };
        self.sim.crash(REGISTRY);
        let how = self.how;
        let (tree, disk) = match how {
            Stop::Power => {
                let tree = self.lose(&cut);
                (tree.clone(), SimFs::with_tree(tree))
            }
            Stop::Process => {
                let log = executed(&cut.log, self.place(&cut));
                let disk = SimFs::replayed(cut.base, log);
                (disk.tree(), disk)
            }
        };
        self.count_crash(how, &cut.log);
        self.left = Some(tree);
        {
            let mut machine = self.machine.borrow_mut();
            machine.disk = disk.clone();
            machine.gate = Gate::new(disk, Box::new(self.tasks.clone()));
            machine.commands = None;
            machine.failed = None;
        }
        self.renew_disk_faults();
        self.start_at = Some(self.now() + DOWN_MS);
        self.how = Stop::Power;
    }

    /// The machine is started again. Answers that were on their way when it stopped have arrived by now, and bind it:
    /// only then is judged what the crash left.
    pub(super) fn start(&mut self) {
        self.start_at = None;
        if let Some(tree) = self.left.take() {
            self.judge(&tree, After::Stop);
        }
        hold(&self.ledger).lose_all();
        self.sim.bounce(REGISTRY);
    }

    fn count_crash(&self, how: Stop, log: &[Record]) {
        let mut ledger = hold(&self.ledger);
        ledger.count("crashes");
        ledger.count(if how == Stop::Power { "power cuts" } else { "process crashes" });
        let last = |word: &str| log.iter().rev().take(2).any(|r| r.call.starts_with(word));
        if last("rename") && ledger.open() > 0 {
            ledger.count("crashes right after a rename");
        }
        if self.machine.borrow().commands.is_none() {
            ledger.count("crashes in recovery");
        }
        if ledger.is_collecting() {
            ledger.count("crashes during a collection");
        }
        let records = log.len();
        ledger.note("operator", || match how {
            Stop::Power => format!("the power fails; {records} effects were executed since the last start"),
            Stop::Process => "the process is killed".to_owned(),
        });
    }

    /// Where the call was cut: after it, before it, or inside a write.
    fn place(&mut self, cut: &gate::Cut) -> Cut {
        let sectors = cut.log.get(cut.before).map_or(0, Record::sectors_written);
        if cut.before == cut.log.len() {
            return Cut::after(cut.before);
        }
        match self.losses.choose(2 + sectors.saturating_sub(1)) {
            0 => Cut::after(cut.log.len()),
            1 => Cut::after(cut.before),
            n => Cut { records: cut.before as u32, inside: Some(n as u32 - 1) },
        }
    }

    /// What a power cut leaves.
    fn lose(&mut self, cut: &gate::Cut) -> Tree {
        let place = self.place(cut);
        let space = Space::new(cut.base.clone(), cut.log.clone().into(), self.model);
        let family = self.model.any_family(&space, place, &mut self.losses);
        let bits = self.survivors(&space, &family);
        let mut lost = crash::whole(&space, place);
        lost.subtract(&bits);
        if !lost.is_empty() {
            hold(&self.ledger).count("power cuts that took something");
        }
        let lost: Vec<AtomId> = lost.iter().collect();
        for effect in space.describe_lost(&lost, &bits) {
            hold(&self.ledger).note("disk", || format!("  lost: {}", effect.what));
        }
        space.view(&bits).tree()
    }

    /// Nothing is lost, or everything that may be, or one effect and what needs it, or each by a coin.
    fn survivors(&mut self, space: &Space, family: &Family) -> Bits {
        let free = crash::free_atoms(family);
        if free.is_empty() {
            return family.forced.clone();
        }
        match self.losses.choose(4) {
            0 => family.allowed.clone(),
            1 => family.forced.clone(),
            2 => {
                let at = self.losses.choose(free.len());
                crash::survivors(space, family, &free, &mut Only { at, next: 0 })
            }
            _ => crash::survivors(space, family, &free, &mut self.losses),
        }
    }
}

/// Loses about the `at`-th effect that is asked about, and keeps all others that do not need it.
struct Only {
    at: usize,
    next: usize,
}

impl Chooser for Only {
    fn choose(&mut self, _: usize) -> usize {
        self.next += 1;
        usize::from(self.next == self.at + 1)
    }
}
