//! Looks up the functions that a schedule names.

use crate::{Error, LambdaSpec, Lambdas, ScheduleSpec};

impl ScheduleSpec {
    /// Looks up the function of every nested [`LambdaSpec`] and sets its version.
    ///
    /// # Errors
    /// Returns an error if a function is not registered or has another version than the specification.
    pub fn bind(&mut self, lambdas: &Lambdas) -> Result<(), Error> {
        match self {
            Self::Lambda(spec) => spec.bind(lambdas),
            other => {
                let name = other.name();
                other
                    .parts_mut()
                    .into_iter()
                    .try_for_each(|part| part.bind(lambdas))
                    .map_err(|e| e.under(name))
            }
        }
    }

    /// Returns every nested [`LambdaSpec`].
    #[must_use]
    pub fn lambdas(&self) -> Vec<LambdaSpec> {
        match self.clone() {
            Self::Lambda(spec) => vec![spec],
            mut other => other.parts_mut().into_iter().flat_map(|part| part.lambdas()).collect(),
        }
    }

    /// Returns the schedules that this one combines.
    fn parts_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Warmup(spec) => vec![&mut *spec.then],
            Self::Sequential(spec) => spec.schedulers.iter_mut().collect(),
            Self::Chained(spec) => spec.schedulers.iter_mut().collect(),
            Self::Min(spec) => spec.schedulers.iter_mut().collect(),
            Self::Max(spec) => spec.schedulers.iter_mut().collect(),
            Self::Sum(spec) => spec.schedulers.iter_mut().collect(),
            Self::Floor(spec) => vec![&mut *spec.of],
            Self::Scale(spec) => vec![&mut *spec.of],
            Self::Clamp(spec) => vec![&mut *spec.of],
            Self::Delay(spec) => vec![&mut *spec.of],
            Self::Repeat(spec) => vec![&mut *spec.of],
            Self::Staircase(spec) => vec![&mut *spec.of],
            Self::Noise(spec) => vec![&mut *spec.of],
            Self::Swa(spec) => vec![&mut *spec.of],
            _ => Vec::new(),
        }
    }
}
