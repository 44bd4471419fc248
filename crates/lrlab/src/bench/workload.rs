//! The workloads of the benchmark.

use candle_core::{Device, Tensor};
use lrlab_kernels::Precision;

/// Performs one step per call. The output is read at the end, so that it has to be computed.
pub(super) type Step = Box<dyn FnMut() -> candle_core::Result<Tensor>>;

/// Creates parameters and data on a device. The first step creates the optimizer's state, so that its memory is counted.
pub(super) type Prepare = Box<dyn FnOnce(&Device) -> anyhow::Result<Step>>;

/// The kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A complete training step.
    Model,
    /// An evaluation pass.
    Evaluation,
    /// One operator, with its gradients or without.
    Operator,
    /// An upper limit of the machine.
    Limit,
    /// Overhead besides training.
    Overhead,
    /// Batches without training.
    Input,
    /// The cost of a grid besides training.
    Grid,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 7] =
        [Self::Model, Self::Evaluation, Self::Operator, Self::Limit, Self::Overhead, Self::Input, Self::Grid];

    /// Returns the name of all workloads of this kind.
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

/// A workload.
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Pictures or sequences per step.
    pub(super) examples: usize,
    /// Multiplications and additions of a step in products and convolutions; 0 if there are none.
    pub(super) flops: f64,
    /// The minimum number of bytes moved, if that is the limit; otherwise 0.
    pub(super) bytes: f64,
    /// The precision of its matrix products.
    pub(super) precision: Precision,
    pub(super) prepare: Prepare,
}

impl Workload {
    /// Creates a workload without a count of operations or bytes, in f32.
    pub(super) fn new(kind: Kind, name: &str, examples: usize, prepare: Prepare) -> Self {
        let (flops, bytes, precision) = (0.0, 0.0, Precision::F32);
        Self { kind, name: name.to_owned(), examples, flops, bytes, precision, prepare }
    }
}
