//! All figures of a report.

use super::Figure;
use super::curves::curves;
use super::profiles::profiles;
use crate::Report;

/// The paper's figures, if the report is about the paper, then every metric by epoch and the learning rate, then performance
/// profiles.
///
/// There are no curves of a report of more than 20 models, data sets and other settings: nobody looks through that many.
#[must_use]
pub fn figures(report: &Report) -> Vec<Figure> {
    curves(report).into_iter().chain(profiles(report)).collect()
}
