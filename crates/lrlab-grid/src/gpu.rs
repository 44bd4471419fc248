//! Finds the NVIDIA GPUs that this process may use, and the number of runs that fit on them.

use std::process::Command;

use crate::slots::DeviceSlots;

/// A GPU that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name for `CUDA_VISIBLE_DEVICES`: the one given there, or else its UUID, because CUDA and the driver's tools
    /// may number GPUs differently.
    pub id: String,
    /// Free memory in MiB, if known.
    pub free_mib: Option<u64>,
}

/// Returns the GPUs of `CUDA_VISIBLE_DEVICES` if it is set, otherwise all.
#[must_use]
pub fn gpus() -> Vec<Gpu> {
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]);
    let listed = command.output().ok().filter(|output| output.status.success());
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    visible(std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref(), &listed)
}

fn visible(variable: Option<&str>, listed: &str) -> Vec<Gpu> {
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split(',').map(str::trim).collect()).collect();
    let free = |id: &str| {
        let same = |row: &&Vec<&str>| {
            row.iter().take(2).any(|name| *name == id || (id.len() > 7 && name.starts_with(id)))
        };
        rows.iter().find(same).and_then(|row| row.get(2)?.parse().ok())
    };
    let ids: Vec<&str> = match variable {
        Some(ids) => {
            // CUDA stops at the first invalid entry.
            ids.split(',')
                .map(str::trim)
                .take_while(|id| !id.is_empty() && *id != "-1" && *id != "NoDevFiles")
                .collect()
        }
        None => rows.iter().filter_map(|row| row.get(1).copied()).filter(|id| !id.is_empty()).collect(),
    };
    ids.into_iter().map(|id| Gpu { id: id.to_owned(), free_mib: free(id) }).collect()
}

/// The maximum number of runs on one GPU; more do not increase throughput.
const MAX_RUNS: u64 = 8;
/// The GPU memory that the driver and its libraries use per process, in addition to the process's own.
const CONTEXT_MIB: u64 = 768;

/// Returns the number of concurrent runs with a peak of `peak_mib` that fit on all `gpus`. If the peak or the free memory is
/// unknown, a GPU counts as one run.
#[must_use]
pub fn at_once(gpus: &[Gpu], peak_mib: Option<u64>) -> usize {
    let fit = |gpu: &Gpu| Some((usable(gpu.free_mib?) / need(peak_mib?)).clamp(1, MAX_RUNS));
    gpus.iter().map(|gpu| fit(gpu).unwrap_or(1) as usize).sum::<usize>().max(1)
}

/// Returns the slots of `count` devices with this much free memory; one slot each if it is unknown.
pub(crate) fn devices(free_mib: &[Option<u64>], count: usize) -> Vec<DeviceSlots> {
    let free = |device: usize| free_mib.get(device).copied().flatten();
    let of = |free: Option<u64>| match free {
        Some(free) => DeviceSlots { max_workers: MAX_RUNS as usize, capacity_mib: Some(usable(free)) },
        None => DeviceSlots { max_workers: 1, capacity_mib: None },
    };
    (0..count.max(1)).map(|device| of(free(device))).collect()
}

/// Returns the usable part of the free memory; a tenth is kept free.
pub(crate) fn usable(free_mib: u64) -> u64 {
    free_mib * 9 / 10
}

/// Returns the memory to reserve for a run whose tensors need up to `peak_mib`: a margin of 20 % and the driver's context
/// are added.
pub(crate) fn need(peak_mib: u64) -> u64 {
    peak_mib * 6 / 5 + CONTEXT_MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "0, GPU-aaaaaaaa-1, 80000\n1, GPU-bbbbbbbb-2, 40000\n2, GPU-cccccccc-3, [N/A]\n";

    #[test]
    fn visible_gpus() {
        let check = |variable: Option<&str>, listed: &str, expected: &[(&str, Option<u64>)]| {
            let seen: Vec<_> =
                visible(variable, listed).into_iter().map(|gpu| (gpu.id, gpu.free_mib)).collect();
            let expected: Vec<_> = expected.iter().map(|(id, free)| ((*id).to_owned(), *free)).collect();
            assert_eq!(seen, expected, "{variable:?}");
        };
        check(
            None,
            LISTED,
            &[("GPU-aaaaaaaa-1", Some(80_000)), ("GPU-bbbbbbbb-2", Some(40_000)), ("GPU-cccccccc-3", None)],
        );
        check(Some("1"), LISTED, &[("1", Some(40_000))]);
        check(Some("GPU-bbbbbbbb, 0,-1,2"), LISTED, &[("GPU-bbbbbbbb", Some(40_000)), ("0", Some(80_000))]);
        check(Some(""), LISTED, &[]);
        check(Some("3"), "", &[("3", None)]);
        check(None, "", &[]);
    }

    #[test]
    fn as_many_as_fit() {
        for (free, peak, expected) in [
            // Five runs of 12,768 MiB fit into 72,000 MiB.
            (&[Some(80_000)][..], Some(10_000), 5),
            // The small GPU adds one.
            (&[Some(80_000), Some(24_000)], Some(10_000), 6),
            (&[Some(80_000)], Some(100), 8),
            (&[Some(80_000), Some(80_000)], Some(100), 16),
            (&[Some(80_000), None], Some(10_000), 6),
            (&[Some(80_000); 3], None, 3),
            (&[Some(4_000)], Some(10_000), 1),
            (&[None], Some(10), 1),
            (&[], Some(10), 1),
        ] {
            let gpus: Vec<Gpu> = free.iter().map(|free| Gpu { id: String::new(), free_mib: *free }).collect();
            assert_eq!(at_once(&gpus, peak), expected, "{free:?} {peak:?}");
        }
    }
}
