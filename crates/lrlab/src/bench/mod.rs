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

use candle_core::{Device, Tensor};
use lrlab_kernels::Precision;

pub(crate) use measure::{Measured, measure};

/// One step, again at each call; what it gives is looked at in the end, so that it must be computed.
type Step = Box<dyn FnMut() -> candle_core::Result<Tensor>>;

/// Makes parameters and data on a device; an optimizer's state is made in the first step, as its memory is the step's.
type Prepare = Box<dyn FnOnce(&Device) -> anyhow::Result<Step>>;

/// What kind of thing is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole training step.
    Model,
    /// A pass of evaluation.
    Evaluation,
    /// One operator, with its gradients or without.
    Operator,
    /// What the machine could do at best.
    Limit,
    /// What is not training.
    Overhead,
    /// Batches without the training.
    Input,
    /// What a grid costs besides training.
    Grid,
}

impl Kind {
    /// The name of all workloads of this kind.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Evaluation => "evaluations",
            Self::Operator => "operators",
            Self::Limit => "limits",
            Self::Overhead => "overheads",
            Self::Input => "input",
            Self::Grid => "grids",
        }
    }
}

/// One thing to be measured.
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Pictures or sequences of a step.
    examples: usize,
    /// Multiplications and additions of a step in products and convolutions; 0 where it has none.
    flops: f64,
    /// Bytes that must at least move, where that is the limit; else 0.
    bytes: f64,
    /// Of its matrix products.
    precision: Precision,
    prepare: Prepare,
}

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
