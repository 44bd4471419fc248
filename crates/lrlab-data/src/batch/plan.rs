//! The plan of a pass over a split.

use lrlab_config::AugmentConfig;
use lrlab_random::{Purpose, Stream};

/// The plan of a pass over a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// Examples per batch, at least 1; the last batch may be smaller.
    pub batch_size: usize,
    /// The order of the examples.
    pub order: Order,
    /// Random changes to pictures. They are drawn from the seed and the epoch of [`Order::Shuffled`] and from the example's
    /// row; in sequential order, and on tokens, they have no effect.
    pub augment: AugmentConfig,
    /// The number of batches to skip, for a run that resumes within an epoch.
    pub first_batch: usize,
}

impl BatchPlan {
    /// Creates a plan with `batch_size` examples per batch in `order`, without augmentation, from the first batch on.
    #[must_use]
    pub fn new(batch_size: usize, order: Order) -> Self {
        Self { batch_size, order, augment: AugmentConfig::default(), first_batch: 0 }
    }

    /// Returns the changes to pictures and the stream that they are drawn from; `None` if there are none.
    pub(super) fn augmentation(&self) -> Option<(AugmentConfig, Stream)> {
        match self.order {
            Order::Shuffled { seed, epoch } if self.augment != AugmentConfig::default() => {
                Some((self.augment, Stream::new(seed, Purpose::Augment, "pictures").child(epoch)))
            }
            Order::Shuffled { .. } | Order::Sequential => None,
        }
    }
}

/// The order of the examples: a function of the split and of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For evaluation: pictures in the order of the split, token sequences by length, which saves padding.
    /// [`Batch::indices`](crate::Batch::indices) identifies the examples of a batch.
    Sequential,
    /// For training: a new permutation per epoch. Within windows of 50 batches, token sequences are grouped by length; each
    /// example still occurs once.
    Shuffled {
        /// The seed of the run.
        seed: u64,
        /// The epoch, from 0.
        epoch: u64,
    },
}
