//! The one test binary: each module is a suite.

mod checks;
mod explorer;
mod fs_contract;
mod fs_hooked;
mod fs_machine;
mod fs_real;
mod registry;
mod tidy;
