//! The context of a check.

use std::path::PathBuf;

use candle_core::Device;

use crate::DeviceChoice;

/// The device and folder that checks use.
pub(crate) struct CheckContext {
    /// The device as given on the command line.
    pub(crate) choice: DeviceChoice,
    /// The opened device.
    pub(crate) device: Device,
    /// The folder for temporary files, shared by the checks of one call.
    pub(crate) folder: PathBuf,
    /// The Python that may have PyTorch.
    pub(crate) python: PathBuf,
}
