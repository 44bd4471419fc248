//! Keeps the report up to date while the runs of a grid are under way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use lrlab_runs::{Plan, RunStore};

use super::report;
use crate::progress::{eprint_line, with_causes};

/// The shortest time between two looks at the store.
const POLL: Duration = Duration::from_secs(2);
/// The report takes at most one part in so many of one core's time.
const SHARE: u32 = 10;

/// Rewrites the report whenever a run has finished, until the sender is dropped. Call it before the report of the end is
/// written, and leave `scope` in between.
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
        // The report of the end is not far where nothing is left to do.
        if written == Some(finished) || finished == plan.runs.len() {
            continue;
        }
        let begun = Instant::now();
        if let Err(error) = report::refresh(plan, store, true) {
            // The report of the end fails for the same reason, or not at all.
            eprint_line(&format!("note: the report is not kept up to date: {}", with_causes(&error)));
            return;
        }
        written = Some(finished);
        pause = POLL.max(begun.elapsed() * SHARE);
    }
}
