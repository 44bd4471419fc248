//! Devices, their memory and the time that they spend.

mod usage;

use candle_core::{Device, Result};

pub use usage::{DeviceMemory, DeviceTime};

/// Returns the time that this crate's kernels took on a GPU since the last call, the longest first; empty without
/// `LRLAB_CUDA_TIMES=on`.
#[must_use]
pub fn take_device_times() -> Vec<DeviceTime> {
    #[cfg(feature = "cuda")]
    return crate::cuda::take_times();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// Opens an NVIDIA GPU for training. All threads share one stream, and the process keeps freed memory for reuse.
/// [`candle_core::Device::new_cuda`] gives each thread its own stream, which is not safe if a thread reads tensors that
/// another one is still computing.
///
/// # Errors
/// Returns an error if there is no such GPU, or this build has no support for it.
pub fn open_cuda(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return crate::cuda::open(ordinal);
    #[cfg(not(feature = "cuda"))]
    Device::new_cuda(ordinal)
}

/// Returns a device's memory; `None` except on NVIDIA GPUs in a build with the feature `cuda`.
#[must_use]
pub fn device_memory(device: &Device) -> Option<DeviceMemory> {
    #[cfg(feature = "cuda")]
    return crate::cuda::memory(device);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}

/// Returns the driver's name of a GPU; `None` except on NVIDIA GPUs in a build with the feature `cuda`. cuBLAS chooses its kernels by the model, so the last bits of
/// products depend on it.
#[must_use]
pub fn device_name(device: &Device) -> Option<String> {
    #[cfg(feature = "cuda")]
    return crate::cuda::name(device);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}
