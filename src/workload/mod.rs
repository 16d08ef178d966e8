//! What the harness does to a registry, and with which content.

pub mod image;
