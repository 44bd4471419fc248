//! How fast this machine trains: the workloads, and their measurement.
//!
//! A workload is one training step on random data by the path that runs take: the models, the kernels, the update
//! rules and the allocator of this program.

mod evaluation;
mod grid;
mod input;
mod limits;
mod measure;
mod memory;
mod models;
mod operators;
pub(crate) mod overhead;
mod workload;

use lrlab_kernels::Precision;

pub(crate) use measure::{Measured, measure};
pub(crate) use workload::{Kind, Workload};

/// Every workload; those with products in linear maps, LSTM or attention have them in `precision`.
pub(crate) fn workloads(precision: Precision) -> Vec<Workload> {
    let mut all = models::models(precision);
    all.extend(evaluation::evaluations(precision));
    all.extend(operators::operators(precision));
    all.extend(limits::limits());
    all.extend(overhead::overhead());
    all.extend(input::inputs());
    all.extend(grid::grids());
    all
}

/// The training step that a workload's cost is told as a share of, for those that stand beside one.
pub(crate) fn beside(name: &str) -> Option<&'static str> {
    let inputs = input::BESIDE.into_iter().find(|(input, _)| *input == name).map(|(_, step)| step);
    inputs.or((name == overhead::NAME).then_some(overhead::BESIDE))
}
