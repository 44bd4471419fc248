//! Controllers as experiment files write them, externally tagged: `plateau = { … }`.

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
    /// Raises while it improves, lowers while it does not.
    Greedy(Greedy),
    /// Cuts when the metric has hardly improved on the one before.
    NewBob(NewBob),
    /// Raises after each improvement; cuts and goes back after each setback.
    BoldDriver(BoldDriver),
    /// Tries some gains out and goes on with the best.
    AutoLrs(AutoLrs),
    /// Gains that were settled before the run.
    Scripted(Scripted),
}

macro_rules! controllers {
    ($($controller:ident = $name:literal),* $(,)?) => {
        impl ControllerSpec {
            /// The name by which files call it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$controller(_) => $name),* }
            }

            /// Checks every value.
            ///
            /// # Errors
            /// The first value out of its range, with the keys that lead to it.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$controller(controller) => controller.check()),* }
                    .map_err(|error| error.under(self.name()))
            }

            /// The controller with its first state.
            ///
            /// # Errors
            /// What [`ControllerSpec::check`] finds.
            pub fn build(&self) -> Result<Box<dyn AnyController>, Error> {
                self.check()?;
                Ok(match self {
                    $(Self::$controller(controller) => Box::new(Controlled::new(controller.clone()))),*
                })
            }
        }
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
