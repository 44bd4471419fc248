//! NVIDIA GPUs as places for runs: which are ours, and how many runs fit on one.

use std::process::Command;

/// A GPU that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// As `CUDA_VISIBLE_DEVICES` names it.
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
        None => rows.iter().filter_map(|row| row.first().copied()).filter(|id| !id.is_empty()).collect(),
    };
    ids.into_iter().map(|id| Gpu { id: id.to_owned(), free_mib: free(id) }).collect()
}

/// The most runs on one GPU: more only wait for each other.
const MOST: u64 = 8;

/// How many runs of `need_mib` each fit on every one of `gpus` at once. Where either is not known, one.
///
/// A tenth of the memory is left free, and each run gets a fifth more than it was seen to need.
#[must_use]
pub fn at_once(gpus: &[Gpu], need_mib: Option<u64>) -> usize {
    let fit = |gpu: &Gpu| Some(gpu.free_mib? * 9 / 10 / (need_mib? * 6 / 5).max(1));
    gpus.iter().map(|gpu| fit(gpu).unwrap_or(1)).min().unwrap_or(1).clamp(1, MOST) as usize
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
        check(None, LISTED, &[("0", Some(80_000)), ("1", Some(40_000)), ("2", None)]);
        check(Some("1"), LISTED, &[("1", Some(40_000))]);
        check(Some("GPU-bbbbbbbb, 0,-1,2"), LISTED, &[("GPU-bbbbbbbb", Some(40_000)), ("0", Some(80_000))]);
        check(Some(""), LISTED, &[]);
        check(Some("3"), "", &[("3", None)]);
        check(None, "", &[]);
    }

    #[test]
    fn as_many_as_fit() {
        for (free, need, expected) in [
            (&[Some(80_000)][..], Some(10_000), 6),
            (&[Some(80_000), Some(24_000)], Some(10_000), 1),
            (&[Some(80_000)], Some(100), 8),
            (&[Some(80_000)], None, 1),
            (&[None], Some(10), 1),
            (&[], Some(10), 1),
        ] {
            let gpus: Vec<Gpu> = free.iter().map(|free| Gpu { id: String::new(), free_mib: *free }).collect();
            assert_eq!(at_once(&gpus, need), expected, "{free:?} {need:?}");
        }
    }
}
