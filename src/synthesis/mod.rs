//! Which syncs a strategy needs, and which it lacks.
//!
//! A *site* is a sync in general terms: the operation and the call, digests and identifiers left out ([`roles`]). A
//! site is needed under a model if without all of its calls an invariant breaks that holds with them; it is not needed
//! only if that is proved ([`crate::explore::lazy`]). So are pairs of successive changes, which are swapped
//! ([`needs`]). The reverse, the smallest sets of syncs that a strategy lacks, is found by counterexamples ([`mend`]).
//! Both work on a strategy that is altered from outside ([`altered`]).

pub mod altered;
pub mod bench;
mod cover;
pub mod mend;
pub mod needs;
mod persists;
pub mod roles;

pub use altered::{Addition, Alteration, Altered};
pub use bench::{Bench, Breach};
