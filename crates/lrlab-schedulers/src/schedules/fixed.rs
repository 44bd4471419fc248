//! A fixed rate.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::Specification;
use crate::{Error, Horizon, Schedule, Time};

/// `static = {}`: a fixed rate, `lr(t) = base`.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StaticSpec {}

impl Specification for StaticSpec {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn build(&self, _: &Horizon) -> Result<Box<dyn Schedule>, Error> {
        Ok(Box::new(Static))
    }
}

#[derive(Debug)]
struct Static;

impl Schedule for Static {
    fn lr(&self, base: f64, _: Time) -> f64 {
        base
    }
}
