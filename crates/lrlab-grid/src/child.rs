//! One child process per run: nothing that happens in it can take the grid down.

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
    /// Standard output was closed, which is how a worker ends.
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
/// It holds the reading end of a pipe that nobody writes to; when this process ends for any reason, the pipe closes
/// and the worker stops. The worker leads a process group of its own, so that Ctrl-C in a terminal reaches this
/// process only, and signals to the worker reach its children.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    lifeline: Option<ChildStdin>,
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
        let chatter = errors.try_clone().map_err(|e| Error::io(log, e))?;
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
        let lifeline = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || listen(number, stdout, chatter, &output));
        }
        Ok(Self { child, lifeline })
    }

    /// Returns how it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// Asks it to save and stop.
    pub(crate) fn stop(&mut self) {
        self.lifeline = None;
        #[cfg(unix)]
        self.signal(rustix::process::Signal::TERM);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        let _ = self.child.kill();
    }

    /// Signals the process group; never after the worker was waited for, when its id may have been reused.
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

fn listen(number: u64, stdout: ChildStdout, mut chatter: std::fs::File, output: &Sender<Output>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        if let Ok(event) = serde_json::from_slice(&line) {
            if output.send(Output::Event(number, event)).is_err() {
                return;
            }
        } else {
            // A log that cannot be written (a full disk) must not block the worker.
            let _ = chatter.write_all(&line);
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
