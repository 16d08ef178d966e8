//! The fault-prone disk.
