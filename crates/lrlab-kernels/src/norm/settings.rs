//! What a batch norm is given.

use candle_core::{Result, Tensor, Var};

use crate::check;

/// The statistics that a batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormMode {
    /// The batch's; the running statistics move by `momentum` towards them (the unbiased variance, as in torch).
    Train {
        /// Weight of the batch in the running statistics, in [0, 1].
        momentum: f64,
    },
    /// The running ones.
    Eval,
}

impl NormMode {
    /// Rejects a momentum outside [0, 1].
    pub(crate) fn check(self, name: &str) -> Result<()> {
        match self {
            Self::Train { momentum } => check::share(name, "momentum", momentum),
            Self::Eval => Ok(()),
        }
    }
}

/// Batch norm of `(n, c, h, w)` over n, h, w (Ioffe and Szegedy, 2015), then the rest of a residual block's end:
/// y = x̂ scale + shift, plus `residual` where there is one, then max(y, 0) with `relu`.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm2d<'a> {
    /// `(c)`
    pub scale: &'a Tensor,
    /// `(c)`
    pub shift: &'a Tensor,
    /// `(c)`; moves in training.
    pub running_mean: &'a Var,
    /// `(c)`; moves in training.
    pub running_var: &'a Var,
    /// Added to the variance.
    pub eps: f64,
    /// Training or evaluation.
    pub mode: NormMode,
    /// Of the input's shape.
    pub residual: Option<&'a Tensor>,
    /// Whether the result is max(y, 0).
    pub relu: bool,
}
