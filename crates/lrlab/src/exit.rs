//! Exit codes, which scripts and schedulers rely on.

use std::process::ExitCode;

/// How a command ended. A third request to stop ends the process with code 130 instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything requested is done.
    Done,
    /// Some runs failed or were not executed; the others are done.
    SomeFailed,
    /// Everything requested is done, but some output could not be written.
    OutputFailed,
    /// Bad input, or an error that ended the command.
    BadInput,
    /// Submitted to a cluster, or left to a later call because the cluster does not answer; runs are still to do.
    Submitted,
    /// The verdict on a claim is not the one that the experiment expects.
    UnexpectedVerdict,
    /// A redone run differs from the recorded one.
    Differs,
    /// Interrupted; the same command resumes.
    Interrupted,
    /// A worker saved its run at the requested epoch.
    Paused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::SomeFailed | Exit::OutputFailed => 1,
            Exit::BadInput => 2,
            Exit::Submitted => 3,
            Exit::UnexpectedVerdict | Exit::Differs => 4,
            Exit::Interrupted => 85,
            Exit::Paused => 86,
        })
    }
}
