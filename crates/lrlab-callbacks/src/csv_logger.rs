//! A CSV log with one row per epoch.

use std::path::PathBuf;

use lrlab_runs::EpochMetrics;

use crate::table::{Table, cell};
use crate::{Callback, Context, Error, Hook, Phase};

/// Writes one row per completed epoch: `epoch` and every metric of [`EpochMetrics::NAMES`]. The cell of a metric that was not
/// measured is empty; non-finite values are `NaN`, `inf` and `-inf`. Each row is flushed at the end of its epoch.
///
/// After a resume, the file holds exactly the completed epochs: later rows are removed, and missing rows are taken from
/// [`Context::history`].
#[derive(Debug)]
pub struct CsvLogger {
    table: Table,
}

impl CsvLogger {
    /// Creates a logger. It opens the file at [`Hook::FitStart`].
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
        match (phase, context.hook) {
            (Phase::Report, Hook::FitStart) => {
                let known = context.history.iter().map(|metrics| (metrics.epoch, row(metrics)));
                self.table.open(context.epoch, known.collect())?;
            }
            (Phase::Report, Hook::EpochEnd(metrics)) => {
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
