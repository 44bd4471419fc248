//! Decides when the claim of a process that cannot be observed counts as abandoned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use lrlab_runs::RunId;

/// Watches the modification times of claims whose owners run on other machines. A claim is considered abandoned when its
/// modification time stops changing. Durations are measured by this machine's monotonic clock; clocks of two machines are
/// never compared.
#[derive(Debug)]
pub struct ClaimMonitor {
    limit: Duration,
    seen: BTreeMap<(RunId, u32), Seen>,
}

#[derive(Debug)]
struct Seen {
    touched: SystemTime,
    since: Instant,
    has_changed: bool,
}

/// The state of a claim, derived from its modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// The modification time changed recently.
    Fresh,
    /// The modification time has not changed yet, for less than the timeout.
    Unconfirmed,
    /// The modification time has not changed for longer than the timeout.
    Stale,
    /// The modification time has not changed for ten times the timeout: the claim counts as abandoned in any case.
    Expired,
}

impl ClaimMonitor {
    /// Creates a monitor that considers a claim stale after `limit` without a change. Owners update their claims every five
    /// seconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// Returns the state at `now` of the claim on attempt `number` of `id`, last modified at `touched`.
    pub fn state(&mut self, id: &RunId, number: u32, touched: SystemTime, now: Instant) -> ClaimState {
        let first = Seen { touched, since: now, has_changed: false };
        let seen = self.seen.entry((id.clone(), number)).or_insert(first);
        if seen.touched != touched {
            *seen = Seen { touched, since: now, has_changed: true };
        }
        let unchanged = now.duration_since(seen.since);
        if unchanged >= self.limit * 10 {
            ClaimState::Expired
        } else if unchanged >= self.limit {
            ClaimState::Stale
        } else if seen.has_changed {
            ClaimState::Fresh
        } else {
            ClaimState::Unconfirmed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_the_modification_time_count() {
        let (id, start, touched) = (RunId::of("{}", ""), Instant::now(), SystemTime::UNIX_EPOCH);
        let mut monitor = ClaimMonitor::new(Duration::from_mins(1));
        // (attempt, second of the modification by the other clock, second by ours) -> state
        for (number, touch, now, sign) in [
            (1, 1000, 0, ClaimState::Unconfirmed),
            (1, 1000, 59, ClaimState::Unconfirmed),
            (1, 1005, 59, ClaimState::Fresh),
            (1, 1005, 118, ClaimState::Fresh),
            (1, 1005, 119, ClaimState::Stale),
            (1, 0, 120, ClaimState::Fresh), // touched again, with a clock that was set back
            (2, 1005, 500, ClaimState::Unconfirmed),
            (2, 1005, 560, ClaimState::Stale),
            (2, 1005, 1100, ClaimState::Expired),
        ] {
            let at = touched + Duration::from_secs(touch);
            let seen = monitor.state(&id, number, at, start + Duration::from_secs(now));
            assert_eq!(seen, sign, "{number} {now}");
        }
    }
}
