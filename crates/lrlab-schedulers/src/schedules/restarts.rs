//! Cosine annealing with warm restarts.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    MOST_MARKS, Specification,
    cosine::{from_to, share_of_power},
    is_one, marks, one,
};
use crate::{
    Error, Every, Horizon, Mark, MarkKind, Schedule, Span, Time, check,
    time::{Clock, snap},
};

/// `cosine_warm_restarts = { t_0 = "10 epochs", t_mult = 2 }`: SGDR.
///
/// Cycle i = 0, 1, … lasts `T_i = t_0 · t_mult^i` and falls from `base · decay^i` to `eta_min`:
/// `lr = eta_min + (base · decay^i − eta_min) (1 + cos(π T_cur / T_i)) / 2`, where `T_cur` is the number of updates in the
/// cycle. After `limit` cycles it holds `eta_min`. The peak of a cycle is at least `eta_min`; with a `decay` above 1 the peaks
/// grow. With `k_decay` the argument of the cosine is `π (T_cur / T_i)^k_decay`. Source: Loshchilov and Hutter, ICLR 2017,
/// equation 5; `decay`, `limit` and `k_decay` as timm's `cycle_decay`, `cycle_limit` and `k_decay`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct CosineWarmRestartsSpec {
    /// Length of the first cycle, > 0.
    pub t_0: Span,
    /// Each cycle's length over the one before, 1 … 1e6, not necessarily whole, or with a `limit` from 1e-6; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub t_mult: f64,
    /// The rate at the end of a cycle, 0 … 1e30; default 0.
    #[cfg_attr(feature = "serde", serde(default))]
    pub eta_min: f64,
    /// Ratio of the peaks of consecutive cycles, 0 … 1e30; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub decay: f64,
    /// Number of cycles, ≥ 1; default: no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub limit: Option<u32>,
    /// How often the rate changes; default `update`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub every: Every,
    /// Exponent of the elapsed share of a cycle, above 0; default 1.
    #[cfg_attr(feature = "serde", serde(default = "one", skip_serializing_if = "is_one"))]
    pub k_decay: f64,
}

impl Specification for CosineWarmRestartsSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("t_0", self.t_0)?;
        check_growth(self.t_mult, self.limit)?;
        check::rate("eta_min", self.eta_min)?;
        check::rate("decay", self.decay)?;
        check::positive("k_decay", self.k_decay)?;
        let limit = self.limit.unwrap_or(1);
        check::range("limit", f64::from(limit), limit >= 1, "at least 1")
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(CosineWarmRestarts {
            cycles: Cycles { first: self.t_0.resolve(run), factor: self.t_mult },
            eta_min: self.eta_min,
            decay: self.decay,
            limit: self.limit.map_or(f64::INFINITY, f64::from),
            k_decay: self.k_decay,
            clock: Clock::new(self.every, run),
            end: run.updates,
        }))
    }
}

impl CosineWarmRestartsSpec {
    /// Returns the index of the cycle that contains an update, and the elapsed share of the cycle.
    pub(crate) fn position(&self, update: u64, run: &Horizon) -> (f64, f64) {
        let cycles = Cycles { first: self.t_0.resolve(run), factor: self.t_mult };
        let (n, start, end) = cycles.find(update as f64);
        (n, (update as f64 - start) / (end - start))
    }
}

/// The growth of cycles. Those that shrink have to be counted: without end they never leave a bounded time.
pub(crate) fn check_growth(t_mult: f64, limit: Option<u32>) -> Result<(), Error> {
    let least = if limit.is_some() { 1e-6 } else { 1.0 };
    let expected = "a number from 1 to 1e6, or from 1e-6 with a limit";
    check::range("t_mult", t_mult, (least..=1e6).contains(&t_mult), expected)
}

/// Cycles of lengths that grow or shrink geometrically.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cycles {
    /// Length of the first cycle in updates.
    pub(crate) first: f64,
    /// Growth from one to the next, above 0.
    pub(crate) factor: f64,
}

impl Cycles {
    /// Returns the start of cycle n: `first · (factor^n − 1) / (factor − 1)`.
    pub(crate) fn start(&self, n: f64) -> f64 {
        let growth = self.factor - 1.0;
        let cycles = if growth == 0.0 {
            n
        } else if growth < 1e-3 {
            libm::expm1(n * libm::log1p(growth)) / growth
        } else {
            (libm::pow(self.factor, n) - 1.0) / growth
        };
        snap(self.first * cycles)
    }

    /// Returns the index of the cycle that contains `t`, and its start and end. The rounded logarithm may be off by one, as in
    /// PyTorch, which misses restarts; therefore it is compared with the starts.
    pub(crate) fn find(&self, t: f64) -> (f64, f64, f64) {
        let growth = self.factor - 1.0;
        let ratio = t / self.first;
        if ratio * growth <= -1.0 {
            // Past all cycles that shrink.
            return (f64::INFINITY, t, t);
        }
        let guess = if growth == 0.0 { ratio } else { libm::log1p(ratio * growth) / libm::log1p(growth) };
        let mut n = guess.floor().max(0.0);
        for _ in 0..4 {
            if n > 0.0 && self.start(n) > t {
                n -= 1.0;
            } else if self.start(n + 1.0) <= t {
                n += 1.0;
            }
        }
        (n, self.start(n), self.start(n + 1.0))
    }
}

#[derive(Debug)]
struct CosineWarmRestarts {
    cycles: Cycles,
    eta_min: f64,
    decay: f64,
    limit: f64,
    k_decay: f64,
    clock: Clock,
    end: u64,
}

/// Returns the peak of cycle `n`: `base · decay^n`, but at least the smaller of `eta_min` and `base`.
pub(crate) fn top(base: f64, decay: f64, n: f64, eta_min: f64) -> f64 {
    if decay == 1.0 || n == 0.0 {
        base
    } else {
        check::saturate(base * check::saturate(libm::pow(decay, n))).max(eta_min.min(base))
    }
}

impl Schedule for CosineWarmRestarts {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let t = self.clock.updates(at);
        let (n, start, end) = self.cycles.find(t);
        if n >= self.limit {
            return self.eta_min;
        }
        let top = top(base, self.decay, n, self.eta_min);
        from_to(top, self.eta_min, share_of_power(t - start, end - start, self.k_decay))
    }

    fn marks(&self) -> Vec<Mark> {
        let last = self.limit.min(MOST_MARKS as f64) as u64;
        let starts = (1..last).map(|n| self.clock.reaches(self.cycles.start(n as f64)));
        let mut all = marks(starts, self.end, MarkKind::Restart);
        if self.limit.is_finite() {
            let end = self.clock.reaches(self.cycles.start(self.limit));
            all.extend(marks(std::iter::once(end), self.end.saturating_add(1), MarkKind::End));
        }
        all
    }
}
