//! Worker processes, one per run, so that a crash of a run does not affect the grid.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

use lrlab_runs::Event;

use crate::Error;

/// How to start a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables in addition to those of this process.
    pub env: Vec<(OsString, OsString)>,
}

/// Output of a worker. The number identifies the worker.
#[derive(Debug)]
pub(crate) enum Output {
    Event(u64, Event),
    /// The worker closed its standard output, which happens when it ends.
    Closed(u64),
}

impl Output {
    /// Returns the number of the worker.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Event(number, _) | Self::Closed(number) => *number,
        }
    }
}

/// A running worker.
///
/// Its standard input is a pipe to which nothing is written; when this process ends for any reason, the pipe closes
/// and the worker stops. The worker leads a process group of its own, so that Ctrl-C in a terminal reaches this
/// process only, and signals to the worker reach its children.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    stdin_pipe: Option<ChildStdin>,
}

impl Worker {
    /// Starts a worker. Its standard error, and output that is not an [`Event`], go to `log`.
    pub(crate) fn start(
        number: u64,
        command: &WorkerCommand,
        threads: usize,
        log: &Path,
        output: Sender<Output>,
    ) -> Result<Self, Error> {
        let errors = std::fs::File::options().create(true).append(true).open(log);
        let errors = errors.map_err(|e| Error::io(log, e))?;
        let other_output = errors.try_clone().map_err(|e| Error::io(log, e))?;
        let mut process = Command::new(&command.program);
        process
            .args(&command.args)
            .env("RAYON_NUM_THREADS", threads.to_string())
            .envs(command.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut process, 0);
        let spawned = process.spawn();
        let mut child =
            spawned.map_err(|source| Error::Spawn { program: command.program.clone(), source })?;
        let stdin_pipe = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || forward_output(number, stdout, other_output, &output));
        }
        Ok(Self { child, stdin_pipe })
    }

    /// Returns the exit status if the worker has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the worker ends.
    pub(crate) fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// Requests the worker to save and stop.
    pub(crate) fn stop(&mut self) {
        self.stdin_pipe = None;
        #[cfg(unix)]
        self.signal(rustix::process::Signal::TERM);
    }

    /// Kills the worker.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        let _ = self.child.kill();
    }

    /// Signals the process group, unless the worker has ended, because its id may have been reused.
    #[cfg(unix)]
    fn signal(&mut self, signal: rustix::process::Signal) {
        if self.exited().is_none()
            && let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32)
        {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }
}

/// Returns the last lines of a log, at most 4 KiB; empty if there is none.
pub(crate) fn tail(log: &Path) -> String {
    const BYTES: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let cut = if bytes.len() as u64 == BYTES { text.find('\n').map_or(0, |at| at + 1) } else { 0 };
    text[cut..].trim_end().to_owned()
}

fn forward_output(
    number: u64,
    stdout: ChildStdout,
    mut other_output: std::fs::File,
    output: &Sender<Output>,
) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        if let Ok(event) = serde_json::from_slice(&line) {
            if output.send(Output::Event(number, event)).is_err() {
                return;
            }
        } else {
            // A log that cannot be written (a full disk) must not block the worker.
            let _ = other_output.write_all(&line);
        }
        line.clear();
    }
    let _ = output.send(Output::Closed(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.txt");
        assert_eq!(tail(&log), "");
        std::fs::write(&log, "one\ntwo\n").unwrap();
        assert_eq!(tail(&log), "one\ntwo");
        std::fs::write(&log, "0123456789abcde\n".repeat(1000)).unwrap();
        assert_eq!(tail(&log), "0123456789abcde\n".repeat(255).trim_end());
    }
}
