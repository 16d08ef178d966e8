//! hooked
