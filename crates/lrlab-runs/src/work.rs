//! What an attempt did, counted so that a killed one counts too.
//!
//! ```text
//! DIR/store/<run_id>/attempts/<n>/work.json   one line, written over after every update
//! ```

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::numbered;
use crate::{Error, Timing, finite};

/// Bytes of the line: more than any state of it needs, so that it is always written over as a whole.
const WIDTH: usize = 319;

/// Work done, in updates, examples and seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// Updates executed.
    pub updates: u64,
    /// Training examples seen, repeats included.
    pub examples: u64,
    /// Seconds in training updates.
    pub train_s: f64,
    /// Seconds in evaluation.
    pub eval_s: f64,
    /// Seconds reading data.
    pub data_s: f64,
    /// Seconds waited for batches, in training and evaluation.
    pub input_s: f64,
    /// Seconds from the loop's begin to its end.
    pub elapsed_s: f64,
}

impl std::ops::Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            updates: self.updates + other.updates,
            examples: self.examples + other.examples,
            train_s: self.train_s + other.train_s,
            eval_s: self.eval_s + other.eval_s,
            data_s: self.data_s + other.data_s,
            input_s: self.input_s + other.input_s,
            elapsed_s: self.elapsed_s + other.elapsed_s,
        }
    }
}

impl Work {
    /// As a result states it; start and end are left to the caller.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing {
            train_s: self.train_s,
            eval_s: self.eval_s,
            data_s: self.data_s,
            input_s: self.input_s,
            input_share: finite(self.input_s / self.elapsed_s),
            elapsed_s: self.elapsed_s,
            updates_executed: self.updates,
            examples_per_s: if self.train_s > 0.0 { self.examples as f64 / self.train_s } else { 0.0 },
            ..Timing::default()
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    started: f64,
    #[serde(flatten)]
    work: Work,
}

/// The line of one attempt.
#[derive(Debug)]
pub struct WorkLog {
    path: PathBuf,
    file: File,
    started: f64,
}

impl WorkLog {
    /// Begins it in the attempt's folder. `started` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(attempt: &Path, started: f64) -> Result<Self, Error> {
        let path = attempt.join("work.json");
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let mut log = Self { path, file, started };
        log.note(&Work::default())?;
        Ok(log)
    }

    /// What was done so far. In the system's hands when this returns, where the death of this process does not reach.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&mut self, work: &Work) -> Result<(), Error> {
        let line = Line { started: self.started, work: *work };
        let text = serde_json::to_string(&line).map_err(|e| Error::json(&self.path, e))?;
        let written = self.file.rewind().and_then(|()| {
            let line = format!("{text:<WIDTH$}\n");
            self.file.write_all(line.as_bytes())
        });
        written.map_err(|e| Error::io(&self.path, e))
    }
}

/// The work of every attempt at the run in `run_dir` but the one of number `except`, and when the first of them
/// began, in seconds since the Unix epoch. A line that cannot be read counts for nothing.
#[must_use]
pub fn work_before(run_dir: &Path, except: u32) -> (Work, Option<f64>) {
    let lines = numbered(&run_dir.join("attempts")).into_iter().filter(|(number, _)| *number != except);
    let lines = lines.filter_map(|(_, attempt)| -> Option<Line> {
        serde_json::from_slice(&std::fs::read(attempt.join("work.json")).ok()?).ok()
    });
    lines.fold((Work::default(), None), |(sum, first), line| {
        (sum + line.work, Some(first.map_or(line.started, |first: f64| first.min(line.started))))
    })
}
