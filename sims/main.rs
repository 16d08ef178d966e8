//! All tests that are more than a unit's: one binary, one module a subject.
#![cfg(test)]

mod fs_hooked;
mod fs_real;
