//! Measures the training speed of this machine.
//!
//! A workload is a training step, an evaluation pass, an operator, a batch of input, or an operation of a grid. It uses the
//! models, kernels, update rules and allocator that runs use.

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

/// Returns every workload. Products in linear maps, LSTM and attention are in `precision`.
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

/// Returns the training step with which the cost of an overhead or input workload is compared.
pub(crate) fn reference_step(name: &str) -> Option<&'static str> {
    let inputs = input::REFERENCE_STEPS.into_iter().find(|(input, _)| *input == name).map(|(_, step)| step);
    inputs.or((name == overhead::NAME).then_some(overhead::REFERENCE_STEP))
}
