//! Memory and time that a device spends.

/// Memory of a GPU, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The largest amount that this process has reserved for tensors.
    pub peak_mib: u64,
    /// The memory that is free for any process.
    pub free_mib: u64,
    /// The device's total memory.
    pub total_mib: u64,
}

/// The time that one kind of kernel took, including the wait for its completion.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTime {
    /// The kernel's name; for a convolution its shape, for a product its sizes.
    pub name: String,
    /// The number of launches.
    pub count: u64,
    /// The total in seconds.
    pub seconds: f64,
}
