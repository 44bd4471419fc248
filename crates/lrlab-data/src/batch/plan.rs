//! How to pass over a split.

use lrlab_config::AugmentConfig;
use lrlab_random::{Purpose, Stream};

/// How to pass over a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Examples per batch, at least 1; the last batch may be smaller.
    pub batch_size: usize,
    /// In which order.
    pub order: Order,
    /// Random changes to pictures. They are drawn from the seed and the epoch of [`Order::Shuffled`] and from the example's
    /// row; in sequential order, and on tokens, they have no effect.
    pub augment: AugmentConfig,
    /// Batches to leave out at the start, for a run that goes on in the middle of an epoch.
    pub first_batch: usize,
}

impl BatchPlan {
    /// `batch_size` examples at a time in `order`, unaugmented, from the first batch.
    #[must_use]
    pub fn new(batch_size: usize, order: Order) -> Self {
        Self { batch_size, order, augment: AugmentConfig::default(), first_batch: 0 }
    }

    /// The changes to pictures and where they are drawn from; `None` if there are none.
    pub(super) fn augmentation(&self) -> Option<(AugmentConfig, Stream)> {
        match self.order {
            Order::Shuffled { seed, epoch } if self.augment != AugmentConfig::default() => {
                Some((self.augment, Stream::new(seed, Purpose::Augment, "pictures").child(epoch)))
            }
            Order::Shuffled { .. } | Order::Sequential => None,
        }
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
