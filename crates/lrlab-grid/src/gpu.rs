//! NVIDIA GPUs as places for runs: which are ours, and how many runs fit on one.

use std::process::Command;

use crate::places::Device;

/// A GPU that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// As `CUDA_VISIBLE_DEVICES` names it: as it does, where it is set, otherwise by its own name, since CUDA need not
    /// count as the driver's tools do.
    pub id: String,
    /// Free memory in MiB, where known.
    pub free_mib: Option<u64>,
}

/// The GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES` where it is set, otherwise all.
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
            // CUDA itself stops at the first that is no device.
            ids.split(',')
                .map(str::trim)
                .take_while(|id| !id.is_empty() && *id != "-1" && *id != "NoDevFiles")
                .collect()
        }
        None => rows.iter().filter_map(|row| row.get(1).copied()).filter(|id| !id.is_empty()).collect(),
    };
    ids.into_iter().map(|id| Gpu { id: id.to_owned(), free_mib: free(id) }).collect()
}

/// The most runs on one GPU: more only wait for each other.
const MOST: u64 = 8;
/// What the driver and its libraries take of a GPU for every process, beside what the process itself asks for.
const CONTEXT_MIB: u64 = 768;

/// How many runs that were seen to have `peak_mib` fit on `gpus` at once, all GPUs together. Where either is not
/// known, one on each.
#[must_use]
pub fn at_once(gpus: &[Gpu], peak_mib: Option<u64>) -> usize {
    let fit = |gpu: &Gpu| Some((room(gpu.free_mib?) / need(peak_mib?)).clamp(1, MOST));
    gpus.iter().map(|gpu| fit(gpu).unwrap_or(1) as usize).sum::<usize>().max(1)
}

/// What `count` devices hold that have so much memory free; one run each where it is not known.
pub(crate) fn devices(free_mib: &[Option<u64>], count: usize) -> Vec<Device> {
    let free = |device: usize| free_mib.get(device).copied().flatten();
    let of = |free: Option<u64>| match free {
        Some(free) => Device { most: MOST as usize, room_mib: Some(room(free)) },
        None => Device { most: 1, room_mib: None },
    };
    (0..count.max(1)).map(|device| of(free(device))).collect()
}

/// Of what is free, a tenth is left.
pub(crate) fn room(free_mib: u64) -> u64 {
    free_mib * 9 / 10
}

/// What a run is given that was seen to have `peak_mib` for its tensors: a fifth more, and what its process takes.
pub(crate) fn need(peak_mib: u64) -> u64 {
    peak_mib * 6 / 5 + CONTEXT_MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "0, GPU-aaaaaaaa-1, 80000\n1, GPU-bbbbbbbb-2, 40000\n2, GPU-cccccccc-3, [N/A]\n";

    #[test]
    fn visible_ones() {
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
            // 72,000 MiB hold five times 12,768.
            (&[Some(80_000)][..], Some(10_000), 5),
            // The small one holds one, which adds up.
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
