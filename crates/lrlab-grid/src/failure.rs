//! Why a run failed, and whether a retry can help.

use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

/// The worker's exit code after an interruption.
pub(crate) const INTERRUPTED: i32 = 85;
/// The worker's exit code after a pause at the requested epoch.
pub(crate) const PAUSED: i32 = 86;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The worker rejected its input (exit code 2).
    Configuration,
    /// The machine or the device ran out of memory.
    OutOfMemory,
    /// The worker panicked (exit code 101), which is a bug.
    Panic,
    /// The disk is full, read-only or broken.
    Io,
    /// A signal ended the worker, or its process disappeared.
    Killed,
    /// A time limit or a hang ended the worker before it made more progress than an earlier attempt.
    Timeout,
    /// The worker ended with code 0 and left no result.
    NoResult,
    /// Any other exit code.
    Error,
}

impl FailureKind {
    /// Returns how often a run is retried after failures of this kind. Deterministic failures are not
    /// retried.
    #[must_use]
    pub const fn retries(self) -> u32 {
        match self {
            Self::Killed | Self::Io => 3,
            Self::Timeout => 2,
            Self::OutOfMemory => 1,
            Self::Configuration | Self::Panic | Self::NoResult | Self::Error => 0,
        }
    }

    /// Returns whether the failure has an external cause. Such a failure does not count if the attempt made progress, because
    /// external failures may recur during a long run.
    pub(crate) const fn is_external(self) -> bool {
        matches!(self, Self::Killed | Self::Io | Self::Timeout)
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration",
            Self::OutOfMemory => "out of memory",
            Self::Panic => "panic",
            Self::Io => "i/o",
            Self::Killed => "killed",
            Self::Timeout => "timeout",
            Self::NoResult => "no result",
            Self::Error => "error",
        })
    }
}

/// `failure.json`: the last failure of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The attempt that failed.
    pub attempt: u32,
    /// The kind of failure.
    pub kind: FailureKind,
    /// The worker's exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended the worker, if one did.
    pub signal: Option<i32>,
    /// A one-line description.
    pub message: String,
    /// The last lines of the attempt's log.
    pub log_tail: String,
}

/// Classifies how a worker ended. `reported` is the error that it reported, `log_tail` the end of its log. Returns `None`
/// if it was interrupted (exit code 85).
#[must_use]
pub fn classify(attempt: u32, status: ExitStatus, reported: Option<&str>, log_tail: &str) -> Option<Failure> {
    let (code, signal) = (status.code(), signal(status));
    if code == Some(INTERRUPTED) {
        return None;
    }
    let output = format!("{}\n{log_tail}", reported.unwrap_or_default());
    let kind = match (code, signal) {
        _ if mentions(&output, OUT_OF_MEMORY) => FailureKind::OutOfMemory,
        _ if mentions(&output, IO) => FailureKind::Io,
        (None, _) => FailureKind::Killed,
        (Some(0), _) => FailureKind::NoResult,
        (Some(2), _) => FailureKind::Configuration,
        (Some(101), _) => FailureKind::Panic,
        (Some(_), _) => FailureKind::Error,
    };
    let end = match (code, signal) {
        (_, Some(9)) => "ended by signal 9, possibly because memory ran out".to_owned(),
        (_, Some(signal)) => format!("ended by signal {signal}"),
        (Some(0), None) => "ended with code 0 and left no result".to_owned(),
        (Some(code), None) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    };
    let last = reported.map(str::to_owned).or_else(|| informative_line(log_tail));
    let message = last.map_or_else(|| end.clone(), |line| format!("{line} ({end})"));
    Some(Failure { attempt, kind, code, signal, message, log_tail: log_tail.to_owned() })
}

impl Failure {
    /// Creates the failure of an attempt whose process disappeared.
    pub(crate) fn lost(attempt: u32, owner: &str) -> Self {
        let message = format!("{owner} ended before the run was done");
        Self {
            attempt,
            kind: FailureKind::Killed,
            code: None,
            signal: None,
            message,
            log_tail: String::new(),
        }
    }

    /// Creates the failure of a run whose files cannot be read or written, so that no attempt was made.
    pub(crate) fn inaccessible(message: String) -> Self {
        let (code, signal, log_tail) = (None, None, String::new());
        Self { attempt: 0, kind: FailureKind::Io, code, signal, message, log_tail }
    }

    /// Creates the failure of an attempt that exceeded its time.
    pub(crate) fn timeout(attempt: u32, message: String, log_tail: String) -> Self {
        Self { attempt, kind: FailureKind::Timeout, code: None, signal: None, message, log_tail }
    }

    /// Returns a text that is equal for failures with the same cause: everything except numbers and ids of runs.
    pub(crate) fn signature(&self) -> String {
        let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|c| c.is_ascii_hexdigit());
        let words = self.message.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let words = words.filter(|word| !is_id(&word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())));
        let words: String = words.flat_map(str::chars).filter(|c| !c.is_ascii_digit()).collect();
        format!("{} {:?} {:?} {words}", self.kind, self.code, self.signal)
    }
}

