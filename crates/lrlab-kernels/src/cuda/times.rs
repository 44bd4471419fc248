//! The times of kernels on a GPU: with `LRLAB_CUDA_TIMES=on` the program waits for every kernel and adds up its time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Result;
use candle_core::cuda::cudarc::driver::CudaStream;

use super::error::wrap;
use crate::{DeviceTime, environment};

static TIMES: Mutex<BTreeMap<String, (u64, Duration)>> = Mutex::new(BTreeMap::new());

/// Runs `work`, which launches `name` on the device, and records its time with `LRLAB_CUDA_TIMES=on`.
pub(super) fn timed(
    stream: &CudaStream,
    name: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if !environment::times() {
        return work();
    }
    stream.synchronize().map_err(wrap)?;
    let clock = Instant::now();
    work()?;
    stream.synchronize().map_err(wrap)?;
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, total) = times.entry(name()).or_default();
    *count += 1;
    *total += clock.elapsed();
    Ok(())
}

/// See [`crate::take_device_times`].
pub(crate) fn take() -> Vec<DeviceTime> {
    let times = std::mem::take(&mut *TIMES.lock().unwrap_or_else(PoisonError::into_inner));
    let mut all: Vec<DeviceTime> = times
        .into_iter()
        .map(|(name, (count, total))| DeviceTime { name, count, seconds: total.as_secs_f64() })
        .collect();
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}
