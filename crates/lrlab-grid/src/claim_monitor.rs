//! Decides when the claim of a process that cannot be observed is abandoned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use lrlab_runs::RunId;

/// Watches the modification times of claims whose owners run elsewhere. A claim is stale when its modification time
/// has not changed for a while by this machine's monotonic clock; clocks of two machines are never compared.
#[derive(Debug)]
pub struct ClaimMonitor {
    limit: Duration,
    seen: BTreeMap<(RunId, u32), Seen>,
}

#[derive(Debug)]
struct Seen {
    touched: SystemTime,
    since: Instant,
    beats: bool,
}

/// What the modification time of a claim says about its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// It changed recently.
    Fresh,
    /// It has not changed yet, and it is too early to tell.
    Unconfirmed,
    /// It has not changed for longer than the timeout.
    Stale,
    /// It has not changed for ten times the timeout: the claim is abandoned whatever else is known.
    Expired,
}

impl ClaimMonitor {
    /// Makes a monitor that considers a claim stale after `limit` without a change. Owners touch their claims every
    /// five seconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// Returns the state at `now` of the claim on attempt `number` of `id`, last modified at `touched`.
    pub fn state(&mut self, id: &RunId, number: u32, touched: SystemTime, now: Instant) -> ClaimState {
        let first = Seen { touched, since: now, beats: false };
        let seen = self.seen.entry((id.clone(), number)).or_insert(first);
        if seen.touched != touched {
            *seen = Seen { touched, since: now, beats: true };
        }
        let still = now.duration_since(seen.since);
        if still >= self.limit * 10 {
            ClaimState::Expired
        } else if still >= self.limit {
            ClaimState::Stale
        } else if seen.beats {
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
    fn only_stillness_counts() {
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
