//! A grid whose workers, runner, or both are killed repeatedly at random moments has the same results as an undisturbed
//! grid, and every run resumes from its newest complete checkpoint.
//!
//! `LRLAB_CHAOS_KILLS`, `LRLAB_CHAOS_SEED` and `LRLAB_CHAOS_EXPERIMENT` change the number of kills, the seed and the
//! experiment: see `cargo xtask chaos`.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use lrlab_random::{Purpose, Stream};
use lrlab_tests::{SHARED, program, results, root, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The default number of kills, and the maximum per grid.
const KILLS: u64 = 24;

/// The processes to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Worker,
    Runner,
    Everyone,
}

/// The moment of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// While processes start, data are made, or a checkpoint is read.
    Start,
    /// At any time.
    Anywhere,
    /// While a checkpoint is being written.
    Checkpoint,
    /// Between the end of the last epoch and the result.
    End,
}

const VICTIMS: [Victim; 3] = [Victim::Worker, Victim::Runner, Victim::Everyone];
const MOMENTS: [Moment; 5] =
    [Moment::Anywhere, Moment::Start, Moment::Checkpoint, Moment::Anywhere, Moment::End];

/// A running worker: its process and the folder of its attempt.
struct Worker {
    pid: i32,
    attempt: PathBuf,
}

struct Chaos {
    /// A copy, so that all runs use one build even if the program is rebuilt meanwhile.
    program: PathBuf,
    experiment: PathBuf,
    draws: Stream,
    drawn: u64,
    kills: BTreeMap<(Victim, Moment, bool), u64>,
    /// The attempts of killed workers, each with the update of the newest complete checkpoint.
    left: Vec<(PathBuf, u64)>,
}

