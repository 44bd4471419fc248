//! Who works on an attempt, and whether they still live.

use serde::{Deserialize, Serialize};

/// A process, told apart from every other one: process ids are used again, and two containers each have a first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name, for people.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Boot id and process-id namespace: within one of these, process ids mean the same.
    pub realm: Option<String>,
    /// When the process started, in clock ticks since boot.
    pub started: Option<u64>,
    /// The Slurm job it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmJob>,
}

/// The job that a script of a submission runs in, and how often it was started before. Slurm's own variables are not
/// read: a shell may keep those of a job that is over, or of the one that surrounds it.
pub(crate) const JOB: &str = "LRLAB_SLURM_JOB";
pub(crate) const RESTARTS: &str = "LRLAB_SLURM_RESTARTS";

/// A Slurm job, one task of an array, as `squeue` and `scontrol` name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmJob {
    /// `17`, or `17_3` for task 3 of the array 17.
    pub job: String,
    /// How often it was started before.
    pub restarts: u32,
}

impl SlurmJob {
    /// The job of a submission that this process is part of.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let restarts = variable(RESTARTS).and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Self { job: variable(JOB)?, restarts })
    }
}

/// What is known about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Alive,
    /// It is gone: no such process, or its id belongs to another one now.
    Dead,
    /// It cannot be seen from here (another machine, another container, no `/proc`).
    Unknown,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        let started = proc_stat(pid).map(|stat| stat.started);
        Self { host: host(), pid, realm: realm(), started, slurm: SlurmJob::current() }
    }

    /// Somebody of whom nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            host: "a machine that is not known".to_owned(),
            pid: 0,
            realm: None,
            started: None,
            slurm: None,
        }
    }

    /// Whether the process still runs, as far as can be known without asking another machine.
    #[must_use]
    pub fn life(&self) -> Life {
        if let (Some(theirs), Some(ours)) = (&self.slurm, SlurmJob::current())
            && theirs.job == ours.job
            && theirs.restarts < ours.restarts
        {
            // Slurm starts a job again only after its processes are gone.
            return Life::Dead;
        }
        let (Some(realm), Some(started)) = (&self.realm, self.started) else { return Life::Unknown };
        if self::realm().as_ref() != Some(realm) {
            return Life::Unknown;
        }
        match proc_stat(self.pid) {
            Some(stat) if stat.started == started && !stat.gone => Life::Alive,
            _ => Life::Dead,
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
    gone: bool,
}

/// Fields 3 (state) and 22 (start time) of `/proc/<pid>/stat`; see proc(5). The name in field 2 may hold anything,
/// so fields are counted from its closing parenthesis.
fn proc_stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let gone = matches!(fields.next()?, "Z" | "X" | "x");
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, gone })
}

/// Gives this machine a name of its own, where several share one: containers on one kernel, a test.
const HOST: &str = "LRLAB_HOST";

fn given_name() -> Option<String> {
    std::env::var(HOST).ok().filter(|name| !name.is_empty())
}

fn realm() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let given = given_name().map(|name| format!(" {name}")).unwrap_or_default();
    Some(format!("{} {}{given}", boot.trim(), namespace.display()))
}

/// The machine's name: `LRLAB_HOST` where that is set.
#[must_use]
pub fn host() -> String {
    given_name()
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
    fn lives() {
        let me = Owner::current();
        let mut child = std::process::Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
        let pid = child.id();
        let born = proc_stat(pid).map(|stat| stat.started);
        let it = Owner { pid, started: born, ..me.clone() };
        while proc_stat(pid).is_some_and(|stat| !stat.gone) {
            std::thread::yield_now();
        }
        let zombie = it.life();
        child.wait().unwrap();
        for (what, owner, expected) in [
            ("this process", me.clone(), Life::Alive),
            ("its id used again", Owner { started: me.started.map(|t| t + 1), ..me.clone() }, Life::Dead),
            ("a child that ended", it, Life::Dead),
            ("another machine", Owner { realm: Some("elsewhere".to_owned()), ..me.clone() }, Life::Unknown),
            ("no realm", Owner { realm: None, ..me }, Life::Unknown),
        ] {
            assert_eq!(owner.life(), expected, "{what}");
        }
        assert_eq!(zombie, Life::Dead);
    }

    #[test]
    fn only_scripts_of_a_submission_name_a_job() {
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
