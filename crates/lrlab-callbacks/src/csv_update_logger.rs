//! A CSV log of updates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::table::{Table, cell};
use crate::{Action, Callback, Context, Error, Hook, Phase};

/// Writes a row every `every` updates: `update`, `loss`, `lr`, `gain`, `grad_norm`, and the metrics of
/// [`Session::log`](crate::Session::log). The first update with a new metric adds its column. The cell of a metric that was
/// not measured is empty; non-finite values are `NaN`, `inf` and `-inf`. Each row is flushed.
///
/// After a resume, the rows of later updates are removed.
#[derive(Debug)]
pub struct CsvUpdateLogger {
    table: Table,
    every: u64,
    /// The user-defined metrics so far, in the order of their columns.
    own: Vec<String>,
}

impl CsvUpdateLogger {
    /// Creates a logger of every `every`-th update; 0 is never. It opens the file at [`Hook::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, every: u64) -> Self {
        let header = ["update", "loss", "lr", "gain", "grad_norm"].map(str::to_owned).to_vec();
        Self { table: Table::new(path.into(), header), every, own: Vec::new() }
    }

    fn add(&mut self, name: &str) {
        self.own.push(name.to_owned());
        self.table.add_column(name);
    }

    fn open(&mut self, update: u64) -> Result<(), Error> {
        if update > 0 && self.own.is_empty() {
            for name in self.table.additional_columns()? {
                self.add(&name);
            }
        }
        self.table.open(update, BTreeMap::new())
    }

    fn row(
        &mut self,
        (loss, grad_norm): (f64, Option<f64>),
        extra: &BTreeMap<String, f64>,
        context: &Context<'_>,
    ) -> Result<(), Error> {
        let new: Vec<&String> = extra.keys().filter(|name| !self.own.contains(name)).collect();
        if !new.is_empty() {
            for name in new {
                self.add(name);
            }
            self.open(context.update - 1)?;
        }
        let own = self.own.iter().map(|name| cell(extra.get(name).copied()));
        let known = [Some(loss), Some(context.lr), Some(context.gain), grad_norm].map(cell);
        let row: Vec<String> = known.into_iter().chain(own).collect();
        self.table.append(context.update, &row)?;
        self.table.flush()
    }
}

impl Callback for CsvUpdateLogger {
    fn name(&self) -> &'static str {
        "csv-updates"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<Action>, Error> {
        match (phase, context.hook) {
            (Phase::Report, Hook::FitStart) if self.every > 0 => self.open(context.update)?,
            (Phase::Report, Hook::UpdateEnd { loss, grad_norm, extra })
                if self.every > 0 && context.update.is_multiple_of(self.every) =>
            {
                self.row((loss, grad_norm), extra, context)?;
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}
