//! How often a run may be tried, derived from its attempts: every process on a store counts the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lrlab_runs::attempt_dir;

use crate::attempt::{Ending, attempts, owner_of};
use crate::live::Live;
use crate::{Error, Failure, FailureKind};

/// How often a run may stop without getting further and without a word why.
const INTERRUPTIONS: u32 = 3;

/// Where a run stands after its attempts so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It may be tried.
    Open {
        /// With nothing else on its device: memory ran out before.
        alone: bool,
        /// After a rest: what failed from outside may need a moment.
        rest: Duration,
    },
    /// It failed, and the budget for its kind of failure is spent.
    Spent(Box<Failure>),
    /// It stops each time although nobody asks for it.
    Stopping,
}

/// Where the run in `run_dir` stands; attempts up to number `since` are history and cost nothing. The newest attempt
/// is known to have ended, or its owner to be gone.
pub(crate) fn standing(run_dir: &Path, since: u32) -> Result<Standing, Error> {
    let mut furthest = 0;
    let mut counts: BTreeMap<FailureKind, u32> = BTreeMap::new();
    let mut interruptions = 0;
    let mut last = None;
    for (number, exit) in attempts(run_dir)? {
        let (ending, reached) = if let Some(exit) = exit {
            (exit.ending, exit.reached)
        } else {
            let folder = attempt_dir(run_dir, number);
            let owner = owner_of(&folder)?.map_or_else(|| "its process".to_owned(), |o| o.to_string());
            let reached = Live::read(&folder).map_or(0, |live| live.update);
            (Ending::Failed(Box::new(Failure::lost(number, &owner))), reached)
        };
        let further = reached > furthest;
        furthest = furthest.max(reached);
        if number <= since {
            continue;
        }
        match &ending {
            Ending::Done | Ending::Paused => {}
            Ending::Interrupted => interruptions += u32::from(!further),
            Ending::Failed(failure) if failure.kind.comes_from_outside() && further => {}
            Ending::Failed(failure) => *counts.entry(failure.kind).or_default() += 1,
        }
        last = Some(ending);
    }
    let tried = |kind| counts.get(&kind).copied().unwrap_or(0);
    Ok(match last {
        Some(Ending::Failed(failure)) if tried(failure.kind) > failure.kind.retries() => {
            Standing::Spent(failure)
        }
        Some(Ending::Failed(failure)) => {
            let rest = if failure.kind.comes_from_outside() { tried(failure.kind) } else { 0 };
            Standing::Open { alone: tried(FailureKind::OutOfMemory) > 0, rest: pause(rest) }
        }
        Some(Ending::Interrupted) if interruptions > INTERRUPTIONS => Standing::Stopping,
        _ => Standing::Open { alone: tried(FailureKind::OutOfMemory) > 0, rest: Duration::ZERO },
    })
}

/// Updates that the run in `run_dir` had made by the end of the attempts before number `before`.
pub(crate) fn furthest(run_dir: &Path, before: u32) -> Result<Option<u64>, Error> {
    let earlier = attempts(run_dir)?.into_iter().filter(|(number, _)| *number < before);
    let reached = |(number, exit): (u32, Option<crate::Exit>)| {
        exit.map_or_else(
            || Live::read(&attempt_dir(run_dir, number)).map_or(0, |live| live.update),
            |exit| exit.reached,
        )
    };
    Ok(earlier.map(reached).max())
}

/// 0.2 s, 0.8 s, 3.2 s, …
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
        for (number, (ending, reached)) in (1..).zip(endings) {
            let Acquired::Attempt(mut attempt) = Attempt::claim(run.path(), number).unwrap() else {
                unreachable!()
            };
            attempt.reach(*reached);
            attempt.end(ending.clone()).unwrap();
        }
        let standing = match standing(run.path(), since).unwrap() {
            Standing::Open { alone, rest } => format!("open {alone} {}", rest.as_millis()),
            Standing::Spent(failure) => format!("spent {}", failure.kind),
            Standing::Stopping => "stopping".to_owned(),
        };
        assert_eq!(standing, expected, "{endings:?} since {since}");
    }

    #[test]
    fn budgets_are_by_kind_and_progress_is_free() {
        use FailureKind::{Io, Killed, OutOfMemory, Panic, Timeout};
        let fails = |kind, reached| (failure(kind), reached);
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
        let stops = |reached| (Ending::Interrupted, reached);
        check(&[stops(1), stops(2), stops(3), stops(4), stops(5)], 0, "open false 0");
        check(&[stops(5), stops(5), stops(5), stops(5), stops(5)], 0, "stopping");
    }
}
