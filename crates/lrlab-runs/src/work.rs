//! The work of an attempt.

use serde::{Deserialize, Serialize};

/// Completed work, in updates, examples and seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// Updates executed.
    pub updates: u64,
    /// Training examples seen, repeats included.
    pub examples: u64,
    /// Seconds in training updates.
    pub train_s: f64,
    /// Seconds in evaluation.
    pub eval_s: f64,
    /// Seconds reading data.
    pub data_s: f64,
    /// Seconds spent waiting for batches, in training and evaluation.
    pub input_s: f64,
    /// Seconds from the start of the loop to its end.
    pub elapsed_s: f64,
}

impl std::ops::Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            updates: self.updates + other.updates,
            examples: self.examples + other.examples,
            train_s: self.train_s + other.train_s,
            eval_s: self.eval_s + other.eval_s,
            data_s: self.data_s + other.data_s,
            input_s: self.input_s + other.input_s,
            elapsed_s: self.elapsed_s + other.elapsed_s,
        }
    }
}
