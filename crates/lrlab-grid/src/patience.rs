//! When a claim that nobody can vouch for is given up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use lrlab_runs::RunId;

/// Watches the claims of processes that cannot be seen from here. One is stale when it was not touched for a while
/// of this machine's own monotonic time: clocks of two machines are never compared.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    seen: BTreeMap<(RunId, u32), Seen>,
}

#[derive(Debug)]
struct Seen {
    touched: SystemTime,
    since: Instant,
    beats: bool,
}

/// What can be said about a claim from when it was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It was seen to be touched.
    Beating,
    /// It was not yet, and it is too early to say.
    Quiet,
    /// It was not touched for longer than it should.
    Stale,
    /// It was not touched for ten times as long: nothing else that seems to speak for it counts.
    Gone,
}

impl Patience {
    /// A claim is stale after `limit` without a touch; claims are touched every five seconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// What attempt `number` of `id`, last touched at `touched`, looks like at `now`.
    pub fn sign(&mut self, id: &RunId, number: u32, touched: SystemTime, now: Instant) -> Sign {
        let first = Seen { touched, since: now, beats: false };
        let seen = self.seen.entry((id.clone(), number)).or_insert(first);
        if seen.touched != touched {
            *seen = Seen { touched, since: now, beats: true };
        }
        let still = now.duration_since(seen.since);
        if still >= self.limit * 10 {
            Sign::Gone
        } else if still >= self.limit {
            Sign::Stale
        } else if seen.beats {
            Sign::Beating
        } else {
            Sign::Quiet
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stillness_counts() {
        let (id, start, touched) = (RunId::of("{}", ""), Instant::now(), SystemTime::UNIX_EPOCH);
        let mut patience = Patience::new(Duration::from_mins(1));
        // (attempt, second of the touch by the other clock, second by ours) -> sign
        for (number, touch, now, sign) in [
            (1, 1000, 0, Sign::Quiet),
            (1, 1000, 59, Sign::Quiet),
            (1, 1005, 59, Sign::Beating),
            (1, 1005, 118, Sign::Beating),
            (1, 1005, 119, Sign::Stale),
            (1, 0, 120, Sign::Beating), // touched again, with a clock that was set back
            (2, 1005, 500, Sign::Quiet),
            (2, 1005, 560, Sign::Stale),
            (2, 1005, 1100, Sign::Gone),
        ] {
            let at = touched + Duration::from_secs(touch);
            let seen = patience.sign(&id, number, at, start + Duration::from_secs(now));
            assert_eq!(seen, sign, "{number} {now}");
        }
    }
}
