//! Measures one workload in the current process.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use super::{Kind, Workload, memory};
use crate::device;

/// The number of warm-up steps, in which memory is allocated and threads are started.
const WARM_UP: usize = 2;
/// The minimum and maximum number of timed steps.
const STEPS: std::ops::RangeInclusive<usize> = 5..=1000;

/// The number of steps per synchronisation on a GPU, which executes asynchronously.
const WINDOW: usize = 50;

/// The measurement of a workload: a line of `--json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Its name.
    pub(crate) workload: String,
    /// Pictures or sequences per second, the median of the timed steps (on a GPU of windows of fifty).
    pub(crate) per_s: f64,
    /// The median of milliseconds per step.
    pub(crate) ms: f64,
    /// Milliseconds of the fastest step.
    pub(crate) ms_best: f64,
    /// GFLOP/s: 10⁹ multiplications and additions per second in products and convolutions; null without any.
    pub(crate) gflops: Option<f64>,
    /// GB/s: 10⁹ bytes per second of minimum memory traffic; null if bandwidth is not the limit.
    pub(crate) gb_per_s: Option<f64>,
    /// The peak of resident memory minus that before the first step; null if the system does not report it.
    pub(crate) peak_mib: Option<f64>,
    /// The peak of resident memory of the process; null if the system does not report it.
    pub(crate) resident_mib: Option<f64>,
    /// The precision of the operands of products in linear maps, LSTM and attention, and on GPUs of convolutions; everything
    /// else is f32.
    pub(crate) dtype: String,
    /// The number of threads.
    pub(crate) threads: usize,
    /// The device.
    pub(crate) device: String,
    /// The cost as a fraction of a training step, for workloads other than training: the schedule and callbacks of an update
    /// relative to a step of ResNet-20, and the assembly of a batch relative to the step that consumes it.
    pub(crate) share: Option<f64>,
    /// Timed steps.
    pub(crate) steps: usize,
    /// The peak of reserved GPU memory; null on the CPU.
    pub(crate) device_peak_mib: Option<u64>,
    /// This library, with its version.
    pub(crate) library: String,
    /// The numerics class.
    pub(crate) numerics: String,
}

/// Measures in this process, with its threads.
///
/// # Errors
/// Returns an error if a step fails or gives non-finite numbers.
pub(crate) fn measure(workload: Workload, device: &Device) -> anyhow::Result<Measured> {
    let Workload { kind, name, examples, flops, bytes, precision, prepare } = workload;
    let mut step = prepare(device)?;
    let before = memory::reset_peak();
    let mut last = step()?;
    for _ in 1..WARM_UP {
        last = step()?;
    }
    device.synchronize()?;
    let budget = match kind {
        Kind::Operator | Kind::Limit | Kind::Overhead | Kind::Input => Duration::from_millis(500),
        Kind::Model | Kind::Evaluation | Kind::Grid => Duration::from_secs(4),
    };
    let mut seconds = Vec::new();
    let started = Instant::now();
    let window = if device.is_cpu() { 1 } else { WINDOW };
    while seconds.len() < *STEPS.start() || (started.elapsed() < budget && seconds.len() < *STEPS.end()) {
        let clock = Instant::now();
        for _ in 0..window {
            drop(last);
            last = step()?;
        }
        device.synchronize()?;
        seconds.push(clock.elapsed().as_secs_f64() / window as f64);
    }
    let peak = memory::peak();
    let times = lrlab_kernels::take_device_times();
    let all: f64 = times.iter().map(|time| time.seconds).sum();
    for time in times {
        tracing::info!(
            "{:6.2} % {:8.1} µs each, {:5} of {}",
            time.seconds / all * 100.0,
            time.seconds / time.count as f64 * 1e6,
            time.count,
            time.name
        );
    }
    let sum = last.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
    if !sum.is_finite() {
        bail!("{name}: the result is not finite");
    }
    seconds.sort_by(f64::total_cmp);
    let median = f64::midpoint(seconds[(seconds.len() - 1) / 2], seconds[seconds.len() / 2]);
    let rate = |amount: f64| (amount > 0.0).then(|| amount / median / 1e9);
    let mib = |(before, peak): (u64, u64)| peak.saturating_sub(before) as f64 / f64::from(1 << 20);
    Ok(Measured {
        workload: name,
        per_s: examples as f64 / median,
        ms: median * 1e3,
        ms_best: seconds.first().context("no steps")? * 1e3,
        gflops: rate(flops),
        gb_per_s: rate(bytes),
        peak_mib: before.zip(peak).map(mib),
        resident_mib: peak.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        dtype: precision.name().to_owned(),
        threads: candle_core::utils::get_num_threads(),
        device: device::choice(device).to_string(),
        share: None,
        steps: seconds.len() * window,
        device_peak_mib: lrlab_kernels::device_memory(device).map(|memory| memory.peak_mib),
        library: format!("lrlab {}", env!("CARGO_PKG_VERSION")),
        numerics: crate::provenance::numerics(device),
    })
}
