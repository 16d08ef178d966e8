//! The one test binary: each module is a suite.

mod faults;
mod litmus;
mod litmus_btrfs;
mod litmus_names;
mod measured;
mod models;
mod script;
