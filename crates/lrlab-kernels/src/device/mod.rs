//! What operators know of devices.

mod usage;

use candle_core::{Device, Result};

pub use usage::{DeviceMemory, DeviceTime};

/// What this crate's kernels cost on a GPU since the last call, the dearest first; nothing without `LRLAB_CUDA_TIMES=on`.
#[must_use]
pub fn take_device_times() -> Vec<DeviceTime> {
    #[cfg(feature = "cuda")]
    return crate::cuda::take_times();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// Opens an NVIDIA GPU for training: one stream for everything, whichever thread asks, and memory that stays with the
/// process between uses. With [`candle_core::Device::new_cuda`] each thread has a stream of its own, which is not safe
/// where a thread reads tensors that another one still computes.
///
/// # Errors
/// There is no such GPU, or this build has no support for it.
pub fn open_cuda(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return crate::cuda::open(ordinal);
    #[cfg(not(feature = "cuda"))]
    Device::new_cuda(ordinal)
}

/// What is known of a device's memory; `None` on the CPU.
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

/// What the driver calls a GPU; `None` on the CPU. Which kernels cuBLAS takes, and so the last bits of products, depend
/// on it.
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
