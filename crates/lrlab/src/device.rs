//! Opens the device to train on.

use anyhow::Context;
use candle_core::{Device, DeviceLocation};
use lrlab_kernels::open_cuda;
use lrlab_options::DeviceChoice;

/// Opens the device. `Auto` tries CUDA, then Metal, then the CPU.
///
/// # Errors
/// The device does not exist, or this build does not support it.
pub(crate) fn open(choice: DeviceChoice) -> anyhow::Result<Device> {
    let lacks = |feature: &str| {
        anyhow::anyhow!(
            "this runner was built without support for {choice}; build one with \
             `cargo xtask build --device {feature}`"
        )
    };
    match choice {
        DeviceChoice::Auto => Ok(open_cuda(0).or_else(|_| Device::new_metal(0)).unwrap_or(Device::Cpu)),
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::AnyCuda | DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => Err(lacks("cuda")),
        DeviceChoice::Metal if !cfg!(feature = "metal") => Err(lacks("metal")),
        DeviceChoice::AnyCuda => {
            open_cuda(0).with_context(|| format!("cannot open {choice}: does this machine have a GPU?"))
        }
        DeviceChoice::Cuda(ordinal) => open_cuda(ordinal)
            .with_context(|| format!("failed to open {choice}: check that a GPU with this number exists")),
        DeviceChoice::Metal => Device::new_metal(0)
            .with_context(|| format!("cannot open {choice}: does this machine have an Apple GPU?")),
    }
}

/// Returns the choice that opens exactly this device: `cpu`, `cuda:0` or `metal`.
pub(crate) fn choice(device: &Device) -> DeviceChoice {
    match device.location() {
        DeviceLocation::Cpu => DeviceChoice::Cpu,
        DeviceLocation::Cuda { gpu_id } => DeviceChoice::Cuda(gpu_id),
        DeviceLocation::Metal { .. } => DeviceChoice::Metal,
    }
}
