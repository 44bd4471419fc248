//! Claims, which grant a run to exactly one of the processes that request it.
//!
//! Attempt `n` at a run is the folder `attempts/<n>`. The process that creates its `claim.json` exclusively owns it; a
//! thread updates its modification time while the process runs, and `exit.json` records how the attempt ended. Claims
//! are never removed: a process takes over an abandoned run by claiming the next number.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lrlab_runs::{attempt_dir, write_atomic, write_exclusive};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, touch};
use crate::{Error, Failure, Liveness, Owner, read_json, to_json};

const CLAIM: &str = "claim.json";
/// The interval at which an owner updates the modification time of its claim.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The result exists.
    Done,
    /// The attempt stopped on request.
    Interrupted,
    /// The attempt paused at the requested epoch; a later attempt resumes the run.
    Paused,
    /// The attempt failed.
    Failed(Box<Failure>),
}

/// `exit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// How the attempt ended.
    pub ending: Ending,
    /// Seconds from the claim to the end.
    pub seconds: f64,
    /// The number of completed updates of the run, as last reported by the worker.
    #[serde(default, rename = "reached")]
    pub updates: u64,
}

/// The newest claim on a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Newest {
    pub(crate) number: u32,
    pub(crate) owner: Owner,
    /// The modification time of the claim, by the clock of the file system.
    pub(crate) touched: SystemTime,
    pub(crate) exit: Option<Exit>,
}

/// The outcome of claiming a run.
#[derive(Debug)]
pub enum Acquired {
    /// This process owns the run until [`Attempt::end`].
    Attempt(Attempt),
    /// Another process has already claimed the attempt.
    Taken,
}

/// An attempt that this process has claimed. It counts as interrupted if it is dropped before [`end`](Self::end).
#[derive(Debug)]
pub struct Attempt {
    folder: PathBuf,
    number: u32,
    began: Instant,
    updates: u64,
    heartbeat: Option<(Sender<()>, JoinHandle<()>)>,
    ended: bool,
}

impl Attempt {
    /// Claims attempt `number` at the run in `run_dir`, unless another process already has.
    ///
    /// # Errors
    /// Returns an error if writing the claim fails.
    pub fn claim(run_dir: &Path, number: u32) -> Result<Acquired, Error> {
        Self::claim_as(&Owner::current(), run_dir, number)
    }

    /// Like [`Attempt::claim`], with the description of this process.
    ///
    /// # Errors
    /// Returns an error if writing the claim fails.
    pub(crate) fn claim_as(owner: &Owner, run_dir: &Path, number: u32) -> Result<Acquired, Error> {
        let folder = attempt_dir(run_dir, number);
        let path = folder.join(CLAIM);
        if !write_exclusive(&path, &to_json(&path, owner)?)? {
            return Ok(Acquired::Taken);
        }
        let heartbeat = Some(start_heartbeat(path));
        Ok(Acquired::Attempt(Self {
            folder,
            number,
            began: Instant::now(),
            updates: 0,
            heartbeat,
            ended: false,
        }))
    }

    /// Returns the folder that the attempt may write to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the number of the attempt, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the time since the claim.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Records the number of completed updates of the run.
    pub fn note_update(&mut self, update: u64) {
        self.updates = self.updates.max(update);
    }

    /// Returns the number of completed updates of the run, as last reported by the worker.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Records how the attempt ended and releases the run.
    ///
    /// # Errors
    /// Returns an error if writing `exit.json` fails.
    pub fn end(mut self, ending: Ending) -> Result<(), Error> {
        self.write_end(ending)
    }

    /// Releases the run without a record, because its folder no longer exists.
    pub(crate) fn discard(mut self) {
        self.ended = true;
        self.stop_heartbeat();
    }

    fn stop_heartbeat(&mut self) {
        if let Some((stop, thread)) = self.heartbeat.take() {
            drop(stop);
            // The thread only sleeps and touches a file; a panic in it does not matter here.
            let _ = thread.join();
        }
    }

    fn write_end(&mut self, ending: Ending) -> Result<(), Error> {
        self.ended = true;
        self.stop_heartbeat();
        let path = self.folder.join("exit.json");
        let exit = Exit { ending, seconds: self.began.elapsed().as_secs_f64(), updates: self.updates };
        Ok(write_atomic(&path, &to_json(&path, &exit)?)?)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.write_end(Ending::Interrupted)
        {
            tracing::warn!("{error}");
        }
    }
}

/// Returns how each attempt at the run in `run_dir` ended, oldest first; `None` for one that has not.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn attempts(run_dir: &Path) -> Result<Vec<(u32, Option<Exit>)>, Error> {
    let folder = attempts_dir(run_dir);
    numbers(&folder)?
        .into_iter()
        .filter(|number| folder.join(number.to_string()).join(CLAIM).is_file())
        .map(|number| Ok((number, exit_of(&folder.join(number.to_string()))?)))
        .collect()
}

/// Returns whether attempt `number` still owns the run in `run_dir`, that is, no later attempt has been claimed. A process
/// checks this before it commits a result, because it may have been suspended for longer than the claim timeout.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn holds(run_dir: &Path, number: u32) -> Result<bool, Error> {
    let claimed = |later: u32| attempt_dir(run_dir, later).join(CLAIM).is_file();
    Ok(!numbers(&attempts_dir(run_dir))?.into_iter().any(|later| later > number && claimed(later)))
}

