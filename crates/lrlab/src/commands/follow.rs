//! Keeps the report up to date while the runs of a grid are in progress.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use lrlab_runs::{Plan, RunStore};

use super::report;
use crate::progress::eprint_line;

/// The minimum interval between two checks of the store.
const POLL: Duration = Duration::from_secs(2);
/// Writing the report takes at most 1 / `SHARE` of the time of one core.
const SHARE: u32 = 10;

/// Rewrites the report whenever a run has finished, until the sender is dropped. Drop the sender and leave `scope` before
/// writing the final report.
pub(crate) fn follow<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    plan: &'env Plan,
    store: &'env RunStore,
) -> Sender<()> {
    let (sender, over) = channel();
    scope.spawn(move || rewrite(plan, store, &over));
    sender
}

fn rewrite(plan: &Plan, store: &RunStore, over: &Receiver<()>) {
    let (mut written, mut pause) = (None, Duration::ZERO);
    while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = POLL;
        let finished = plan.runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
        // If no run is left, the final report follows soon.
        if written == Some(finished) || finished == plan.runs.len() {
            continue;
        }
        let begun = Instant::now();
        if let Err(error) = report::refresh(plan, store, true) {
            // The final report reports a persistent error.
            eprint_line(&format!("note: failed to update the report: {error:#}"));
            return;
        }
        written = Some(finished);
        pause = POLL.max(begun.elapsed() * SHARE);
    }
}
