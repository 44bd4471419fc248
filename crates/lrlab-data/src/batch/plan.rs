//! How to pass over a split.

use lrlab_config::AugmentConfig;

/// How to pass over a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Examples per batch, at least 1; the last batch may be smaller.
    pub batch_size: usize,
    /// In which order.
    pub order: Order,
    /// What is done to pictures; without effect on tokens.
    pub augment: Option<Augment>,
    /// Batches to leave out at the start, for a run that goes on in the middle of an epoch.
    pub first_batch: usize,
}

impl BatchPlan {
    /// `batch_size` examples at a time in `order`, unaugmented, from the first batch.
    #[must_use]
    pub fn new(batch_size: usize, order: Order) -> Self {
        Self { batch_size, order, augment: None, first_batch: 0 }
    }
}

/// The order of the examples. Both orders are functions of their arguments and the split alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For evaluation: every example once; pictures as they stand, token sequences by length, which saves
    /// padding. [`Batch::indices`](crate::Batch::indices) says which examples a batch holds.
    Sequential,
    /// For training: a new permutation per epoch. Token sequences are then gathered by length within windows
    /// of 50 batches; every example still comes once.
    Shuffled {
        /// The run's seed.
        seed: u64,
        /// The epoch, from 0.
        epoch: u64,
    },
}

/// Random changes to pictures, a function of seed, epoch and the example's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augment {
    /// Pad by so many black pixels on every side and crop back at a random place; 0 is off.
    pub crop_padding: usize,
    /// Mirror left and right with probability ½.
    pub flip: bool,
    /// Set a square of this side around a random centre to the mean picture's colour, cut at the borders
    /// (`DeVries` and Taylor, 2017); 0 is off.
    pub cutout: usize,
    /// The run's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
}

impl Augment {
    /// The changes of `config` in epoch 0 of a run with this seed; `None` where there are none.
    #[must_use]
    pub fn of(config: AugmentConfig, seed: u64) -> Option<Self> {
        let AugmentConfig { crop_padding, flip, cutout } = config;
        (config != AugmentConfig::default()).then_some(Self { crop_padding, flip, cutout, seed, epoch: 0 })
    }
}