/// Returns the owner of the attempt in `folder`. The owner of a damaged claim is unknown, and is treated like a process
/// on another machine.
pub(crate) fn owner_of(folder: &Path) -> Result<Option<Owner>, Error> {
    read_or_default(&folder.join(CLAIM), Owner::unknown)
}

/// Returns how the attempt in `folder` ended. A damaged file counts as an interruption.
fn exit_of(folder: &Path) -> Result<Option<Exit>, Error> {
    let unknown = || Exit { ending: Ending::Interrupted, seconds: 0.0, updates: 0 };
    read_or_default(&folder.join("exit.json"), unknown)
}

/// Reads a file. If it is damaged, logs a warning and returns `default`, so that no single file stops a grid.
fn read_or_default<T: serde::de::DeserializeOwned>(
    path: &Path,
    default: impl Fn() -> T,
) -> Result<Option<T>, Error> {
    match read_json(path) {
        Err(error @ Error::Json { .. }) => {
            tracing::warn!("{error}");
            Ok(Some(default()))
        }
        other => other,
    }
}

fn attempts_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("attempts")
}

/// Returns the numbers of the attempts' folders, in ascending order.
fn numbers(folder: &Path) -> Result<Vec<u32>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A claim fails at a file in the place of the folder.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Touches `claim` until the sender is dropped.
fn start_heartbeat(claim: PathBuf) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = channel();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = touch(&claim) {
                tracing::warn!("{}: {error}", claim.display());
            }
        }
    });
    (stop, thread)
}

/// Returns the newest claim on the run in `run_dir`. A folder without a claim is ignored: its process died before it
/// wrote the claim.
pub(crate) fn newest(run_dir: &Path) -> Result<Option<Newest>, Error> {
    let folder = attempts_dir(run_dir);
    for number in numbers(&folder)?.into_iter().rev() {
        let attempt = folder.join(number.to_string());
        let claim = attempt.join(CLAIM);
        let Some(owner) = owner_of(&attempt)? else { continue };
        let touched =
            std::fs::metadata(&claim).and_then(|m| m.modified()).map_err(|e| Error::io(&claim, e))?;
        let exit = exit_of(&attempt)?;
        return Ok(Some(Newest { number, owner, touched, exit }));
    }
    Ok(None)
}

/// Returns whether a process works, or may work, on the run in `folder`. One that this machine cannot observe no longer does if it
/// has been silent for an hour.
pub(crate) fn in_use(folder: &Path) -> Result<bool, Error> {
    const GONE: Duration = Duration::from_hours(1);
    let Some(newest) = newest(folder)?.filter(|newest| newest.exit.is_none()) else { return Ok(false) };
    Ok(match newest.owner.liveness() {
        Liveness::Alive => true,
        Liveness::Dead => false,
        Liveness::Unknown => Clock::of(folder).since(newest.touched) < GONE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(run: &Path, number: u32) -> Option<Attempt> {
        match Attempt::claim(run, number).unwrap() {
            Acquired::Attempt(attempt) => Some(attempt),
            Acquired::Taken => None,
        }
    }

    #[test]
    fn damaged_claims_and_exits_do_not_stop_a_grid() {
        for damage in ["", "xx{", "{\"host\":", "[]"] {
            let run = tempfile::tempdir().unwrap();
            let folder = claim(run.path(), 1).unwrap().folder().to_path_buf();
            // Dropping the attempt has ended it.
            std::fs::write(folder.join("exit.json"), damage).unwrap();
            let ended = newest(run.path()).unwrap().unwrap();
            assert_eq!(ended.exit.map(|exit| exit.ending), Some(Ending::Interrupted), "{damage:?}");
            assert_eq!(attempts(run.path()).unwrap().len(), 1);
            std::fs::remove_file(folder.join("exit.json")).unwrap();
            std::fs::write(folder.join(CLAIM), damage).unwrap();
            let held = newest(run.path()).unwrap().unwrap();
            assert_eq!(
                (held.number, held.owner.liveness(), held.exit),
                (1, crate::Liveness::Unknown, None),
                "{damage:?}"
            );
        }
    }

    #[test]
    fn exactly_one_of_many_claims_succeeds() {
        let run = tempfile::tempdir().unwrap();
        let held: Vec<Option<Attempt>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| claim(run.path(), 1))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(held.iter().flatten().count(), 1);
        let newest = newest(run.path()).unwrap().unwrap();
        assert_eq!((newest.number, newest.owner, newest.exit), (1, Owner::current(), None));
    }

    #[test]
    fn attempts_are_numbered_and_record_how_they_ended() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(attempts(run.path()).unwrap(), []);
        drop(claim(run.path(), 1).unwrap());
        claim(run.path(), 2).unwrap().end(Ending::Done).unwrap();
        // A process died between creating the folder and claiming it.
        std::fs::create_dir_all(run.path().join("attempts/3")).unwrap();
        let endings: Vec<_> =
            attempts(run.path()).unwrap().into_iter().map(|(n, exit)| (n, exit.unwrap().ending)).collect();
        assert_eq!(endings, [(1, Ending::Interrupted), (2, Ending::Done)]);
        assert_eq!(newest(run.path()).unwrap().unwrap().number, 2);
        assert!(claim(run.path(), 3).is_some());
        assert!(!holds(run.path(), 2).unwrap());
        assert!(holds(run.path(), 3).unwrap());
    }
}