impl Chaos {
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        self.draws.uniform(self.drawn)
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[((self.draw() * among.len() as f64) as usize).min(among.len() - 1)]
    }

    /// Starts the runner on the store `out`, in the folder that contains it.
    fn start(&self, out: &Path) -> Child {
        let mut command = start(&self.program, out.parent().unwrap());
        command.arg("run").arg(&self.experiment).arg("--out").arg(out.file_name().unwrap());
        command.args(["--device", "cpu", "--jobs", "2", "--threads", "1"]);
        // Runs take seconds and are killed every other second: the work that a kill loses must be small compared to
        // that.
        command.arg("--checkpoint-every=0.1 seconds");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs the grid in `out` to its end with at most `kills` kills; returns their number.
    fn run(&mut self, out: &Path, kills: u64) -> u64 {
        let mut done = BTreeMap::new();
        let mut killed = 0;
        let mut calls = 0;
        loop {
            let mut process = self.start(out);
            calls += 1;
            let code = loop {
                if killed == kills {
                    break process.wait().unwrap().code();
                }
                let (victim, moment) = (self.pick(&VICTIMS), self.pick(&MOMENTS));
                if let Err(code) = self.kill(&mut process, out, victim, moment) {
                    break code;
                }
                killed += 1;
                if victim != Victim::Worker {
                    break process.wait().unwrap().code();
                }
            };
            untouched(&mut done, out);
            match code {
                Some(0) => return killed,
                // The runner was killed, or a run was killed more often than one call retries it.
                None | Some(1 | 85) => assert!(calls < 2 * kills + 10, "it never ends"),
                Some(code) => panic!("the runner ended with code {code}"),
            }
        }
    }

    /// Waits for the moment and kills; the error is the runner's exit code if it ended before.
    fn kill(
        &mut self,
        process: &mut Child,
        out: &Path,
        victim: Victim,
        moment: Moment,
    ) -> Result<(), Option<i32>> {
        let (least, most) = match moment {
            Moment::Start => (0.0, 0.3),
            Moment::Anywhere => (0.3, 2.2),
            // If the moment does not come, any other time will do.
            Moment::Checkpoint => (1.5, 1.6),
            Moment::End => (3.5, 3.6),
        };
        let wait = Duration::from_secs_f64(least + (most - least) * self.draw());
        let (begun, any) = (Instant::now(), self.draw());
        let mut workers = Vec::new();
        let mut looked: Option<Instant> = None;
        let hit = loop {
            if let Some(status) = process.try_wait().unwrap() {
                return Err(status.code());
            }
            if looked.is_none_or(|at| at.elapsed() > Duration::from_millis(20)) {
                workers = live(out);
                looked = Some(Instant::now());
            }
            let place = workers.iter().position(|worker| match moment {
                Moment::Checkpoint => half_written(&worker.attempt),
                Moment::End => at_its_end(&worker.attempt),
                Moment::Start | Moment::Anywhere => false,
            });
            if let Some(place) = place {
                workers.swap(0, place);
                break true;
            }
            if begun.elapsed() >= wait {
                if !workers.is_empty() {
                    let place = ((any * workers.len() as f64) as usize).min(workers.len() - 1);
                    workers.swap(0, place);
                }
                break matches!(moment, Moment::Start | Moment::Anywhere);
            }
            std::thread::sleep(Duration::from_micros(300));
        };
        if victim != Victim::Worker {
            process.kill().unwrap();
        }
        let workers = match victim {
            Victim::Worker => &workers[..workers.len().min(1)],
            Victim::Runner => &[],
            Victim::Everyone => &workers[..],
        };
        for worker in workers {
            // The process may have ended before.
            let _ = Pid::from_raw(worker.pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        for worker in workers {
            while is_alive(worker.pid) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.left
                .extend(newest_checkpoint(&worker.attempt).map(|update| (worker.attempt.clone(), update)));
        }
        *self.kills.entry((victim, moment, hit)).or_default() += 1;
        Ok(())
    }
}

/// The workers on a store, found by their command lines.
fn live(out: &Path) -> Vec<Worker> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<_> = line.split(|&b| b == 0).map(String::from_utf8_lossy).collect();
            let after = |word: &str| Some(words[words.iter().position(|w| w == word)? + 1].as_ref());
            let ours = words.get(1)? == "worker" && Path::new(after("--out")?) == out;
            let attempt =
                || Some(out.join("store").join(after("--run")?).join("attempts").join(after("--attempt")?));
            ours.then(attempt).flatten().map(|attempt| Worker { pid, attempt })
        })
        .collect()
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The update of the newest complete checkpoint of this attempt and the earlier ones.
fn newest_checkpoint(attempt: &Path) -> Option<u64> {
    let last = number(attempt)?;
    let attempts = std::fs::read_dir(attempt.parent()?).ok()?.flatten().map(|entry| entry.path());
    let earlier = attempts.filter(|path| number(path).is_some_and(|number| number <= last));
    let checkpoints =
        earlier.flat_map(|path| std::fs::read_dir(path.join("checkpoints")).into_iter().flatten());
    // The names are those of the update and a serial number.
    let named = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        let (update, serial) = name.to_str()?.split_once('.')?;
        Some((serial.parse::<u64>().ok()?, update.parse::<u64>().ok()?))
    };
    checkpoints.filter_map(named).max().map(|(_, update)| update)
}

/// Checks that the attempts after the killed ones resumed from the newest complete checkpoints. Returns how many did.
fn nothing_is_lost(left: &[(PathBuf, u64)]) -> usize {
    let mut resumed = 0;
    for (attempt, update) in left {
        let next = attempt.with_file_name((number(attempt).unwrap() + 1).to_string());
        let log = std::fs::read_to_string(next.join("log.txt")).unwrap_or_default();
        assert!(!log.contains("training starts at update 0"), "{}, left {update}: {log}", next.display());
        // The next attempt may have been killed before it read the checkpoint, or the run was done.
        let Some(at) = log.split("resumes at update ").nth(1) else { continue };
        let at: u64 = at.split_whitespace().next().unwrap().parse().unwrap();
        assert!(at >= *update, "{}: resumes at {at}, left {update}", next.display());
        resumed += 1;
    }
    resumed
}

