//! Experiment grids: plan, claims, attempts and executors.
