//! Events of a worker for its parent process: one JSON object per line on standard output.

use std::io::Write;
use std::time::{Duration, Instant};

use lrlab_runs::Event;

/// The interval between two progress events of a run.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Sends events to the parent process.
#[derive(Default)]
pub(crate) struct Reporter {
    last_progress: Option<Instant>,
}

impl Reporter {
    /// Sends an event. Write errors are ignored, so that training continues without a parent process.
    pub(crate) fn report(&mut self, event: &Event) {
        match event {
            Event::Progress { .. } if self.last_progress.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) => {
                return;
            }
            Event::Progress { .. } => self.last_progress = Some(Instant::now()),
            // The note also goes to the attempt's log.
            Event::Note { message } => crate::progress::eprint_line(&format!("note: {message}")),
            _ => {}
        }
        let Ok(line) = serde_json::to_string(event) else { return };
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
