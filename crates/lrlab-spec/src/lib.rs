//! Experiment files: every mistake at once with its place, expanded into fully resolved run specifications.

mod run_spec;

pub use run_spec::*;
