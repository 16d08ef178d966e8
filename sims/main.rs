//! The one test binary: each module is a suite.

mod litmus;
mod litmus_btrfs;
mod litmus_names;
mod models;
mod script;
