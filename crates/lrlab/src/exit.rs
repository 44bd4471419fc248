//! Exit codes: a contract with scripts and schedulers.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done.
    Done,
    /// Some runs failed; the others are done.
    SomeFailed,
    /// Everything asked for is done, but not all there was to say could be written to standard output.
    Unsaid,
    /// Bad input: nothing was started.
    BadInput,
    /// Submitted to a cluster; runs are still queued.
    Submitted,
    /// The verdict on a claim is not the one that the experiment expects.
    UnexpectedVerdict,
    /// A run that was done again came to something else.
    Differs,
    /// Interrupted; the same command goes on.
    Interrupted,
    /// A worker saved its run at the epoch it was to pause at.
    Paused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::SomeFailed | Exit::Unsaid => 1,
            Exit::BadInput => 2,
            Exit::Submitted => 3,
            Exit::UnexpectedVerdict | Exit::Differs => 4,
            Exit::Interrupted => 85,
            Exit::Paused => 86,
        })
    }
}
