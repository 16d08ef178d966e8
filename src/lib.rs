//! pullplug: a deterministic crash-test harness for container-registry storage.

pub mod disk;
pub mod env;
pub mod fs;
pub mod oci;
pub mod registry;
pub mod strategy;
