//! A real Slurm of one node for tests, with its files in a separate folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Ran, root, runner};

/// One Slurm at a time, because there are two cores.
static TURN: Mutex<()> = Mutex::new(());

/// A running Slurm, which is stopped on drop.
#[derive(Debug)]
pub struct Slurm {
    /// The folder of its configuration, state and logs.
    pub folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Slurm {
    /// Waits for the end of any other, then starts Slurm; returns `None`, with a message, if it is not installed.
    ///
    /// # Panics
    /// Panics if the start script cannot be run.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn start(folder: PathBuf) -> Option<Self> {
        let skip = |why: &str| {
            eprintln!("skipped: no Slurm here ({why})");
            None
        };
        let path = path();
        let there = |program: &&str| path.split(':').any(|folder| Path::new(folder).join(program).is_file());
        if let Some(program) =
            ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol"].iter().find(|p| !there(p))
        {
            return skip(&format!("no {program}; Debian's packages are munge and slurm-wlm"));
        }
        if !std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nUid:\t0\t")) {
            return skip("its daemons need root");
        }
        let slurm = Self { folder, _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) };
        let script = root().join("tests/slurm/up.sh");
        let up = Command::new(script).arg(&slurm.folder).arg(port().to_string()).output();
        let up = up.expect("up.sh starts");
        if !up.status.success() {
            return skip(&String::from_utf8_lossy(&up.stderr));
        }
        Some(slurm)
    }

    fn environment(&self, command: &mut Command) {
        command.env("SLURM_CONF", self.folder.join("slurm.conf")).env("PATH", path());
    }

    /// Returns the output of a program of Slurm.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn ask(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        self.environment(&mut command);
        let output = command.args(args).output().expect("Slurm's program starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The runner's command with access to this Slurm, to be run in the user's `folder`.
    #[must_use]
    pub fn runner(&self, folder: &Path) -> Command {
        let mut command = runner(folder);
        self.environment(&mut command);
        command
    }

    /// Runs the runner in the user's `folder` and waits for its end.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn lrlab(&self, folder: &Path, args: &[&str]) -> Ran {
        Ran::of(&self.runner(folder).args(args).output().expect("the runner starts"))
    }

    /// Waits until no job is left.
    ///
    /// # Panics
    /// Panics if jobs are left after `seconds`.
    pub fn idle(&self, seconds: u64) {
        wait("the end of all jobs", seconds, || self.ask("squeue", &["--noheader"]).is_empty().then_some(()));
    }

    /// Kills and restarts the controller.
    ///
    /// # Panics
    /// Panics if the restart fails.
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn restart_controller(&self) {
        let pid = std::fs::read_to_string(self.folder.join("slurmctld.pid")).expect("the controller's id");
        kill("-KILL", &pid);
        std::thread::sleep(Duration::from_secs(1));
        let mut command = Command::new("/usr/sbin/slurmctld");
        self.environment(&mut command);
        assert!(command.status().expect("the controller starts").success(), "the controller starts");
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(root().join("tests/slurm/down.sh")).arg(&self.folder).status();
    }
}

fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The first of two consecutive ports that are probably free.
fn port() -> u32 {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    20_000 + std::process::id() % 1_000 * 20 + STARTED.fetch_add(1, Ordering::Relaxed) % 10 * 2
}

/// Sends a signal to a process.
///
/// # Panics
/// Panics if there is no such process.
pub fn kill(signal: &str, pid: &str) {
    let sent = Command::new("kill").args([signal, pid.trim()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {signal} {pid}");
}

/// Waits until `found` returns a value.
///
/// # Panics
/// Panics if it does not within `seconds`.
pub fn wait<T>(what: &str, seconds: u64, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(seconds), "{what} did not come within {seconds} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose command lines contain `words` consecutively.
#[must_use]
pub fn processes(words: &[&str]) -> Vec<String> {
    let wanted = format!("\0{}\0", words.join("\0"));
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let holds = |process: &std::fs::DirEntry| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&wanted))
    };
    all.filter(holds).map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}
