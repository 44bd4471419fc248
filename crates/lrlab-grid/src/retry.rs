//! Decides whether a run is retried, from its attempts, so that every process on a store decides the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lrlab_runs::attempt_dir;

use crate::attempt::{Ending, attempts, owner_of};
use crate::progress::AttemptProgress;
use crate::{Error, Failure, FailureKind};

/// The maximum number of interruptions without progress.
const INTERRUPTIONS: u32 = 3;

/// Whether a run is retried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RetryDecision {
    /// The run is retried.
    Retry {
        /// Whether it needs a device of its own, because memory ran out before.
        exclusive: bool,
        /// The delay before the retry.
        delay: Duration,
    },
    /// The run failed, and the retries for its kind of failure are used up.
    Exhausted(Box<Failure>),
    /// The run repeatedly stops without a request and without progress.
    KeepsStopping,
}

/// Decides whether the run in `run_dir` is retried. Attempts up to number `since` do not count. The newest attempt must
/// have ended, or its owner must be dead.
pub(crate) fn retry_decision(run_dir: &Path, since: u32) -> Result<RetryDecision, Error> {
    let mut furthest = 0;
    let mut counts: BTreeMap<FailureKind, u32> = BTreeMap::new();
    let mut interruptions = 0;
    let mut last = None;
    for (number, exit) in attempts(run_dir)? {
        let (ending, updates) = if let Some(exit) = exit {
            (exit.ending, exit.updates)
        } else {
            let folder = attempt_dir(run_dir, number);
            let owner = owner_of(&folder)?.map_or_else(|| "its process".to_owned(), |o| o.to_string());
            let updates = AttemptProgress::read(&folder).map_or(0, |progress| progress.update);
            (Ending::Failed(Box::new(Failure::lost(number, &owner))), updates)
        };
        let progressed = updates > furthest;
        furthest = furthest.max(updates);
        if number <= since {
            continue;
        }
        match &ending {
            Ending::Done | Ending::Paused => {}
            Ending::Interrupted => interruptions += u32::from(!progressed),
            Ending::Failed(failure) if failure.kind.is_external() && progressed => {}
            Ending::Failed(failure) => *counts.entry(failure.kind).or_default() += 1,
        }
        last = Some(ending);
    }
    let tried = |kind| counts.get(&kind).copied().unwrap_or(0);
    Ok(match last {
        Some(Ending::Failed(failure)) if tried(failure.kind) > failure.kind.retries() => {
            RetryDecision::Exhausted(failure)
        }
        Some(Ending::Failed(failure)) => {
            let failures = if failure.kind.is_external() { tried(failure.kind) } else { 0 };
            RetryDecision::Retry { exclusive: tried(FailureKind::OutOfMemory) > 0, delay: pause(failures) }
        }
        Some(Ending::Interrupted) if interruptions > INTERRUPTIONS => RetryDecision::KeepsStopping,
        _ => RetryDecision::Retry { exclusive: tried(FailureKind::OutOfMemory) > 0, delay: Duration::ZERO },
    })
}

/// Returns the number of updates that the run in `run_dir` had completed in the attempts before number `before`.
pub(crate) fn furthest(run_dir: &Path, before: u32) -> Result<Option<u64>, Error> {
    let earlier = attempts(run_dir)?.into_iter().filter(|(number, _)| *number < before);
    let updates = |(number, exit): (u32, Option<crate::Exit>)| {
        exit.map_or_else(
            || AttemptProgress::read(&attempt_dir(run_dir, number)).map_or(0, |progress| progress.update),
            |exit| exit.updates,
        )
    };
    Ok(earlier.map(updates).max())
}

/// Returns the delay after this many failures: 0.2 s, 0.8 s, 3.2 s, …
fn pause(failures: u32) -> Duration {
    if failures == 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(50) * 4_u32.saturating_pow(failures.min(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Acquired, Attempt};

    fn failure(kind: FailureKind) -> Ending {
        let mut failure = Failure::lost(1, "x");
        failure.kind = kind;
        Ending::Failed(Box::new(failure))
    }

    fn check(endings: &[(Ending, u64)], since: u32, expected: &str) {
        let run = tempfile::tempdir().unwrap();
        for (number, (ending, updates)) in (1..).zip(endings) {
            let Acquired::Attempt(mut attempt) = Attempt::claim(run.path(), number).unwrap() else {
                unreachable!()
            };
            attempt.note_update(*updates);
            attempt.end(ending.clone()).unwrap();
        }
        let decision = match retry_decision(run.path(), since).unwrap() {
            RetryDecision::Retry { exclusive, delay } => format!("open {exclusive} {}", delay.as_millis()),
            RetryDecision::Exhausted(failure) => format!("spent {}", failure.kind),
            RetryDecision::KeepsStopping => "stopping".to_owned(),
        };
        assert_eq!(decision, expected, "{endings:?} since {since}");
    }

    #[test]
    fn retries_are_counted_by_kind_and_reset_by_progress() {
        use FailureKind::{Io, Killed, OutOfMemory, Panic, Timeout};
        let fails = |kind, updates| (failure(kind), updates);
        check(&[], 0, "open false 0");
        check(&[fails(Panic, 9)], 0, "spent panic");
        check(&[fails(Panic, 9)], 1, "open false 0");
        check(&[fails(OutOfMemory, 0)], 0, "open true 0");
        check(&[fails(OutOfMemory, 0), fails(OutOfMemory, 0)], 0, "spent out of memory");
        check(&[fails(OutOfMemory, 0), fails(Killed, 0)], 0, "open true 200");
        check(&[fails(Killed, 0), fails(Killed, 0)], 0, "open false 800");
        check(&vec![fails(Killed, 0); 4], 0, "spent killed");
        check(&(1..9).map(|n| fails(Killed, n)).collect::<Vec<_>>(), 0, "open false 0");
        check(&[fails(Io, 0), fails(Killed, 0), fails(Io, 0), fails(Io, 0)], 0, "open false 3200");
        check(&[fails(Timeout, 5), fails(Timeout, 5), fails(Timeout, 4)], 0, "open false 800");
        check(
            &[fails(Timeout, 5), fails(Timeout, 5), fails(Timeout, 4), fails(Timeout, 5)],
            0,
            "spent timeout",
        );
        let stops = |updates| (Ending::Interrupted, updates);
        check(&[stops(1), stops(2), stops(3), stops(4), stops(5)], 0, "open false 0");
        check(&[stops(5), stops(5), stops(5), stops(5), stops(5)], 0, "stopping");
    }
}
