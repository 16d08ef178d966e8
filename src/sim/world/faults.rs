//! Faults that last for a while: of links, and of the disk.

use super::{Run, client_name};
use crate::disk::fault::{FaultKind, FaultRates, Faults};
use crate::env::sync::hold;
use crate::sim::gate::CALL_MICROSECONDS;
use crate::sim::host::REGISTRY;
use crate::sim::step::{DiskFault, LinkFault, Stop};

/// A fault that ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Active {
    ends_at: u64,
    what: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Link(u8, LinkFault),
    Disk(DiskFault),
}

impl Run<'_> {
    pub(super) fn link_fault(&mut self, client: u8, fault: LinkFault, ms: u16) {
        // One fault a link: what it had before ends.
        self.end_faults(|f| matches!(f, Fault::Link(c, _) if *c == client));
        let name = client_name(client);
        match fault {
            LinkFault::Partition => self.sim.partition(name, REGISTRY),
            LinkFault::LoseRequests => self.sim.partition_oneway(name, REGISTRY),
            LinkFault::LoseAnswers => self.sim.partition_oneway(REGISTRY, name),
            LinkFault::Hold => self.sim.hold(name, REGISTRY),
            LinkFault::Latency(by) => {
                self.sim.set_link_latency(name, REGISTRY, std::time::Duration::from_millis(u64::from(by)));
            }
        }
        hold(&self.ledger).count(match fault {
            LinkFault::Partition => "partitions",
            LinkFault::LoseRequests => "links that lost requests",
            LinkFault::LoseAnswers => "links that lost answers",
            LinkFault::Hold => "links that held",
            LinkFault::Latency(_) => "slow links",
        });
        self.faults.push(Active { ends_at: self.now() + u64::from(ms), what: Fault::Link(client, fault) });
    }

    pub(super) fn reset(&mut self, client: u8) {
        if let Some(connection) = self.clients[usize::from(client)].0.connection.borrow_mut().take() {
            connection.abort();
            hold(&self.ledger).count("connections reset");
        }
    }

    pub(super) fn disk_fault(&mut self, fault: DiskFault, ms: u16) {
        self.end_faults(|f| matches!(f, Fault::Disk(_)));
        self.faults.push(Active { ends_at: self.now() + u64::from(ms), what: Fault::Disk(fault) });
        self.renew_disk_faults();
    }

    /// Makes the disk, which may be a new one, misbehave as it should now.
    pub(super) fn renew_disk_faults(&mut self) {
        let fault = self.faults.iter().find_map(|f| if let Fault::Disk(fault) = f.what { Some(fault) } else { None });
        let machine = self.machine.borrow();
        let mut rates = FaultRates::default();
        machine.disk.set_capacity((fault == Some(DiskFault::Full)).then_some(0));
        let slow = if let Some(DiskFault::Slow(us)) = fault { u64::from(us) } else { CALL_MICROSECONDS };
        machine.gate.set_call_microseconds(slow);
        match fault {
            Some(DiskFault::ReadError(n)) => rates.read_error_one_in = n.into(),
            Some(DiskFault::ShortRead(n)) => rates.short_read_one_in = n.into(),
            Some(DiskFault::WriteError(n)) => rates.write_error_one_in = n.into(),
            Some(DiskFault::ShortWrite(n)) => rates.short_write_one_in = n.into(),
            Some(DiskFault::SyncFailure(n)) => rates.sync_failure_one_in = n.into(),
            Some(DiskFault::Full | DiskFault::Slow(_)) | None => {}
        }
        let faults = (rates != FaultRates::default()).then(|| Faults::new(rates, Box::new(self.disk_faults.clone())));
        machine.disk.set_faults(faults);
    }

    /// Ends what is to end by `now`.
    pub(super) fn expire_faults(&mut self, now: u64) {
        let (over, going): (Vec<_>, Vec<_>) = self.faults.iter().copied().partition(|f| f.ends_at <= now);
        self.faults = going;
        over.into_iter().for_each(|f| self.undo(f.what));
    }

    fn end_faults(&mut self, which: impl Fn(&Fault) -> bool) {
        let (over, going): (Vec<_>, Vec<_>) = self.faults.iter().copied().partition(|f| which(&f.what));
        self.faults = going;
        over.into_iter().for_each(|f| self.undo(f.what));
    }

    fn undo(&mut self, fault: Fault) {
        match fault {
            Fault::Link(client, fault) => {
                let name = client_name(client);
                match fault {
                    LinkFault::Partition => self.sim.repair(name, REGISTRY),
                    LinkFault::LoseRequests => self.sim.repair_oneway(name, REGISTRY),
                    LinkFault::LoseAnswers => self.sim.repair_oneway(REGISTRY, name),
                    LinkFault::Hold => self.sim.release(name, REGISTRY),
                    LinkFault::Latency(_) => self.sim.set_link_latency(name, REGISTRY, super::TICK),
                }
                hold(&self.ledger).count("links healed");
                self.note(|| format!("link of client {client}: healed"));
            }
            Fault::Disk(fault) => {
                let failed_syncs = self.count_fired(fault);
                self.renew_disk_faults();
                self.note(|| "disk: healed".to_owned());
                if failed_syncs && self.start_at.is_none() {
                    // Who runs a registry restarts it after that; a file system that is read-only needs a new mount.
                    let how = if self.machine.borrow().disk.is_read_only() { Stop::Power } else { Stop::Process };
                    self.stop(how);
                }
            }
        }
    }

    /// Counts the faults that fired; whether a sync failed.
    fn count_fired(&self, fault: DiskFault) -> bool {
        let machine = self.machine.borrow();
        let (kind, what) = match fault {
            DiskFault::Full => (FaultKind::NoSpace, "writes refused by a full disk"),
            DiskFault::ReadError(_) => (FaultKind::ReadError, "reads that failed"),
            DiskFault::ShortRead(_) => (FaultKind::ShortRead, "short reads"),
            DiskFault::WriteError(_) => (FaultKind::WriteError, "writes that failed"),
            DiskFault::ShortWrite(_) => (FaultKind::ShortWrite, "short writes"),
            DiskFault::SyncFailure(_) => (FaultKind::SyncFailure, "syncs that failed"),
            DiskFault::Slow(_) => {
                hold(&self.ledger).count("slow disks");
                return false;
            }
        };
        let fired = machine.disk.fired(kind);
        *hold(&self.ledger).counts.entry(what).or_default() += fired;
        fired > 0 && matches!(fault, DiskFault::SyncFailure(_))
    }
}
