//! pullplug: a deterministic crash-test harness for container-registry storage.

pub mod check;
pub mod cli;
pub mod disk;
pub mod env;
pub mod explore;
pub mod fs;
pub mod oci;
pub mod registry;
pub mod report;
pub mod strategy;
pub mod workload;
