//! Derives the number of concurrent runs from the cores and the memory of this machine.

/// Cores and memory that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// Free memory in bytes, if known.
    pub memory: Option<u64>,
}

impl Machine {
    /// Returns this machine, within the limits of the control group.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = [available(), control_group()].into_iter().flatten().min();
        Self { cores, memory }
    }

    /// Returns the number of concurrent runs: one per core, fewer if memory does not suffice, and at most `runs`.
    /// `memory_per_run` is in bytes. Several runs with one thread each have a higher throughput than one run with several
    /// threads.
    #[must_use]
    pub fn jobs(&self, runs: usize, memory_per_run: u64) -> usize {
        let fit = self.memory.map_or(usize::MAX, |memory| (memory / memory_per_run.max(1)) as usize);
        self.cores.min(fit).min(runs).max(1)
    }

    /// Returns the threads for each of `jobs` runs.
    #[must_use]
    pub fn threads(&self, jobs: usize) -> usize {
        (self.cores / jobs.max(1)).max(1)
    }
}

/// `MemAvailable` of `/proc/meminfo`; see proc(5).
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Returns the memory left below the limit of a version 2 control group, in bytes.
fn control_group() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots() {
        // (cores, memory, runs, memory per run) -> (jobs, threads)
        for (cores, memory, runs, each, expected) in [
            (2, None, 48, 1, (2, 1)),
            (8, Some(10), 48, 3, (3, 2)),
            (8, Some(1), 48, 3, (1, 8)),
            (16, Some(1 << 40), 4, 1, (4, 4)),
            (4, None, 0, 0, (1, 4)),
        ] {
            let machine = Machine { cores, memory };
            let jobs = machine.jobs(runs, each);
            assert_eq!((jobs, machine.threads(jobs)), expected, "{machine:?} {runs}");
        }
        assert!(Machine::detect().cores > 0);
    }
}
