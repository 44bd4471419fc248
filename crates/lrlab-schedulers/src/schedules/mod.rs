//! The schedules, one family per file. Each has a public specification, with lengths as [`Span`](crate::Span)s, that builds
//! the private schedule, with lengths in updates.

mod compound;
mod cosine;
mod cycles;
mod decay;
mod exponential;
mod fixed;
mod inverse;
mod noise;
mod pieces;
mod restarts;
mod sqrt;
mod step;
mod swa;
mod warmup;
mod wsd;

pub use cosine::CosineSpec;
pub use cycles::{Anneal, CyclicMode, CyclicSpec, OneCycleSpec};
pub use decay::{LinearToZeroSpec, PolynomialSpec, Restarts, RexSpec, TanhSpec};
pub use exponential::ExponentialSpec;
pub use fixed::StaticSpec;
pub use inverse::{InverseTimeSpec, PowerSpec};
pub use pieces::{ConstantSpec, Interpolation, Knot, LinearSpec, MultiStepSpec, PiecewiseLinearSpec};
pub use restarts::CosineWarmRestartsSpec;
pub use sqrt::{InverseSqrtSpec, NoamSpec};
pub use step::StepSpec;
pub use wsd::{Cooldown, WsdSpec};

use crate::{Error, Horizon, Mark, MarkKind, Problem, Schedule, Span};

/// The operations of a specification. Paths in errors are relative to it.
pub(crate) trait Specification {
    /// Checks the ranges that do not depend on the run.
    fn check(&self) -> Result<(), Error>;

    /// Creates the schedule for a run with at least one update. [`Specification::check`] has succeeded.
    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error>;

    /// Returns whether the rates depend on the base rate.
    fn reads_base(&self) -> bool {
        true
    }
}

/// Checks a specification called `name` and creates its schedule.
pub(crate) fn build(spec: &dyn Specification, name: &str, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
    spec.check().map_err(|error| error.under(name))?;
    if run.updates == 0 || run.updates_per_epoch == 0 {
        return Err(Error::new(name, Problem::EmptyRun));
    }
    spec.build(run).map_err(|error| error.under(name))
}

/// The maximum number of marks of one kind, so that the marks of a run of 10¹⁸ updates fit in memory.
pub(crate) const MOST_MARKS: usize = 10_000;

/// Returns marks at increasing times, rounded up to updates, before `end`.
pub(crate) fn marks(moments: impl Iterator<Item = f64>, end: u64, kind: MarkKind) -> Vec<Mark> {
    let mut marks: Vec<Mark> = moments
        .map(|moment| Mark { update: moment.ceil() as u64, kind })
        .take_while(|mark| mark.update < end)
        .take(MOST_MARKS)
        .collect();
    marks.dedup();
    marks
}

/// Equal steps from update 0, of a length in updates that may be fractional.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stairs {
    pub(crate) size: f64,
}

impl Stairs {
    /// The first update of step `n`.
    pub(crate) fn start(self, n: f64) -> u64 {
        crate::time::snap(n * self.size).ceil() as u64
    }

    /// The number of the step that contains an update, from 0.
    pub(crate) fn number(self, update: u64) -> f64 {
        // The rounded quotient may be off by one, so it is compared with the starts.
        let n = (update as f64 / self.size).floor();
        [n + 1.0, n, n - 1.0].into_iter().find(|n| self.start(n.max(0.0)) <= update).unwrap_or(n)
    }

    /// The starts of all steps but the first, before `end`.
    pub(crate) fn marks(self, end: u64, kind: MarkKind) -> Vec<Mark> {
        marks((1_u64..).map(|n| crate::time::snap(n as f64 * self.size)), end, kind)
    }
}

pub(crate) fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_one(x: &f64) -> bool {
    *x == 1.0
}

/// Returns whether a field has its default, so that serialization omits it.
pub(crate) fn is_default<T: Default + PartialEq>(x: &T) -> bool {
    *x == T::default()
}

pub(crate) fn nothing() -> Span {
    Span::Updates(0)
}

/// Whether a moment is the default one, which files then leave out.
pub(crate) fn starts_at_once(span: &Span) -> bool {
    *span == nothing()
}

pub(crate) fn tenth() -> f64 {
    0.1
}
