//! Checks that the device works, and describes it.

use std::process::Command;

use candle_core::{DType, Device, Tensor};

use super::compare::tf32;
use super::verdict::Verdict;
use crate::device;

/// Checks that the device computes a sum, and describes the device.
pub(super) fn describe(device: &Device) -> Verdict {
    let sum = || Tensor::ones(1000, DType::F32, device)?.sum_all()?.to_scalar::<f32>();
    match sum() {
        Ok(1000.0) => {}
        Ok(other) => return Verdict::failed(format!("a sum of 1000 ones is {other}")),
        Err(error) => return Verdict::failed(error.to_string()),
    }
    let mut words = vec![device::choice(device).to_string()];
    match device {
        Device::Cpu => {
            let machine = lrlab_grid::Machine::detect();
            words.push(format!("{} cores", machine.cores));
            words.extend(machine.memory.map(|bytes| format!("{} MiB free", bytes >> 20)));
        }
        Device::Cuda(_) => {
            words.push(nvidia(device).unwrap_or_else(|| "nvidia-smi is not available".to_owned()));
            let memory = lrlab_kernels::device_memory(device);
            words
                .extend(memory.map(|memory| format!("{} of {} MiB free", memory.free_mib, memory.total_mib)));
        }
        Device::Metal(_) => {}
    }
    words.push(format!("numerics {}", crate::provenance::numerics(device)));
    words.push(format!("features {}", features()));
    if device.is_cuda() {
        words.push(format!("TF32 {}", if tf32(device) { "on" } else { "off" }));
    }
    Verdict::passed(words.join(", "))
}

/// Returns the features of this build.
fn features() -> String {
    let all = [
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ];
    let on: Vec<&str> = all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    if on.is_empty() { "none".to_owned() } else { on.join("+") }
}

/// Returns the name and the driver of the GPU.
fn nvidia(device: &Device) -> Option<String> {
    let candle_core::DeviceLocation::Cuda { gpu_id } = device.location() else { return None };
    // CUDA ordinals count only the GPUs that are visible to this process.
    let id = lrlab_grid::gpus().get(gpu_id)?.id.clone();
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=name,driver_version", "--format=csv,noheader", "-i", &id]);
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let [name, driver] = text.lines().next()?.split(',').map(str::trim).collect::<Vec<_>>()[..] else {
        return None;
    };
    Some(format!("{name}, driver {driver}"))
}
