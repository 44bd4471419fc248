//! Controllers as data, externally tagged: `plateau = { … }`.

#[cfg(feature = "schemars")]
use schemars::JsonSchema;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::{
    AnyController, AutoLrs, BoldDriver, Controlled, Error, Greedy, NewBob, NoiseAwarePlateau, Plateau,
    Scripted,
};

/// A controller as data.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "schemars", derive(JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ControllerSpec {
    /// Cuts when the metric no longer improves.
    Plateau(Plateau),
    /// Cuts when the metric no longer improves by more than its noise.
    NoiseAwarePlateau(NoiseAwarePlateau),
    /// Raises while the metric improves, and lowers otherwise.
    Greedy(Greedy),
    /// Cuts when the metric hardly improves on the previous one.
    NewBob(NewBob),
    /// Raises after each improvement; cuts and restores the best state otherwise.
    BoldDriver(BoldDriver),
    /// Tries several gains and continues with the best.
    AutoLrs(AutoLrs),
    /// Applies predetermined gains.
    Scripted(Scripted),
}

macro_rules! controllers {
    ($($controller:ident = $name:literal),* $(,)?) => {
        impl ControllerSpec {
            /// Returns the name in experiment files.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$controller(_) => $name),* }
            }

            /// Checks every value.
            ///
            /// # Errors
            /// Returns an error with the keys of the first value outside its range.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$controller(controller) => controller.check()),* }
                    .map_err(|error| error.under(self.name()))
            }

            /// Creates the controller with its initial state.
            ///
            /// # Errors
            /// Returns the error of [`ControllerSpec::check`].
            pub fn build(&self) -> Result<Box<dyn AnyController>, Error> {
                self.check()?;
                Ok(match self {
                    $(Self::$controller(controller) => Box::new(Controlled::new(controller.clone()))),*
                })
            }
        }
        $(#[cfg(not(feature = "serde"))]
        impl crate::controlled::SavedState for <$controller as crate::Controller>::State {})*
        $(impl From<$controller> for ControllerSpec {
            fn from(controller: $controller) -> Self {
                Self::$controller(controller)
            }
        })*
    };
}

controllers! {
    Plateau = "plateau",
    NoiseAwarePlateau = "noise_aware_plateau",
    Greedy = "greedy",
    NewBob = "new_bob",
    BoldDriver = "bold_driver",
    AutoLrs = "auto_lrs",
    Scripted = "scripted",
}
