//! All figures of a report.

use super::Figure;
use super::curves::curves;
use super::profiles::profiles;
use crate::Report;

/// The paper's figures, if the experiment reproduces the paper, then every metric and the learning rate by epoch, then
/// performance profiles.
///
/// A report with more than 20 combinations of model, data set and other settings has no curves.
#[must_use]
pub fn figures(report: &Report) -> Vec<Figure> {
    curves(report).into_iter().chain(profiles(report)).collect()
}
