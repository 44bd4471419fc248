//! A CSV log with one row per epoch.

use std::path::PathBuf;

use lrlab_runs::EpochMetrics;

use crate::table::{Table, cell};
use crate::{Callback, Context, Error, Hook, Phase};

/// Writes one row per completed epoch: `epoch`, every metric of [`EpochMetrics::NAMES`], and those of
/// [`EpochMetrics::extra`]. The first epoch that measures a new metric adds its column. The cell of a metric that was not
/// measured is empty; non-finite values are `NaN`, `inf` and `-inf`. Each row is flushed at the end of its epoch.
///
/// After a resume, the file holds exactly the completed epochs: later rows are removed, and missing rows are taken from
/// [`Context::history`].
#[derive(Debug)]
pub struct CsvLogger {
    table: Table,
    /// The user-defined metrics so far, in the order of their columns.
    own: Vec<String>,
}

impl CsvLogger {
    /// Creates a logger. It opens the file at [`Hook::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let header = std::iter::once("epoch").chain(EpochMetrics::NAMES).map(str::to_owned).collect();
        Self { table: Table::new(path.into(), header), own: Vec::new() }
    }

    /// Adds columns for the user-defined metrics of these epochs. Returns whether there are new columns.
    fn add_columns(&mut self, epochs: &[EpochMetrics]) -> bool {
        let before = self.own.len();
        for name in epochs.iter().flat_map(EpochMetrics::own_names) {
            if !self.own.iter().any(|known| known == name) {
                self.own.push(name.to_owned());
                self.table.add_column(name);
            }
        }
        self.own.len() > before
    }

    fn open(&mut self, context: &Context<'_>) -> Result<(), Error> {
        self.add_columns(context.history);
        let known = context.history.iter().map(|metrics| (metrics.epoch, self.row(metrics)));
        self.table.open(context.epoch, known.collect())
    }

    fn row(&self, metrics: &EpochMetrics) -> Vec<String> {
        let names = EpochMetrics::NAMES.into_iter().chain(self.own.iter().map(String::as_str));
        names.map(|name| cell(metrics.get(name).flatten())).collect()
    }
}

impl Callback for CsvLogger {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<crate::Action>, Error> {
        match (phase, context.hook) {
            (Phase::Report, Hook::FitStart) => self.open(context)?,
            (Phase::Report, Hook::EpochEnd(metrics)) => {
                if self.add_columns(std::slice::from_ref(metrics)) {
                    self.open(context)?;
                } else {
                    self.table.append(metrics.epoch, &self.row(metrics))?;
                }
                self.table.flush()?;
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}
