//! The one test binary: each module is a suite.
#![cfg(test)]

mod checks;
mod cli;
mod clients;
mod descriptor_cache;
mod durable;
mod explorer;
mod faults;
mod find;
mod fs_contract;
mod fs_hooked;
mod fs_machine;
mod fs_real;
mod harness;
mod http;
mod http_auth;
#[cfg(all(feature = "kernel", target_os = "linux"))]
mod kernel;
mod lazy;
mod litmus;
mod litmus_btrfs;
mod litter;
mod measured;
mod models;
mod notify;
mod observe;
mod planted;
mod prover;
mod proxy;
mod quota;
mod registry;
mod regressions;
mod script;
mod second_reading;
mod serve;
mod shortcuts;
mod strategies;
mod syncs;
mod tidy;
mod together;
mod trace;
mod verdicts;
mod world;
