//! `progress.json`: the progress of an attempt, for observers.
//!
//! The process that started the worker writes it at most once a second. The file is not synced; only displays and
//! retry decisions read it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lrlab_runs::Event;
use serde::{Deserialize, Serialize};

use crate::replace::replace;

const EVERY: Duration = Duration::from_secs(1);
const FILE: &str = "progress.json";

/// The progress of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptProgress {
    /// Updates of the whole run.
    pub updates: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// Loss of the last batch.
    pub loss: Option<f64>,
    /// Current learning rate.
    pub lr: f64,
    /// Validation loss after the last epoch.
    pub val_loss: Option<f64>,
    /// Validation accuracy after the last epoch.
    pub val_accuracy: Option<f64>,
    /// Seconds since the attempt started.
    pub seconds: f64,
    /// The update at which the attempt started.
    pub began_at: u64,
    /// Seconds since the Unix epoch at the time of writing.
    pub at: f64,
}

impl AttemptProgress {
    /// Reads the progress from an attempt's folder; `None` if it cannot be read.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// Returns the completed fraction of the run, 0 … 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.updates == 0 { 0.0 } else { (self.update as f64 / self.updates as f64).min(1.0) }
    }

    /// Returns the seconds until the last update at the pace of this attempt; `None` before its first update.
    #[must_use]
    pub fn left_s(&self) -> Option<f64> {
        let made = self.update.saturating_sub(self.began_at);
        let left = self.updates.saturating_sub(self.update);
        (made > 0 && self.seconds > 0.0).then(|| self.seconds / made as f64 * left as f64)
    }
}

/// Writes an attempt's `progress.json`.
#[derive(Debug)]
pub(crate) struct Recorder {
    live: AttemptProgress,
    started: bool,
    began: Instant,
    written: Option<Instant>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { live: AttemptProgress::default(), started: false, began: Instant::now(), written: None }
    }

    /// Records an event. Returns the number of completed updates.
    pub(crate) fn record(&mut self, event: &Event, folder: &Path) -> u64 {
        match event {
            Event::Started { updates, epochs } => {
                (self.live.updates, self.live.epochs) = (*updates, *epochs);
                self.began = Instant::now();
            }
            Event::Progress { update, loss, lr, .. } => {
                if !self.started {
                    self.live.began_at = update.saturating_sub(1);
                    self.started = true;
                }
                (self.live.update, self.live.loss, self.live.lr) = (*update, *loss, *lr);
            }
            Event::Epoch { metrics } => {
                self.live.epoch = metrics.epoch;
                (self.live.val_loss, self.live.val_accuracy) = (metrics.val_loss, metrics.val_accuracy);
            }
            _ => {}
        }
        if self.written.is_none_or(|at| at.elapsed() >= EVERY) {
            self.written = Some(Instant::now());
            self.live.seconds = self.began.elapsed().as_secs_f64();
            self.live.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
            self.write(folder);
        }
        self.live.update
    }

    /// Writes the file. Errors such as a full disk are ignored, because only displays and retry decisions read it.
    fn write(&self, folder: &Path) {
        if let Ok(bytes) = serde_json::to_vec(&self.live) {
            let _ = replace(&folder.join(FILE), |temporary| std::fs::write(temporary, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_events_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(AttemptProgress::read(folder.path()), None);
        let mut recorder = Recorder::new();
        recorder.record(&Event::Started { updates: 40, epochs: 2 }, folder.path());
        recorder.written = None;
        assert_eq!(
            recorder.record(
                &Event::Progress { update: 10, loss: Some(1.5), lr: 0.1, grad_norm: None, extra: [].into() },
                folder.path()
            ),
            10
        );
        let live = AttemptProgress::read(folder.path()).unwrap();
        assert_eq!((live.updates, live.update, live.loss, live.began_at), (40, 10, Some(1.5), 9));
        assert_eq!(live.share(), 0.25);
        let paced = AttemptProgress { seconds: 2.0, ..live };
        assert_eq!(paced.left_s(), Some(60.0));
    }
}
