//! Training or evaluation.

use candle_core::Result;

use crate::check;

/// Whose statistics a batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// The batch's; the running statistics move by `momentum` towards them (the unbiased variance, as in torch).
    Train {
        /// Weight of the batch in the running statistics, in [0, 1].
        momentum: f64,
    },
    /// The running ones.
    Eval,
}

impl Norm {
    /// Refuses a momentum outside [0, 1].
    pub(crate) fn check(self, name: &str) -> Result<()> {
        match self {
            Self::Train { momentum } => check::share(name, "momentum", momentum),
            Self::Eval => Ok(()),
        }
    }
}
