//! The fault-prone disk: an inode-based file system in memory that remembers what each call did, so that the crash
//! states that a power cut may leave can be derived from it.
//!
//! Media assumptions, stated first because everything rests on them:
//!
//! - A 512-byte sector is written whole or not at all; everything larger may be torn at sectors.
//! - What a completed sync covered is on stable storage (a lying disk is a modifier, see [`crash::Loss`]).
//! - A directory never names an inode that was not created; names and lengths are never torn.
//! - Bytes at rest stay what they are, unless [`SimFs::corrupt`] or [`SimFs::misdirect`] is told otherwise.
//!
//! [`SimFs`] is the running file system. It knows no persistence model: it logs effects and completed syncs
//! ([`effect`]). A [`model::PersistenceModel`] says which of them may be lost, [`space`] lays log and model out for
//! enumeration, [`crash`] turns a choice of survivors back into a disk.

pub mod crash;
pub mod describe;
pub mod effect;
pub mod fault;
pub mod litmus;
pub mod model;
mod reader;
mod sim;
pub mod space;
pub mod tree;

pub use sim::{SimFile, SimFs};
