//! Experiment files: every mistake at once with its place, expanded into fully resolved run specifications.

mod axes;
mod claims;
mod coupled;
mod definitions;
mod expand;
mod experiment;
mod explain;
mod identity;
mod mistake;
mod ranges;
mod resolve;
mod run_spec;
mod schema;
mod select;
mod suggest;
mod tree;
mod walk;

pub use experiment::{Catalog, Experiment, read};
pub use identity::{canonical, run_id};
pub use mistake::{Mistake, Mistakes, Severity};
pub use run_spec::*;
pub use schema::schema;
