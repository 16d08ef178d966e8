//! The simulated world: clients, a network, a whole registry and its disk, from one seed.
//!
//! * [`step`], [`schedule`]: what happens, as data that is printed, kept and run again;
//! * [`gate`], [`parked`]: the disk at which every call waits, so that tasks interleave inside a commit;
//! * [`host`], [`client`]: the registry's process and the clients, over HTTP;
//! * [`world`]: all of it in one turmoil simulation, with its crashes and faults;
//! * [`ledger`], [`judge`]: what happened, and whether it may have;
//! * [`generate`], [`campaign`]: schedules out of seeds, and many runs;
//! * [`shrink`]: small schedules out of large ones.
//!
//! This is the only layer that names turmoil. Nothing in it reads a clock, and everything random is asked of a
//! [`Chooser`](crate::env::choice::Chooser): the same schedule gives the same run, byte for byte.

pub mod campaign;
pub mod client;
pub mod gate;
pub mod generate;
pub mod host;
pub mod judge;
pub mod ledger;
pub mod parked;
pub mod schedule;
pub mod shrink;
pub mod step;
pub mod world;
