//! The one test binary: each module is a suite.
