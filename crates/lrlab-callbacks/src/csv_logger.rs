//! One row per epoch.

use std::path::PathBuf;

use lrlab_runs::EpochMetrics;

use crate::table::{Table, cell};
use crate::{Callback, Context, Error, Moment, Phase};

/// Writes one row per completed epoch: `epoch` and every metric of [`EpochMetrics::NAMES`], a fixed header. A
/// metric that was not measured is an empty cell, one that is not finite `NaN`, `inf` or `-inf`. Each row is on disk
/// when its epoch's event is over.
///
/// After a resume the file holds exactly the epochs that the run has completed: rows beyond are cut off, rows
/// the file lacks are taken from [`Context::history`].
#[derive(Debug)]
pub struct CsvLogger {
    table: Table,
}

impl CsvLogger {
    /// Opens nothing yet: the file begins at [`Moment::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let header = std::iter::once("epoch").chain(EpochMetrics::NAMES).collect();
        Self { table: Table::new(path.into(), header) }
    }
}

impl Callback for CsvLogger {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<crate::Action>, Error> {
        match (phase, context.moment) {
            (Phase::Report, Moment::FitStart) => {
                let known = context.history.iter().map(|metrics| (metrics.epoch, row(metrics)));
                self.table.open(context.epoch, known.collect())?;
            }
            (Phase::Report, Moment::Epoch(metrics)) => {
                self.table.append(metrics.epoch, &row(metrics))?;
                self.table.flush()?;
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

fn row(metrics: &EpochMetrics) -> Vec<String> {
    EpochMetrics::NAMES.iter().map(|name| cell(metrics.get(name).flatten())).collect()
}