/// The messages of the operating system, of Rust's allocator, and of CUDA's driver and libraries (cuBLAS, cuRAND).
const OUT_OF_MEMORY: &[&str] = &[
    "memory allocation of",
    "out of memory",
    "OUT_OF_MEMORY",
    "cannot allocate memory",
    "os error 12)",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CURAND_STATUS_ALLOCATION_FAILED",
];
const IO: &[&str] = &["os error 28)", "os error 30)", "os error 5)", "os error 122)"];

fn mentions(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(&word.to_ascii_lowercase()))
}

/// Returns the most informative line of a log: that of a panic or an error, otherwise the last one that is not a note.
fn informative_line(log: &str) -> Option<String> {
    let relevant = |line: &&str| !line.is_empty() && !line.starts_with("note:");
    let lines = || log.lines().map(str::trim).filter(relevant);
    let panic = lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    let error = lines().rfind(|line| line.to_ascii_lowercase().starts_with("error"));
    let memory = lines().find(|line| line.contains("memory allocation of"));
    let line = panic.or(memory).or(error).or_else(|| lines().next_back())?;
    Some(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

/// Returns whether a signal that requests a stop ended the process: SIGHUP, SIGINT or SIGTERM.
pub(crate) fn stopped_by_signal(status: ExitStatus) -> bool {
    matches!(signal(status), Some(1 | 2 | 15))
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn endings_are_classified() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        let signal = ExitStatus::from_raw;
        for (status, reported, log, kind, message) in [
            (code(0), None, "", FailureKind::NoResult, "ended with code 0 and left no result"),
            (code(1), Some("no such column"), "", FailureKind::Error, "no such column (ended with code 1)"),
            (code(2), None, "error: bad\nhint", FailureKind::Configuration, "bad (ended with code 2)"),
            (
                code(101),
                None,
                "thread 'main' panicked at src/main.rs:1:2:\nindex out of bounds\nnote: run with",
                FailureKind::Panic,
                "index out of bounds (ended with code 101)",
            ),
            (signal(15), None, "", FailureKind::Killed, "ended by signal 15"),
            (signal(9), None, "", FailureKind::Killed, "ended by signal 9, possibly because memory ran out"),
            (
                signal(6),
                None,
                "memory allocation of 8 bytes failed",
                FailureKind::OutOfMemory,
                "memory allocation of 8 bytes failed (ended by signal 6)",
            ),
            (
                code(1),
                Some("x: No space left on device (os error 28)"),
                "",
                FailureKind::Io,
                "x: No space left on device (os error 28) (ended with code 1)",
            ),
            (
                code(2),
                Some("x: Disk quota exceeded (os error 122)"),
                "",
                FailureKind::Io,
                "x: Disk quota exceeded (os error 122) (ended with code 2)",
            ),
            (
                code(2),
                Some("x: Cannot allocate memory (os error 12)"),
                "",
                FailureKind::OutOfMemory,
                "x: Cannot allocate memory (os error 12) (ended with code 2)",
            ),
        ] {
            let failure = classify(3, status, reported, log).unwrap();
            assert_eq!(
                (failure.kind, failure.message.as_str(), failure.attempt),
                (kind, message, 3),
                "{status}"
            );
        }
        assert_eq!(classify(1, code(85), Some("whatever"), ""), None);
    }

    #[test]
    fn failures_of_different_runs_with_the_same_cause_have_one_signature() {
        let failure = |message: &str| Failure::timeout(1, message.to_owned(), String::new()).signature();
        let of =
            |id: &str, attempt: u32| failure(&format!("runs/store/{id}/attempts/{attempt}/x: bad, at 0.5"));
        let (one, other) = ("0123456789abcdef0123456789abcdef", "fedcba98765432100123456789abcdef");
        assert_eq!(of(one, 1), of(other, 12));
        assert_ne!(of(one, 1), failure("runs/store/x: worse"));
        assert_ne!(failure("weights abc"), failure("weights def"));
    }

    #[test]
    fn out_of_memory_errors_of_devices_are_recognised() {
        for (reported, kind) in [
            (r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#, FailureKind::OutOfMemory),
            ("CublasError(CUBLAS_STATUS_ALLOC_FAILED)", FailureKind::OutOfMemory),
            ("CurandError(CURAND_STATUS_ALLOCATION_FAILED)", FailureKind::OutOfMemory),
            (r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access")"#, FailureKind::Error),
            ("CublasError(CUBLAS_STATUS_NOT_SUPPORTED)", FailureKind::Error),
        ] {
            let status = ExitStatus::from_raw(1 << 8);
            assert_eq!(classify(1, status, Some(reported), "").map(|f| f.kind), Some(kind), "{reported}");
            // A worker that could not report its error left it in its log.
            assert_eq!(classify(1, status, None, reported).map(|f| f.kind), Some(kind), "{reported}");
        }
    }
}
