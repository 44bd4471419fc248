//! Stable, then down.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    Specification,
    decay::{Shape, decay},
};
use crate::{Error, Every, Horizon, Problem, Schedule, Span, check};

/// `wsd = { cooldown = "20%" }`: stable, then down (warm-up–stable–decay together with `warmup`).
///
/// The rate is the base rate until `cooldown` before the end of the run, and then `eta_min + (base − eta_min) shape(p)`, where
/// p goes from 0 to 1 and [`Cooldown`] lists the shapes. After the end it holds `eta_min`. A cooldown longer than the run is
/// shortened to the run. Source of the default cooldown and of most shapes: Hägele et al., "Scaling laws and compute-optimal
/// training beyond fixed training durations", `NeurIPS` 2024; `exponential_to_zero` is Megatron-LM's `exponential` and, with
/// `ratio`, timm's `exp`; `one_minus_power` is timm's `power`.
///
/// With a stable phase that falls, as timm's `stable_fn`, it is `chained` after [`InverseTimeSpec`](crate::InverseTimeSpec).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct WsdSpec {
    /// Length of the descent at the end of the run, > 0; default `"20%"`.
    pub cooldown: Span,
    /// Its shape; default `one_minus_sqrt`.
    pub shape: Cooldown,
    /// The rate at the end, 0 … 1e30; default 0.
    pub eta_min: f64,
    /// The exponent of `one_minus_power`, above 0; default 0.5. Only with that shape.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub power: Option<f64>,
    /// How far `exponential_to_zero` falls before it is stretched to 0, above 0 and below 1; default 0.5. Only with that shape.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub ratio: Option<f64>,
}

/// The shape of a [`WsdSpec`]'s cooldown; p goes from 0 to 1.
///
/// Sources: Hägele et al., `NeurIPS` 2024 (`wsd_schedule` of epfml/schedules-and-scaling: `linear`, `cosine`, `sqrt`, `square`,
/// `miror_cosine`, `exp`), Megatron-LM (`lr_wsd_decay_style`: `linear`, `cosine`, `minus_sqrt`, `exponential`, which is
/// [`Cooldown::ExponentialToZero`]) and timm's `WSDLRScheduler` (`linear`, `1-sqrt`, `cosine`, `power`, `exp`, which is
/// [`Cooldown::ExponentialToZero`] with its `decay_ratio` as `ratio`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cooldown {
    /// `1 − p`.
    Linear,
    /// `(1 + cos(π p)) / 2`.
    Cosine,
    /// `1 − √p`.
    #[default]
    OneMinusSqrt,
    /// `1 − p²`.
    OneMinusSquare,
    /// `2 (1 − p) − (1 + cos(π p)) / 2`: the cosine mirrored at the straight line.
    MirrorCosine,
    /// `lr = base^(1 − p) · eta_min^p`, a factor per update; needs an `eta_min` above 0.
    Exponential,
    /// `(r^p − r) / (1 − r)`, r the `ratio`; `2 · 0.5^p − 1` by default.
    ExponentialToZero,
    /// `1 − p^k`, k the `power`.
    OneMinusPower,
}

/// The default of `power` and of `ratio`.
const HALF: f64 = 0.5;

impl Default for WsdSpec {
    fn default() -> Self {
        Self {
            cooldown: Span::Fraction(0.2),
            shape: Cooldown::OneMinusSqrt,
            eta_min: 0.0,
            power: None,
            ratio: None,
        }
    }
}

impl Specification for WsdSpec {
    fn check(&self) -> Result<(), Error> {
        check::length("cooldown", self.cooldown)?;
        check::rate("eta_min", self.eta_min)?;
        let accepted = self.shape != Cooldown::Exponential || self.eta_min > 0.0;
        check::range(
            "eta_min",
            self.eta_min,
            accepted,
            "a number above 0, which the exponential shape requires",
        )?;
        for (key, value, shape, name) in [
            ("power", self.power, Cooldown::OneMinusPower, "one_minus_power"),
            ("ratio", self.ratio, Cooldown::ExponentialToZero, "exponential_to_zero"),
        ] {
            if value.is_some() && self.shape != shape {
                let message = format!("`{key}` belongs to `shape = \"{name}\"`");
                return Err(Error::new(key, Problem::Syntax { message }));
            }
        }
        check::positive("power", self.power.unwrap_or(HALF))?;
        let ratio = self.ratio.unwrap_or(HALF);
        check::range("ratio", ratio, ratio > 0.0 && ratio < 1.0, "a number above 0 and below 1")
    }

    fn build(&self, run: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        let shape = match self.shape {
            Cooldown::Linear => Shape::Power(1.0),
            Cooldown::Cosine => Shape::Cosine,
            Cooldown::OneMinusSqrt => Shape::OneMinusSqrt,
            Cooldown::OneMinusSquare => Shape::OneMinusSquare,
            Cooldown::MirrorCosine => Shape::MirrorCosine,
            Cooldown::Exponential => Shape::Geometric,
            Cooldown::ExponentialToZero => match self.ratio {
                None | Some(HALF) => Shape::Halving,
                Some(ratio) => Shape::ToRatio(ratio),
            },
            Cooldown::OneMinusPower => Shape::OneMinusPower(self.power.unwrap_or(HALF)),
        };
        let end = run.updates as f64;
        let length = self.cooldown.resolve(run).min(end);
        let simple = decay(self.cooldown, self.eta_min, shape, Every::Update, run);
        Ok(Box::new(simple.within(end - length, length)))
    }
}
