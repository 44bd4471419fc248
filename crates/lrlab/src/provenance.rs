//! Where a result comes from: versions, source, machine, numerics.

use std::collections::BTreeMap;

use candle_core::Device;
use lrlab_data::Dataset;
use lrlab_runs::Provenance;

/// What is known about this build, this machine and these data.
pub(crate) fn of(device: &Device, threads: usize, data: &Dataset) -> Provenance {
    Provenance {
        versions: versions(),
        commit: option_env!("LRLAB_COMMIT").map(str::to_owned),
        dirty: option_env!("LRLAB_DIRTY").map(|dirty| dirty == "true"),
        device: crate::device::name(device),
        host: host(),
        threads,
        dataset_digest: data.digest.clone(),
        dataset: data.name.clone(),
        dataset_notes: data.notes.clone(),
        parameters: 0,
        numerics: numerics(device),
    }
}

/// The class within which equal specifications give equal bits: device kind, SIMD level, the caches that
/// matrix products are blocked by, element type.
pub(crate) fn numerics(device: &Device) -> String {
    match device {
        Device::Cpu => format!("cpu/{}/f32", lrlab_kernels::numerics_class()),
        Device::Cuda(_) => "cuda/f32".to_owned(),
        Device::Metal(_) => "metal/f32".to_owned(),
    }
}

fn versions() -> BTreeMap<String, String> {
    [
        ("lrlab", env!("CARGO_PKG_VERSION")),
        ("candle", env!("LRLAB_CANDLE_VERSION")),
        ("rustc", env!("LRLAB_RUSTC_VERSION")),
    ]
    .map(|(name, version)| (name.to_owned(), version.to_owned()))
    .into()
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}
