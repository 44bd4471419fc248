//! Combinators of schedules.
//!
//! A schedule is a function from a base rate and a time to a rate, so composition is composition of functions: it
//! is total, and it nests. Times are in updates here; experiment files say the same with lengths that carry their
//! unit (`sequential`, `chained`, `clamp`, `scale`, `delay`, `repeat`, `min`, `max`, `sum`, `floor`, `warmup`).
//!
//! Property tests check these laws:
//!
//! - `then` is associative with shifted times: `a.then(s, b).then(s + t, c) = a.then(s, b.then(t, c))`.
//! - `over` is associative, and `fixed()` is neutral on both sides.
//! - `min` and `max` are commutative, associative and idempotent; `clamp(l, h)` is `min` of `h` after `max` of `l`.
//! - `plus` is commutative, and `a.plus(a)` is `a.scale(2)`.
//! - `delay(0)`, `scale(1)` and `above(0)` change nothing; `delay(s).delay(t) = delay(s + t)`.
//! - `repeat(p)` has period p and agrees with the schedule on its first period.

use std::sync::Arc;

use crate::{Mark, MarkKind, Schedule, Time, check::saturate, schedules::MOST_MARKS};

/// Combinators for every schedule.
///
/// ```
/// use lrlab_schedulers::{Compose, CosineSpec, Horizon, Schedule, ScheduleSpec, lambda};
/// let run = Horizon { updates: 100, updates_per_epoch: 10 };
/// let cosine = ScheduleSpec::from(CosineSpec { eta_min: 0.01, ..CosineSpec::default() }).build(&run)?;
/// // A linear warm-up of ten updates over the cosine does not change `eta_min`.
/// let schedule = lambda(|at| (at.update as f64 / 10.0).min(1.0)).over(cosine);
/// assert_eq!(schedule.lr(0.1, run.at(0)), 0.0);
/// assert_eq!(schedule.lr(0.1, run.at(100)), 0.01);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
pub trait Compose: Schedule + Sized {
    /// Applies this schedule before update `at`, and from then on `next`, whose time starts at `at`.
    fn then<B: Schedule>(self, at: u64, next: B) -> Then<Self, B> {
        Then { first: self, at, next }
    }

    /// Applies this schedule to the rate of `inner`: `self(inner(base, t), t)`, for example a warm-up over a schedule.
    fn over<B: Schedule>(self, inner: B) -> Over<Self, B> {
        Over { outer: self, inner }
    }

    /// Limits the rate to `low … high`. If `low > high`, the rate is `high`.
    fn clamp(self, low: f64, high: f64) -> Clamp<Self> {
        Clamp { of: self, low, high }
    }

    /// Multiplies the rate by `by`.
    fn scale(self, by: f64) -> Scale<Self> {
        Scale { of: self, by }
    }

    /// Delays this schedule by `by` updates, during which its first rate applies.
    fn delay(self, by: u64) -> Delay<Self> {
        Delay { of: self, by }
    }

    /// Restarts this schedule every `period` updates (at least 1).
    fn repeat(self, period: u64) -> Repeat<Self> {
        Repeat { of: self, period: period.max(1), decay: 1.0, limit: u64::MAX }
    }

    /// The sum of two rates.
    fn plus<B: Schedule>(self, other: B) -> Plus<Self, B> {
        Plus(self, other)
    }

    /// This schedule above a share of the base rate: `share · base + (1 − share) · self(base, t)`.
    fn above(self, share: f64) -> Above<Self> {
        Above { of: self, share }
    }

    /// The lower of two rates.
    fn min<B: Schedule>(self, other: B) -> Min<Self, B> {
        Min(self, other)
    }

    /// Returns the higher rate of two schedules.
    fn max<B: Schedule>(self, other: B) -> Max<Self, B> {
        Max(self, other)
    }
}

impl<S: Schedule> Compose for S {}

/// Implements [`Schedule`] for pointers to a schedule.
macro_rules! pointers {
    ($($pointer:ty),*) => {
        $(impl<S: Schedule + ?Sized> Schedule for $pointer {
            fn lr(&self, base: f64, at: Time) -> f64 {
                (**self).lr(base, at)
            }

            fn marks(&self) -> Vec<Mark> {
                (**self).marks()
            }
        })*
    };
}

pointers!(Box<S>, &S, Arc<S>);

/// See [`Compose::then`].
#[derive(Debug, Clone)]
pub struct Then<A, B> {
    first: A,
    at: u64,
    next: B,
}

impl<A: Schedule, B: Schedule> Schedule for Then<A, B> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        if at.update < self.at { self.first.lr(base, at) } else { self.next.lr(base, at.since(self.at)) }
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.first.marks();
        marks.retain(|mark| mark.update < self.at);
        marks.push(Mark { update: self.at, kind: MarkKind::Milestone });
        marks.extend(later(self.next.marks(), self.at));
        marks
    }
}

/// See [`Compose::over`].
#[derive(Debug, Clone)]
pub struct Over<A, B> {
    outer: A,
    inner: B,
}

