//! Calls Slurm's programs. Only requested formats are parsed; `--json` differs between versions.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::SlurmError;

/// The time limit for answers of Slurm's programs.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// The time limit for `sbatch`, which retries while the controller is busy.
const SUBMIT_TIMEOUT: Duration = Duration::from_mins(5);

/// A job in Slurm's queue that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// `17`, or `17_3`.
    pub job: String,
    /// Its name.
    pub name: String,
    /// `PENDING`, `RUNNING`, …
    pub state: String,
}

impl Queued {
    /// Returns the id of the job without the task: `17` for `17_3` and for `17_[4-7%2]`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.job.split('_').next().unwrap_or(&self.job)
    }
}

/// Submits a script and returns its job id.
pub(crate) fn sbatch(script: &Path, more: &[&str]) -> Result<u64, SlurmError> {
    let mut command = command("sbatch");
    command.arg("--parsable").args(more).arg(script);
    let output_text = run("sbatch", command, SUBMIT_TIMEOUT)?;
    // `17`, or `17;cluster`.
    let id = output_text.trim().split(';').next().and_then(|id| id.parse().ok());
    id.ok_or_else(|| SlurmError::Refused {
        program: "sbatch",
        message: format!("no job id in {output_text:?}"),
    })
}

/// Checks that Slurm would accept a script.
pub(crate) fn test(script: &Path) -> Result<(), SlurmError> {
    let mut command = command("sbatch");
    command.arg("--test-only").arg(script);
    run("sbatch", command, SUBMIT_TIMEOUT).map(drop)
}

/// Returns the user's jobs that have not ended, each array task separately.
pub(crate) fn queue() -> Result<Vec<Queued>, SlurmError> {
    let mut command = command("squeue");
    command.args(["--noheader", "--array", "--states=all", "--format=%i|%T|%j"]);
    #[cfg(unix)]
    command.arg(format!("--user={}", rustix::process::getuid().as_raw()));
    Ok(rows(&run("squeue", command, QUERY_TIMEOUT)?))
}

fn rows(text: &str) -> Vec<Queued> {
    let row = |line: &str| {
        let mut fields = line.trim().splitn(3, '|').map(str::to_owned);
        let (job, state) = (fields.next()?, fields.next()?);
        Some(Queued { job, state, name: fields.next()? })
    };
    text.lines().filter_map(row).filter(|queued| !has_ended(&queued.state)).collect()
}

/// Returns whether a job in this state has ended and will not be requeued.
fn has_ended(state: &str) -> bool {
    matches!(
        state,
        "BOOT_FAIL"
            | "CANCELLED"
            | "COMPLETED"
            | "DEADLINE"
            | "FAILED"
            | "NODE_FAIL"
            | "OUT_OF_MEMORY"
            | "PREEMPTED"
            | "REVOKED"
            | "TIMEOUT"
    )
}

/// Returns whether a job exists and has not ended; `None` if Slurm cannot be reached.
#[must_use]
pub fn is_running(job: &str) -> Option<bool> {
    let mut command = command("squeue");
    command.args(["--noheader", "--states=all", "--format=%T", "--jobs", job]);
    match run("squeue", command, QUERY_TIMEOUT) {
        Ok(output_text) => Some(output_text.lines().any(|state| !has_ended(state.trim()))),
        Err(SlurmError::Refused { message, .. }) if message.contains("Invalid job id") => Some(false),
        Err(_) => None,
    }
}

/// Requeues a job, which may be this one.
///
/// # Errors
/// Returns an error if Slurm cannot be reached or refuses.
pub fn requeue(job: &str) -> Result<(), SlurmError> {
    let mut command = command("scontrol");
    command.args(["requeue", job]);
    run("scontrol", command, QUERY_TIMEOUT).map(drop)
}

/// Cancels a job and all its tasks.
///
/// # Errors
/// Returns an error if Slurm cannot be reached or refuses.
pub fn cancel(job: u64) -> Result<(), SlurmError> {
    let mut command = command("scancel");
    command.arg(job.to_string());
    run("scancel", command, QUERY_TIMEOUT).map(drop)
}

/// Creates a command for one of Slurm's programs, without the variables of [`is_dropped`].
fn command(program: &'static str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if is_dropped(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Variables by which Slurm's programs find and authenticate to the controller. Every other `SLURM_` variable is
/// dropped.
const KEPT: [&str; 6] =
    ["SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS"];

/// Returns whether a variable would change the output of Slurm's programs, the resources of a job, or a job's environment: the
/// user's default formats and options, and the description of the job that this process runs in, which `sbatch` would
/// propagate (`SLURM_ARRAY_TASK_ID`, `SLURM_MEM_PER_NODE`, `SLURM_CPU_BIND`, …).
fn is_dropped(name: &str) -> bool {
    let prefixes = ["SLURM_", "SLURMD_", "SQUEUE_", "SBATCH_", "SALLOC_", "SCANCEL_", "SRUN_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.contains(&name)
}

/// Runs one of Slurm's programs. After `limit`, stops waiting; the program may still complete its work.
fn run(program: &'static str, mut command: Command, limit: Duration) -> Result<String, SlurmError> {
    let (answer, answered) = channel();
    std::thread::spawn(move || answer.send(command.output()));
    let output = answered
        .recv_timeout(limit)
        .map_err(|_| SlurmError::Silent { program, seconds: limit.as_secs() })?
        .map_err(|source| SlurmError::Missing { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let message = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Err(SlurmError::Refused { program, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_surrounding_job_and_user_defaults_are_dropped() {
        for name in
            ["SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_CPU_BIND", "SLURM_TRES_PER_TASK", "SBATCH_QOS"]
        {
            assert!(is_dropped(name), "{name}");
        }
        for name in ["SLURM_CONF", "SLURM_JWT", "PATH", "HF_HOME", "MY_SLURM_NOTE", "CUDA_VISIBLE_DEVICES"] {
            assert!(!is_dropped(name), "{name}");
        }
    }

    #[test]
    fn unresponsive_programs_time_out() {
        let mut command = Command::new("sleep");
        command.arg("5");
        let silent = run("sbatch", command, Duration::from_millis(20)).unwrap_err();
        assert_eq!(silent.to_string(), "sbatch did not answer within 0 s");
    }

    #[test]
    fn ended_jobs_are_omitted() {
        let text = "17_0|RUNNING|lrlab e 1 default\n17_1|COMPLETED|lrlab\n 18|PENDING|a|b\nnonsense\n19_[4-7%2]|PENDING|x\n";
        let jobs: Vec<_> = rows(text).into_iter().map(|q| (q.job, q.state, q.name)).collect();
        let expected = [
            ("17_0", "RUNNING", "lrlab e 1 default"),
            ("18", "PENDING", "a|b"),
            ("19_[4-7%2]", "PENDING", "x"),
        ];
        assert_eq!(jobs, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert!(has_ended("TIMEOUT") && !has_ended("COMPLETING") && !has_ended("REQUEUED"));
    }
}
