//! The one test binary: each module is a suite.
#![cfg(test)]

mod checks;
mod fs_hooked;
mod fs_real;
mod registry;
