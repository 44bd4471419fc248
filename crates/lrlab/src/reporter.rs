//! What a worker says to whoever started it: one JSON object per line on standard output.

use std::io::Write;
use std::time::{Duration, Instant};

use lrlab_runs::Event;

/// Between two progress events of one run.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Sends events to whoever started us.
#[derive(Default)]
pub(crate) struct Reporter {
    last_progress: Option<Instant>,
}

impl Reporter {
    /// A listener that went away does not stop the training.
    pub(crate) fn report(&mut self, event: &Event) {
        match event {
            Event::Progress { .. } if self.last_progress.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) => {
                return;
            }
            Event::Progress { .. } => self.last_progress = Some(Instant::now()),
            // Also for the attempt's log.
            Event::Note { message } => crate::progress::tell(&format!("note: {message}")),
            _ => {}
        }
        let Ok(line) = serde_json::to_string(event) else { return };
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
