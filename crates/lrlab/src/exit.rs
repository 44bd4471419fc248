//! Exit codes, which scripts and schedulers rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything requested is done.
    Done,
    /// Some runs failed; the others are done.
    SomeFailed,
    /// Everything requested is done, but some output could not be written.
    OutputFailed,
    /// Bad input; nothing was started.
    BadInput,
    /// Submitted to a cluster; runs are still queued.
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
