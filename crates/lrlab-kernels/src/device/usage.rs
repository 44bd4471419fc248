//! Memory and time that a device spends.

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