impl<A: Schedule, B: Schedule> Schedule for Over<A, B> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.outer.lr(self.inner.lr(base, at), at)
    }

    fn marks(&self) -> Vec<Mark> {
        merged(self.outer.marks(), self.inner.marks())
    }
}

/// See [`Compose::clamp`].
#[derive(Debug, Clone)]
pub struct Clamp<S> {
    of: S,
    low: f64,
    high: f64,
}

impl<S: Schedule> Schedule for Clamp<S> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.of.lr(base, at).max(self.low).min(self.high)
    }

    fn marks(&self) -> Vec<Mark> {
        self.of.marks()
    }
}

/// See [`Compose::scale`].
#[derive(Debug, Clone)]
pub struct Scale<S> {
    of: S,
    by: f64,
}

impl<S: Schedule> Schedule for Scale<S> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        saturate(self.of.lr(base, at) * self.by)
    }

    fn marks(&self) -> Vec<Mark> {
        self.of.marks()
    }
}

/// See [`Compose::delay`].
#[derive(Debug, Clone)]
pub struct Delay<S> {
    of: S,
    by: u64,
}

impl<S: Schedule> Schedule for Delay<S> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.of.lr(base, at.since(self.by))
    }

    fn marks(&self) -> Vec<Mark> {
        later(self.of.marks(), self.by).collect()
    }
}

/// See [`Compose::repeat`].
#[derive(Debug, Clone)]
pub struct Repeat<S> {
    of: S,
    period: u64,
    decay: f64,
    limit: u64,
}

impl<S> Repeat<S> {
    /// Multiplies the base rate by `decay` from one period to the next.
    #[must_use]
    pub fn decay(self, decay: f64) -> Self {
        Self { decay, ..self }
    }

    /// Limits the number of periods (at least 1), after which the last rate holds.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit: limit.max(1), ..self }
    }
}

impl<S: Schedule> Schedule for Repeat<S> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let n = (at.update / self.period).min(self.limit - 1);
        let mut time = at.since(n * self.period);
        if time.update > self.period {
            time = time.rescaled(self.period);
        }
        let base = if n == 0 { base } else { saturate(base * saturate(libm::pow(self.decay, n as f64))) };
        self.of.lr(base, time)
    }

    fn marks(&self) -> Vec<Mark> {
        // The marks of a period, without those at its start, which the restart replaces.
        let inner: Vec<Mark> = self.of.marks();
        let within = inner.into_iter().filter(|mark| 0 < mark.update && mark.update < self.period);
        let within: Vec<Mark> = within.collect();
        let period = |n: u64| {
            let start = n.checked_mul(self.period)?;
            let restart = (n > 0).then_some(Mark { update: start, kind: MarkKind::Restart });
            let later = within.iter().filter_map(move |mark| {
                Some(Mark { update: start.checked_add(mark.update)?, kind: mark.kind })
            });
            Some(restart.into_iter().chain(later))
        };
        (0..self.limit).map_while(period).flatten().take(MOST_MARKS).collect()
    }
}

/// See [`Compose::plus`].
#[derive(Debug, Clone)]
pub struct Plus<A, B>(A, B);

impl<A: Schedule, B: Schedule> Schedule for Plus<A, B> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        saturate(self.0.lr(base, at) + self.1.lr(base, at))
    }

    fn marks(&self) -> Vec<Mark> {
        merged(self.0.marks(), self.1.marks())
    }
}

/// See [`Compose::above`].
#[derive(Debug, Clone)]
pub struct Above<S> {
    of: S,
    share: f64,
}

impl<S: Schedule> Schedule for Above<S> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let lr = self.of.lr(base, at);
        // The base rate itself, which the sum may miss by rounding.
        if lr == base { base } else { saturate(self.share * base + (1.0 - self.share) * lr) }
    }

    fn marks(&self) -> Vec<Mark> {
        self.of.marks()
    }
}

/// See [`Compose::min`].
#[derive(Debug, Clone)]
pub struct Min<A, B>(A, B);

impl<A: Schedule, B: Schedule> Schedule for Min<A, B> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.0.lr(base, at).min(self.1.lr(base, at))
    }

    fn marks(&self) -> Vec<Mark> {
        merged(self.0.marks(), self.1.marks())
    }
}

/// See [`Compose::max`].
#[derive(Debug, Clone)]
pub struct Max<A, B>(A, B);

impl<A: Schedule, B: Schedule> Schedule for Max<A, B> {
    fn lr(&self, base: f64, at: Time) -> f64 {
        self.0.lr(base, at).max(self.1.lr(base, at))
    }

    fn marks(&self) -> Vec<Mark> {
        merged(self.0.marks(), self.1.marks())
    }
}

fn later(marks: Vec<Mark>, by: u64) -> impl Iterator<Item = Mark> {
    marks.into_iter().filter_map(move |mark| Some(Mark { update: mark.update.checked_add(by)?, ..mark }))
}

fn merged(mut a: Vec<Mark>, b: Vec<Mark>) -> Vec<Mark> {
    a.extend(b);
    a.sort_by_key(|mark| mark.update);
    a.dedup();
    a
}
