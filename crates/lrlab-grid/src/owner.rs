//! The process that works on an attempt, and whether it is alive.

use serde::{Deserialize, Serialize};

/// A process. Process ids are reused, and containers have process ids of their own, so more is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The name of the machine.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// The boot id and the process-id namespace, within which process ids are unique.
    pub realm: Option<String>,
    /// The start time of the process, in clock ticks since boot.
    pub started: Option<u64>,
    /// The Slurm job that the process is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmJob>,
    /// The numerics class of the results of its device, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerics: Option<String>,
}

/// The job that a script of a submission runs in, and how often it was restarted. Slurm's own variables are not read:
/// a shell may keep those of an earlier or of a surrounding job.
pub(crate) const JOB: &str = "LRLAB_SLURM_JOB";
pub(crate) const RESTARTS: &str = "LRLAB_SLURM_RESTARTS";

/// A Slurm job, or one task of an array, as `squeue` and `scontrol` name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmJob {
    /// `17`, or `17_3` for task 3 of the array 17.
    pub job: String,
    /// The number of restarts.
    pub restarts: u32,
}

impl SlurmJob {
    /// Returns the job of a submission that this process is part of.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let restarts = variable(RESTARTS).and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Self { job: variable(JOB)?, restarts })
    }
}

/// Whether a process is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The process runs.
    Alive,
    /// The process has ended: it does not exist, or its id belongs to another process.
    Dead,
    /// The process cannot be observed (another machine, another container, no `/proc`).
    Unknown,
}

impl Owner {
    /// Returns this process.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        let started = proc_stat(pid).map(|stat| stat.started);
        Self { host: host(), pid, realm: realm(), started, slurm: SlurmJob::current(), numerics: None }
    }

    /// Returns the placeholder for an unknown owner.
    pub(crate) fn unknown() -> Self {
        let host = "an unknown machine".to_owned();
        Self { host, pid: 0, realm: None, started: None, slurm: None, numerics: None }
    }

    /// Returns whether the process is alive, if this machine can observe it.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        if let (Some(theirs), Some(ours)) = (&self.slurm, SlurmJob::current())
            && theirs.job == ours.job
            && theirs.restarts < ours.restarts
        {
            // Slurm restarts a job only after its processes have ended.
            return Liveness::Dead;
        }
        let (Some(realm), Some(started)) = (&self.realm, self.started) else { return Liveness::Unknown };
        if self::realm().as_ref() != Some(realm) {
            return Liveness::Unknown;
        }
        match proc_stat(self.pid) {
            Some(stat) if stat.started == started && !stat.ended => Liveness::Alive,
            _ => Liveness::Dead,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

struct Stat {
    started: u64,
    ended: bool,
}

/// Fields 3 (state) and 22 (start time) of `/proc/<pid>/stat`; see proc(5). The name in field 2 may contain anything,
/// so fields are counted from its closing parenthesis.
fn proc_stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, ended })
}

/// Overrides the name of this machine where several share one: containers on one kernel, tests.
const HOST: &str = "LRLAB_HOST";

fn host_override() -> Option<String> {
    std::env::var(HOST).ok().filter(|name| !name.is_empty())
}

fn realm() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let given = host_override().map(|name| format!(" {name}")).unwrap_or_default();
    Some(format!("{} {}{given}", boot.trim(), namespace.display()))
}

/// Returns the name of this machine: `LRLAB_HOST` if it is set.
#[must_use]
pub fn host() -> String {
    host_override()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn liveness() {
        let me = Owner::current();
        let mut child = std::process::Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
        let pid = child.id();
        let born = proc_stat(pid).map(|stat| stat.started);
        let it = Owner { pid, started: born, ..me.clone() };
        while proc_stat(pid).is_some_and(|stat| !stat.ended) {
            std::thread::yield_now();
        }
        let zombie = it.liveness();
        child.wait().unwrap();
        for (what, owner, expected) in [
            ("this process", me.clone(), Liveness::Alive),
            ("its id used again", Owner { started: me.started.map(|t| t + 1), ..me.clone() }, Liveness::Dead),
            ("a child that ended", it, Liveness::Dead),
            (
                "another machine",
                Owner { realm: Some("elsewhere".to_owned()), ..me.clone() },
                Liveness::Unknown,
            ),
            ("no realm", Owner { realm: None, ..me }, Liveness::Unknown),
        ] {
            assert_eq!(owner.liveness(), expected, "{what}");
        }
        assert_eq!(zombie, Liveness::Dead);
    }

    #[test]
    fn only_variables_of_submission_scripts_identify_a_job() {
        for (variables, expected) in [
            (&[(JOB, "7")][..], Some(("7", 0))),
            (&[("SLURM_JOB_ID", "9"), (JOB, "7_2"), (RESTARTS, "3")], Some(("7_2", 3))),
            (&[("SLURM_JOB_ID", "9"), ("SLURM_RESTART_COUNT", "3")], None),
            (&[], None),
        ] {
            let lookup = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let expected = expected.map(|(job, restarts)| SlurmJob { job: job.to_owned(), restarts });
            assert_eq!(SlurmJob::from(lookup), expected);
        }
    }
}
