//! What is measured.

use candle_core::{Device, Tensor};
use lrlab_kernels::Precision;

/// One step, again at each call; what it gives is looked at in the end, so that it must be computed.
pub(super) type Step = Box<dyn FnMut() -> candle_core::Result<Tensor>>;

/// Makes parameters and data on a device; an optimizer's state is made in the first step, as its memory is the step's.
pub(super) type Prepare = Box<dyn FnOnce(&Device) -> anyhow::Result<Step>>;

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
    pub(super) examples: usize,
    /// Multiplications and additions of a step in products and convolutions; 0 where it has none.
    pub(super) flops: f64,
    /// Bytes that must at least move, where that is the limit; else 0.
    pub(super) bytes: f64,
    /// Of its matrix products.
    pub(super) precision: Precision,
    pub(super) prepare: Prepare,
}
