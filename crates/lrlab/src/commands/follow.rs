//! Keeps the report up to date while a grid runs.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use lrlab_runs::{Plan, RunStore};
use rayon::ThreadPoolBuilder;

use super::report;
use crate::progress::{eprint_line, with_causes};

/// The minimum interval between two checks of the store.
const POLL: Duration = Duration::from_secs(2);
/// Writing the report, on one thread, takes at most `1 / SHARE` of the time of one core.
const SHARE: u32 = 10;

/// Rewrites the report whenever a run has finished, until the sender is dropped. The caller must
/// drop the sender and leave `scope` before it writes the final report.
pub(crate) fn follow<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    plan: &'env Plan,
    store: &'env RunStore,
) -> Sender<()> {
    let (sender, stop) = channel();
    scope.spawn(move || rewrite(plan, store, &stop));
    sender
}

fn rewrite(plan: &Plan, store: &RunStore, stop: &Receiver<()>) {
    let unkept = |error: &dyn std::fmt::Display| {
        eprint_line(&format!("note: the report is not kept up to date: {error}"));
    };
    // The other cores train.
    let one_thread = match ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool,
        Err(error) => return unkept(&error),
    };
    let (mut reported, mut pause) = (None, Duration::ZERO);
    while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = POLL;
        let finished = plan.runs.iter().filter(|run| store.is_finished(&run.run_id)).count();
        // If all runs are finished, the final report follows soon.
        if reported == Some(finished) || finished == plan.runs.len() {
            continue;
        }
        let started = Instant::now();
        if let Err(error) = one_thread.install(|| report::refresh(plan, store, true)) {
            // The final report repeats the error if it persists.
            return unkept(&with_causes(&error));
        }
        reported = Some(finished);
        pause = POLL.max(started.elapsed() * SHARE);
    }
}
