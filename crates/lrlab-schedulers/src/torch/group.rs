//! Parameter groups.

/// The values of a parameter group that the schedulers of `PyTorch` read and write.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The current rate.
    pub lr: f64,
    /// Momentum, or Adam's first beta.
    pub momentum: f64,
    pub(super) initial_lr: Option<f64>,
    pub(super) max_lr: f64,
    pub(super) min_lr: f64,
    pub(super) max_momentum: f64,
    pub(super) base_momentum: f64,
}

impl Group {
    /// Creates the group of a new optimizer.
    #[must_use]
    pub fn new(lr: f64, momentum: f64) -> Self {
        Self {
            lr,
            momentum,
            initial_lr: None,
            max_lr: lr,
            min_lr: lr,
            max_momentum: momentum,
            base_momentum: momentum,
        }
    }

    pub(super) fn initial_lr(&self) -> f64 {
        self.initial_lr.unwrap_or(self.lr)
    }
}
