//! The schedules, one family a file. Each has a specification (what experiment files hold; lengths are
//! [`Span`](crate::Span)s) that builds the resolved schedule (lengths in updates), which stays private.

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

use crate::{Error, Horizon, Mark, MarkKind, Schedule, Span};

/// What every specification does. Paths in errors begin at its own fields.
pub(crate) trait Plan {
    /// Ranges that need no run.
    fn check(&self) -> Result<(), Error>;

    /// The schedule for a run. Called after [`Plan::check`], with at least one update to come.
    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error>;

    /// Whether any of its rates depends on the base rate.
    fn reads_base(&self) -> bool {
        true
    }
}

/// Most marks of one kind that a schedule reports, so that a run of 10¹⁸ updates does not fill the memory.
pub(crate) const MOST_MARKS: usize = 10_000;

/// Marks at growing moments, rounded up to updates, until the run ends.
pub(crate) fn marks(moments: impl Iterator<Item = f64>, end: u64, kind: MarkKind) -> Vec<Mark> {
    let mut marks: Vec<Mark> = moments
        .map(|moment| Mark { update: moment.ceil() as u64, kind })
        .take_while(|mark| mark.update < end)
        .take(MOST_MARKS)
        .collect();
    marks.dedup();
    marks
}

pub(crate) fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(crate) fn is_one(x: &f64) -> bool {
    *x == 1.0
}

/// Whether a field has its default, which files then leave out.
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
