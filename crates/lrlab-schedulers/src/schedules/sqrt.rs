//! Schedules that fall with the inverse square root of time.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{Specification, marks, nothing, starts_at_once};
use crate::{Error, Horizon, Mark, MarkKind, Schedule, Span, Time, check};

/// `inverse_sqrt = { timescale = "500 updates" }`: `lr(t) = base · √(timescale / max(t, timescale))`, t in updates.
///
/// With `shift` it is `base · √(timescale / max(t + shift, timescale))`: with a `shift` of `timescale`, the rate falls from
/// the first update. The schedule has no end. `warmup = { over = timescale, clock = "shared", then = … }` gives the schedule
/// of fairseq, and `shift = timescale` after the warm-up that of transformers with an explicit `timescale`. Source: Raffel et
/// al., JMLR 2020, section 3.1.2; `shift` as in `big_vision` and transformers' `get_inverse_sqrt_schedule`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct InverseSqrtSpec {
    /// How long the base rate holds, > 0.
    pub timescale: Span,
    /// How much earlier the fall begins; default 0.
    #[cfg_attr(feature = "serde", serde(default = "nothing", skip_serializing_if = "starts_at_once"))]
    pub shift: Span,
}

/// `noam = { d_model = 512, warmup = "4000 updates" }`: the schedule of "Attention is all you need".
///
/// `lr(t) = base · d_model^(−1/2) · min(s^(−1/2), s · warmup^(−3/2))` with `s = t + 1`, t in updates. The schedule has no
/// end. The base rate is a factor, 1 in the paper. Source: Vaswani et al., `NeurIPS` 2017, equation 3.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct NoamSpec {
    /// Width of the model, ≥ 1.
    pub d_model: u32,
    /// Length of the linear rise, > 0.
    pub warmup: Span,
}

impl Specification for InverseSqrtSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("timescale", self.timescale)?;
        check::moment("shift", self.shift)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let (timescale, shift) = (self.timescale.resolve(run), self.shift.resolve(run));
        Ok(Box::new(InverseSqrt { timescale, shift, end: run.updates }))
    }
}

#[derive(Debug)]
struct InverseSqrt {
    timescale: f64,
    shift: f64,
    end: u64,
}

impl Schedule for InverseSqrt {
    fn lr(&self, base: f64, at: Time) -> f64 {
        base * (self.timescale / self.timescale.max(at.update as f64 + self.shift)).sqrt()
    }

    fn marks(&self) -> Vec<Mark> {
        let start = std::iter::once(self.timescale - self.shift).filter(|&moment| moment > 0.0);
        marks(start, self.end, MarkKind::Milestone)
    }
}

impl Specification for NoamSpec {
    fn check(&self) -> Result<(), Error> {
        check::range("d_model", f64::from(self.d_model), self.d_model >= 1, "at least 1")?;
        check::length("warmup", self.warmup)
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let (warmup, scale) = (self.warmup.resolve(run), 1.0 / f64::from(self.d_model).sqrt());
        Ok(Box::new(Noam { scale, warmup, end: run.updates }))
    }
}

#[derive(Debug)]
struct Noam {
    scale: f64,
    warmup: f64,
    end: u64,
}

impl Schedule for Noam {
    fn lr(&self, base: f64, at: Time) -> f64 {
        let s = at.update as f64 + 1.0;
        check::saturate(
            base * self.scale * libm::pow(s, -0.5).min(check::saturate(s * libm::pow(self.warmup, -1.5))),
        )
    }

    fn marks(&self) -> Vec<Mark> {
        marks(std::iter::once(self.warmup), self.end, MarkKind::Milestone)
    }
}
