//! What operators know of devices.

use candle_core::{Device, Result};

/// Memory of a GPU, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The most that this process reserved for tensors.
    pub peak_mib: u64,
    /// Free for any process.
    pub free_mib: u64,
    /// Of the whole device.
    pub total_mib: u64,
}

/// What one kind of kernel cost, waiting for it included.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTime {
    /// The kernel; of a convolution its shape, of a product its sizes.
    pub name: String,
    /// How often it ran.
    pub count: u64,
    /// Seconds of all of them.
    pub seconds: f64,
}

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
