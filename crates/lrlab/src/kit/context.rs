//! Where checks are made.

use std::path::PathBuf;

use candle_core::Device;

use crate::DeviceChoice;

/// Where checks are made.
pub(crate) struct CheckContext {
    /// As the command line says it.
    pub(crate) choice: DeviceChoice,
    /// The same, opened.
    pub(crate) device: Device,
    /// For what is written on the way; shared by the checks of one call.
    pub(crate) folder: PathBuf,
}