fn half_written(attempt: &Path) -> bool {
    let entries = std::fs::read_dir(attempt.join("checkpoints")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
}

fn at_its_end(attempt: &Path) -> bool {
    let log = std::fs::read_to_string(attempt.join("events.jsonl")).unwrap_or_default();
    let events = || log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let epochs = events().find(|e| e["event"] == "started").and_then(|e| e["epochs"].as_u64());
    events().any(|e| e["event"] == "epoch" && e["metrics"]["epoch"].as_u64() == epochs)
}

/// Identifies an unchanged file.
type Mark = (u64, u64, SystemTime);

/// Checks that every existing result is an unchanged file.
fn untouched(done: &mut BTreeMap<PathBuf, Mark>, out: &Path) {
    let Ok(runs) = std::fs::read_dir(out.join("store")) else { return };
    for run in runs.flatten() {
        let path = run.path().join("result.json");
        let Ok(file) = path.metadata() else { continue };
        let mark = (file.ino(), file.len(), file.modified().unwrap());
        let before = *done.entry(path.clone()).or_insert(mark);
        assert_eq!(before, mark, "{} was touched again", path.display());
    }
    assert!(done.keys().all(|path| path.is_file()), "a result is gone");
}

fn updates(results: &BTreeMap<String, Value>) -> f64 {
    results.values().map(|result| result["timing"]["updates_executed"].as_f64().unwrap()).sum()
}

/// Checks that the logs of a run's last attempt contain the whole run, without duplicates.
fn logs_are_whole(run: &Path, result: &Value) {
    let attempts = std::fs::read_dir(run.join("attempts")).unwrap().flatten();
    let attempts = attempts.map(|attempt| attempt.path()).filter(|path| {
        let log = std::fs::read_to_string(path.join("events.jsonl")).unwrap_or_default();
        log.contains("\"finished\"")
    });
    let Some(attempt) = attempts.max() else { return };
    let log = std::fs::read_to_string(attempt.join("events.jsonl")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, key: &str| -> Vec<Value> {
        events.iter().filter(|e| e["event"] == kind).map(|e| e[key].clone()).collect()
    };
    assert_eq!(Value::Array(of("epoch", "metrics")), result["history"], "{}", attempt.display());
    assert_eq!(Value::Array(of("decided", "decision")), result["decisions"], "{}", attempt.display());
    let rows = std::fs::read_to_string(attempt.join("metrics.csv")).unwrap();
    let epochs: Vec<_> = rows.lines().skip(1).map(|row| row.split(',').next().unwrap().to_owned()).collect();
    let expected: Vec<_> =
        result["history"].as_array().unwrap().iter().map(|row| row["epoch"].to_string()).collect();
    assert_eq!(epochs, expected, "{}", attempt.display());
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_killed_grid_has_the_results_of_an_undisturbed_one() {
    let kills = setting("LRLAB_CHAOS_KILLS", KILLS);
    let seed = setting("LRLAB_CHAOS_SEED", 0);
    let experiment = setting("LRLAB_CHAOS_EXPERIMENT", root().join("tests/chaos.toml"));
    let draws = Stream::new(seed, Purpose::Search, "chaos");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("runner");
    std::fs::copy(program(), &copy).unwrap();
    let mut chaos =
        Chaos { program: copy, experiment, draws, drawn: 0, kills: BTreeMap::new(), left: Vec::new() };

    let alone = folder.path().join("alone");
    assert_eq!(chaos.start(&alone).wait().unwrap().code(), Some(0));
    let expected = results(&alone);
    let (mut killed, mut grids, mut work, mut resumed) = (0, 0, 0.0, 0);
    while killed < kills {
        let out = folder.path().join(format!("killed-{grids}"));
        killed += chaos.run(&out, KILLS.min(kills - killed));
        grids += 1;
        let found = results(&out);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (id, result) in &found {
            for key in SHARED {
                assert_eq!(
                    result[key], expected[id][key],
                    "{key} of {} after {killed} kills",
                    result["cell"]
                );
            }
            logs_are_whole(&out.join("store").join(id), result);
        }
        resumed += nothing_is_lost(&std::mem::take(&mut chaos.left));
        work += updates(&found) / updates(&expected);
        println!("{killed} kills, {grids} grids, {:.3} times the work", work / f64::from(grids));
        std::fs::remove_dir_all(&out).unwrap();
    }
    for ((victim, moment, hit), n) in &chaos.kills {
        println!("{n:>5} × {victim:?} at {moment:?}{}", if *hit { "" } else { ", which did not come" });
    }
    println!("{resumed:>5} attempts resumed from the newest complete checkpoint");
    assert!(resumed > 0, "no killed worker had a checkpoint");
}
