//! The work of an attempt, recorded continuously so that killed attempts are counted.
//!
//! ```text
//! DIR/store/<run_id>/attempts/<n>/work.json   one line, overwritten after every update
//! ```

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::numbered_attempts;
use crate::{Error, Work};

/// The length of the line in bytes: long enough for any values, so that each write overwrites the whole line.
const WIDTH: usize = 319;

#[derive(Serialize, Deserialize)]
struct Line {
    started: f64,
    #[serde(flatten)]
    work: Work,
}

/// The work log of an attempt.
#[derive(Debug)]
pub struct WorkLog {
    path: PathBuf,
    file: File,
    started: f64,
}

impl WorkLog {
    /// Creates the log in the folder of the attempt. `started` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if the file cannot be written.
    pub fn create(attempt: &Path, started: f64) -> Result<Self, Error> {
        let path = attempt.join("work.json");
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let mut log = Self { path, file, started };
        log.record(&Work::default())?;
        Ok(log)
    }

    /// Records the work of the attempt. When this returns, the data are in the operating system's buffers, so they survive
    /// the end of the process.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if the file cannot be written.
    pub fn record(&mut self, work: &Work) -> Result<(), Error> {
        let line = Line { started: self.started, work: *work };
        let text = serde_json::to_string(&line).map_err(|e| Error::json(&self.path, e))?;
        let written = self.file.rewind().and_then(|()| {
            let line = format!("{text:<WIDTH$}\n");
            self.file.write_all(line.as_bytes())
        });
        written.map_err(|e| Error::io(&self.path, e))
    }
}

/// Returns the total work of all attempts at the run in `run_dir` except attempt `except`, and the start of the first one, in
/// seconds since the Unix epoch. Unreadable logs are ignored.
#[must_use]
pub fn earlier_work(run_dir: &Path, except: u32) -> (Work, Option<f64>) {
    let lines =
        numbered_attempts(&run_dir.join("attempts")).into_iter().filter(|(number, _)| *number != except);
    let lines = lines.filter_map(|(_, attempt)| -> Option<Line> {
        serde_json::from_slice(&std::fs::read(attempt.join("work.json")).ok()?).ok()
    });
    lines.fold((Work::default(), None), |(sum, first), line| {
        (sum + line.work, Some(first.map_or(line.started, |first: f64| first.min(line.started))))
    })
}
