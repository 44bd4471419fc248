//! Runs a grid on Slurm: job arrays whose tasks are workers that claim runs until none is left.
//!
//! ```text
//! DIR/bin/<build>/lrlab                          the frozen runner: later builds do not change queued runs
//! DIR/<experiment>/slurm/attempts/<n>/claim.json the submitting process: concurrent submissions are serialised
//! DIR/<experiment>/slurm/attempts/<n>/submission.json   arrays, runs, job ids
//! DIR/<experiment>/slurm/attempts/<n>/plan.json         the submitted plan, so that jobs do not depend on later plans
//! DIR/<experiment>/slurm/attempts/<n>/<class>.sbatch    one script per resource class, and report.sbatch
//! DIR/<experiment>/slurm/attempts/<n>/log/       the output of the jobs
//! ```
//!
//! The submitting command need not keep running, because the state of the grid is in the runs' files. When repeated, it
//! queries `squeue` for the recorded jobs that still exist and submits only the runs that none of them covers.

mod client;
mod script;
mod status;
mod submission;
mod submit;

pub use client::{Queued, cancel, is_running, requeue};
pub use status::{MovedJobs, SubmissionStatus, SubmitMode, given_up, submission_status};
pub use submission::{Array, Member, Settings, Submission, submissions};
pub use submit::{SubmitOutcome, submit, texts};

use std::path::PathBuf;

/// An error of Slurm.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// The program cannot be started.
    #[error("{program} cannot be started ({source}): is Slurm installed here?")]
    Missing {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The program failed.
    #[error("{program}: {message}")]
    Refused {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// Its error output.
        message: String,
    },
    /// Slurm rejected a script.
    #[error("{}: {source}", script.display())]
    Script {
        /// The script.
        script: PathBuf,
        /// The cause.
        source: Box<SlurmError>,
    },
    /// Slurm rejected a script, and jobs submitted before it could not be cancelled.
    #[error(
        "{source}; the jobs submitted before it could not be cancelled ({left}) and stay on record: \
         `scancel {}` cancels them", jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    )]
    NotCancelled {
        /// The jobs.
        jobs: Vec<u64>,
        /// Why the last of them could not be cancelled.
        left: Box<SlurmError>,
        /// Why they had to be cancelled.
        source: Box<SlurmError>,
    },
    /// It is unknown whether a job was submitted.
    #[error(
        "{source}, so it may still submit that job. Submitted jobs stay on record and keep running; the same command \
         finds them by name and submits what is missing"
    )]
    Uncertain {
        /// The cause.
        source: Box<SlurmError>,
    },
    /// A path that `sbatch` options cannot express.
    #[error(
        "{}: jobs cannot write logs there, because a line of a script cannot contain {character:?}; choose another \
         `--out`", path.display()
    )]
    Path {
        /// The path.
        path: PathBuf,
        /// The character.
        character: char,
    },
    /// The program did not answer in time.
    #[error("{program} did not answer within {seconds} s")]
    Silent {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// The time limit.
        seconds: u64,
    },
}
