//! The rate of every update, in a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::table::{Table, cell};
use crate::{Callback, Context, Error, Moment, Phase};

/// Writes `update,lr,gain,schedule_lr` per update: updates made so far (from 1), the rate that update used, and
/// the gain and the schedule's rate of the next one. In the file after each update.
///
/// After a resume rows past the restored update are cut off.
#[derive(Debug)]
pub struct RateRecorder {
    table: Table,
}

impl RateRecorder {
    /// Opens nothing yet: the file begins at [`Moment::FitStart`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { table: Table::new(path.into(), vec!["update", "lr", "gain", "schedule_lr"]) }
    }
}

impl Callback for RateRecorder {
    fn name(&self) -> &'static str {
        "rates"
    }

    fn on(&mut self, phase: Phase, context: &Context<'_>) -> Result<Vec<crate::Action>, Error> {
        if phase == Phase::Report {
            match context.moment {
                Moment::FitStart => self.table.open(context.update, BTreeMap::new())?,
                Moment::Update { .. } => {
                    let row = [context.lr, context.gain, context.schedule_lr].map(|x| cell(Some(x)));
                    self.table.append(context.update, &row)?;
                    self.table.flush()?;
                }
                Moment::Epoch(_) | Moment::FitEnd | Moment::Failed { .. } | Moment::EpochStart => {}
            }
        }
        Ok(Vec::new())
    }
}
