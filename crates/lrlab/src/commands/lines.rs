//! One-line descriptions of runs and grids.

use std::fmt::Write as _;

use lrlab_grid::{AttemptProgress, RunState, Status};
use lrlab_runs::{PlannedRun, RunStore};

use crate::progress::{clock, counted, label};

/// `1f2e3d4c  resnet / … / seed 0  running, 45 %, epoch 3 of 10, loss 0.52, 12 s left (process 7 on host)`.
pub(crate) fn line(store: &RunStore, run: &PlannedRun, state: &RunState) -> String {
    let state = match state {
        RunState::Done => "done".to_owned(),
        RunState::Running { owner, live, silent_s, .. } if state.is_silent() => {
            let at = live.as_ref().map(|live| format!(" in epoch {} of {}", live.epoch + 1, live.epochs));
            let (at, silent) = (at.unwrap_or_default(), clock(*silent_s));
            format!("claimed, but silent for {silent}{at} ({owner}); `run` takes over")
        }
        RunState::Running { owner, live, .. } => {
            let live = live.as_ref().map(|live| format!(", {}", describe_progress(live))).unwrap_or_default();
            format!("running{live} ({owner})")
        }
        RunState::Failed(failure) => format!("failed, {}: {}", failure.kind, failure.message),
        RunState::Missing => match lrlab_runs::progress(&store.run_dir(&run.run_id)) {
            Some(saved) => {
                format!("missing, interrupted after epoch {} (update {} is saved)", saved.epoch, saved.update)
            }
            None => "missing".to_owned(),
        },
        RunState::Damaged { error } => format!("damaged, {error}"),
        RunState::Paused { epochs } => format!("paused after epoch {epochs}"),
        RunState::Pruned { epochs } => format!("pruned after epoch {epochs}"),
        RunState::Unneeded => "not needed".to_owned(),
    };
    format!("{}  {}  {state}", run.run_id.short(), label(&run.cell))
}

/// `30 runs, 24 done (18 of them pruned, 1 diverged), 2 running, 0 failed, 4 missing (3 of them paused)`.
pub(crate) fn counts(status: &Status) -> String {
    let Status { total, done, running, failed, missing, pruned, diverged, paused, damaged, .. } = status;
    let of_them = |parts: [(&usize, &str); 2]| {
        let parts = parts.into_iter().filter(|(n, _)| **n > 0).enumerate();
        let parts =
            parts.map(|(i, (n, state))| format!("{n}{} {state}", if i == 0 { " of them" } else { "" }));
        let parts = parts.collect::<Vec<_>>().join(", ");
        if parts.is_empty() { parts } else { format!(" ({parts})") }
    };
    let done = format!("{done} done{}", of_them([(pruned, "pruned"), (diverged, "diverged")]));
    let missing = format!("{missing} missing{}", of_them([(paused, "paused"), (damaged, "damaged")]));
    format!("{}, {done}, {running} running, {failed} failed, {missing}", counted(*total, "run"))
}

/// Describes the progress of an attempt.
fn describe_progress(live: &AttemptProgress) -> String {
    let mut text = format!("{:.0} %, epoch {} of {}", live.share() * 100.0, live.epoch + 1, live.epochs);
    if let Some(loss) = live.loss {
        let _ = write!(text, ", loss {loss:.4}");
    }
    if let Some(left) = live.left_s() {
        let _ = write!(text, ", {} left", clock(left));
    }
    text
}
