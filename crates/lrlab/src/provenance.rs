//! The origin of a result: versions, source, machine, numerics.

use crate::device;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::Context;
use candle_core::Device;
use lrlab_data::Dataset;
use lrlab_runs::{Provenance, RunStore};

/// Describes this build, this machine and the data.
pub(crate) fn of(device: &Device, threads: usize, data: &Dataset) -> Provenance {
    Provenance {
        versions: versions(),
        build: build(),
        commit: option_env!("LRLAB_COMMIT").map(str::to_owned),
        dirty: option_env!("LRLAB_DIRTY").map(|dirty| dirty == "true"),
        device: device::choice(device).to_string(),
        host: lrlab_grid::host(),
        threads,
        dataset_digest: data.digest.clone(),
        dataset: data.name.clone(),
        dataset_notes: data.notes.clone(),
        parameters: 0,
        numerics: numerics(device),
        registered: Vec::new(),
        continued: None,
    }
}

/// Describes the results whose numerics class differs from `class`, one line per class: `this device has` it, or whatever
/// `holder` says. `results` contains classes and their numbers of results; `all` is the total number of results.
pub(crate) fn other_numerics<'a>(
    results: impl Iterator<Item = (&'a str, usize)>,
    all: usize,
    holder: &str,
    class: &str,
) -> Vec<String> {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for (other, count) in results.filter(|(other, _)| *other != class) {
        *others.entry(other).or_default() += count;
    }
    let describe = |(other, count): (&str, usize)| {
        format!(
            "{count} of {all} results have the numerics class {other:?}, {holder} {class:?}: equal bits are not \
             guaranteed across the two"
        )
    };
    others.into_iter().map(describe).collect()
}

/// Returns the class within which equal specifications give equal bits: the kind of device and its arithmetic, and on
/// NVIDIA GPUs also the name of the GPU, as in `cpu/f32/1` or `cuda/NAME/tf32/1`. The precision of products is part of the specification.
pub(crate) fn numerics(device: &Device) -> String {
    match device {
        Device::Cpu => format!("cpu/f32/{}", lrlab_kernels::cpu_numerics()),
        Device::Cuda(_) => {
            let name = lrlab_kernels::device_name(device).unwrap_or_default();
            format!("cuda/{name}/{}", lrlab_kernels::cuda_numerics())
        }
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

/// Describes this program for `--version`: version, commit, build, dependencies and features.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(describe);
    &VERSION
}

fn describe() -> String {
    // Hashing the program is slow, and clap requests the version at every start.
    let asked = std::env::args().any(|word| word == "--version");
    let build = if asked { own_build() } else { None };
    let dirty = if option_env!("LRLAB_DIRTY") == Some("true") { ", with uncommitted changes" } else { "" };
    let commit = option_env!("LRLAB_COMMIT").unwrap_or("unknown");
    let features: Vec<&str> = [
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    format!(
        "{}\ncommit   {commit}{dirty}\nbuild    {}\ncandle   {}\nrustc    {}\nfeatures {features}",
        env!("CARGO_PKG_VERSION"),
        build.as_deref().unwrap_or("unknown"),
        env!("LRLAB_CANDLE_VERSION"),
        env!("LRLAB_RUSTC_VERSION"),
    )
}

/// The variable that passes the build's identity on to workers, which then need not hash the program.
pub(crate) const BUILD: &str = "LRLAB_BUILD";

/// The identity of this program; `None` if it cannot read itself.
fn build() -> Option<String> {
    std::env::var(BUILD).ok().filter(|build| !build.is_empty()).or_else(own_build)
}

/// The identity of the program file, regardless of the environment.
pub(crate) fn own_build() -> Option<String> {
    lrlab_grid::build_id(&this_program().ok()?).ok()
}

/// The running program, even if its file has been replaced: a grid is run by one build.
pub(crate) fn this_program() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(format!("/proc/{}/exe", std::process::id()).into());
    }
    std::env::current_exe()
}

/// Copies this program into the store for jobs and emitted commands.
pub(crate) fn freeze(store: &RunStore) -> anyhow::Result<PathBuf> {
    let build = own_build().context("failed to read the program file")?;
    Ok(lrlab_grid::freeze(store, &this_program()?, &build, &about())?)
}

/// Describes this build for `build.json`.
fn about() -> serde_json::Value {
    serde_json::json!({
        "versions": versions(),
        "commit": option_env!("LRLAB_COMMIT"),
        "dirty": option_env!("LRLAB_DIRTY").map(|dirty| dirty == "true"),
    })
}
