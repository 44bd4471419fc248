//! When a claim that nobody can vouch for is given up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use lrlab_runs::RunId;

/// Watches the claims of processes that cannot be seen from here. One is stale when it was not touched for a while
/// of this machine's own monotonic time: clocks of two machines are never compared.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    seen: BTreeMap<(RunId, u32), (SystemTime, Instant)>,
}

impl Patience {
    /// A claim is stale after `limit` without a touch; claims are touched every five seconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, seen: BTreeMap::new() }
    }

    /// Whether attempt `number` of `id`, last touched at `touched`, has been still for too long by `now`.
    pub fn is_stale(&mut self, id: &RunId, number: u32, touched: SystemTime, now: Instant) -> bool {
        let entry = self.seen.entry((id.clone(), number)).or_insert((touched, now));
        if entry.0 != touched {
            *entry = (touched, now);
        }
        now.duration_since(entry.1) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stillness_counts() {
        let (id, start, touched) = (RunId::of("{}", ""), Instant::now(), SystemTime::UNIX_EPOCH);
        let mut patience = Patience::new(Duration::from_mins(1));
        // (attempt, second of the touch by the other clock, second by ours) -> stale
        for (number, touch, now, stale) in [
            (1, 1000, 0, false),
            (1, 1000, 59, false),
            (1, 1005, 59, false),
            (1, 1005, 118, false),
            (1, 1005, 119, true),
            (1, 0, 120, false), // touched again, with a clock that was set back
            (2, 1005, 500, false),
            (2, 1005, 560, true),
        ] {
            let at = touched + Duration::from_secs(touch);
            assert_eq!(
                patience.is_stale(&id, number, at, start + Duration::from_secs(now)),
                stale,
                "{number} {now}"
            );
        }
    }
}
