//! The device to train on.

use std::str::FromStr;

use candle_core::{Device, DeviceLocation};
use lrlab_kernels::open_cuda;

/// `auto | cpu | cuda[:N] | metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best device available.
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPUs; each run uses one of them.
    AnyCuda,
    /// An NVIDIA GPU, by ordinal.
    Cuda(usize),
    /// The Apple GPU.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "metal" => Ok(Self::Metal),
            "cuda" => Ok(Self::AnyCuda),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| {
                    format!("{text:?} is not a device: expected auto, cpu, cuda, cuda:N or metal")
                }),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::AnyCuda => f.write_str("cuda"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device. `Auto` tries CUDA, then Metal, then the CPU.
    ///
    /// # Errors
    /// The device does not exist, or this build does not support it.
    pub fn open(self) -> anyhow::Result<Device> {
        use anyhow::Context;
        let lacks = |feature: &str| {
            anyhow::anyhow!(
                "this runner was built without support for {self}; build one with \
                 `cargo xtask build --device {feature}`"
            )
        };
        match self {
            Self::Auto => Ok(open_cuda(0).or_else(|_| Device::new_metal(0)).unwrap_or(Device::Cpu)),
            Self::Cpu => Ok(Device::Cpu),
            Self::AnyCuda | Self::Cuda(_) if !cfg!(feature = "cuda") => Err(lacks("cuda")),
            Self::Metal if !cfg!(feature = "metal") => Err(lacks("metal")),
            Self::AnyCuda => {
                open_cuda(0).with_context(|| format!("cannot open {self}: does this machine have a GPU?"))
            }
            Self::Cuda(ordinal) => open_cuda(ordinal)
                .with_context(|| format!("failed to open {self}: check that a GPU with this number exists")),
            Self::Metal => Device::new_metal(0)
                .with_context(|| format!("cannot open {self}: does this machine have an Apple GPU?")),
        }
    }
}

/// Returns the choice that opens exactly this device: `cpu`, `cuda:0` or `metal`.
impl From<&Device> for DeviceChoice {
    fn from(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cpu => Self::Cpu,
            DeviceLocation::Cuda { gpu_id } => Self::Cuda(gpu_id),
            DeviceLocation::Metal { .. } => Self::Metal,
        }
    }
}
