//! A CSV log of the learning rate with one row per update.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::table::{Table, cell};
use crate::{Callback, Context, Error, Hook, Phase};

/// Writes `update,lr,gain,schedule_lr` per update: the number of completed updates (from 1), the rate of the update, and the
/// gain and the schedule's rate for the next one. Each row is flushed.
///
/// After a resume, rows past the restored update are removed.
#[derive(Debug)]
pub struct RateRecorder {
    table: Table,
}

impl RateRecorder {
    /// Creates a recorder. It opens the file at [`Hook::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            table: Table::new(
                path.into(),
                ["update", "lr", "gain", "schedule_lr"].map(str::to_owned).to_vec(),
            ),
        }
    }
}

impl Callback for RateRecorder {
    fn name(&self) -> &'static str {
        "rates"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<crate::Action>, Error> {
        if phase == Phase::Report {
            match context.hook {
                Hook::FitStart => self.table.open(context.update, BTreeMap::new())?,
                Hook::UpdateEnd { .. } => {
                    let row = [context.lr, context.gain, context.schedule_lr].map(|x| cell(Some(x)));
                    self.table.append(context.update, &row)?;
                    self.table.flush()?;
                }
                Hook::EpochEnd(_) | Hook::FitEnd | Hook::Failed { .. } | Hook::EpochStart => {}
            }
        }
        Ok(Vec::new())
    }
}
