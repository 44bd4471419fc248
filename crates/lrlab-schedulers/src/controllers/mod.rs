//! The controllers, one a file.

mod plateau;

pub use plateau::{Mode, OnNan, PatienceRule, Plateau, PlateauState, ThresholdMode};
