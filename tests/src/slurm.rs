//! A real Slurm of one node in a folder of its own, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Ran, root, runner};

/// Slurm, ended when this goes.
#[derive(Debug)]
pub struct Slurm {
    /// Where its configuration, state and logs lie.
    pub folder: PathBuf,
}

impl Slurm {
    /// Starts one; `None`, with a word, where it cannot be.
    ///
    /// # Panics
    /// The script that starts it cannot be started.
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
        let slurm = Self { folder };
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

    /// What one of Slurm's programs prints.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn ask(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        self.environment(&mut command);
        let output = command.args(args).output().expect("Slurm's program starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The runner where this Slurm can be asked, started inside the user's `folder`.
    #[must_use]
    pub fn runner(&self, folder: &Path) -> Command {
        let mut command = runner(folder);
        self.environment(&mut command);
        command
    }

    /// Runs the runner to its end, started inside the user's `folder`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn lrlab(&self, folder: &Path, args: &[&str]) -> Ran {
        Ran::of(&self.runner(folder).args(args).output().expect("the runner starts"))
    }

    /// Waits until no job is left.
    ///
    /// # Panics
    /// Jobs are left after so many seconds.
    pub fn idle(&self, seconds: u64) {
        wait("the end of all jobs", seconds, || self.ask("squeue", &["--noheader"]).is_empty().then_some(()));
    }

    /// Kills the controller and starts it again.
    ///
    /// # Panics
    /// It cannot be.
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

/// Two free ports in a row, most likely.
fn port() -> u32 {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    20_000 + std::process::id() % 1_000 * 20 + STARTED.fetch_add(1, Ordering::Relaxed) % 10 * 2
}

/// Sends a signal to a process.
///
/// # Panics
/// There is no such process.
pub fn kill(signal: &str, pid: &str) {
    let sent = Command::new("kill").args([signal, pid.trim()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {signal} {pid}");
}

/// Waits for `found` to come to something.
///
/// # Panics
/// It does not within so many seconds.
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

/// The processes whose command lines hold `words` one after the other.
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
