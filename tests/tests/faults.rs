//! Faults of files that a grid survives: interruptions, truncated lines, damaged checkpoints, a full disk, a folder
//! that cannot be written. After the cause is removed, the results have the bits of an undisturbed run.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lrlab_tests::{SHARED, copy, ctrl_c, files, results, runner};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const EXPERIMENT: &str = r#"name = "fault"
description = "One run that keeps a state of every kind."

[axes]
model = ["resnet"]
schedule = ["cosine"]
monitor = ["rewind"]
epochs = [8]
seed = [0]

[defaults]
lr = 0.2
batch_size = 16
optimizer = { sgd = { momentum = 0.9 } }
early_stopping = { patience = 8, restore_best = true }

[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 256, test = 40 } }
augment = { crop_padding = 2, flip = true }
[schedules.cosine]
cosine = {}
[monitors.rewind]
controller = { plateau = { factor = 0.5, patience = 0, rewind = true } }
"#;

struct Grid {
    folder: tempfile::TempDir,
}

impl Grid {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fault.toml"), EXPERIMENT).unwrap();
        Self { folder }
    }

    /// Returns the command for the store `out` in the user's folder.
    fn command(&self, out: &Path, threads: u32) -> Command {
        let mut command = runner(self.folder.path());
        command.args(["run", "fault.toml", "--out"]).arg(out.strip_prefix(self.folder.path()).unwrap());
        command.args(["--device", "cpu", "--jobs", "1", "--checkpoint-every", "5 updates", "--threads"]);
        command.arg(threads.to_string());
        command
    }

    fn run(&self, out: &Path, threads: u32) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(out, threads).output().unwrap();
        (status.code(), String::from_utf8_lossy(&[stderr, stdout].concat()).into_owned())
    }

    /// Interrupts a run after two epochs. If the machine stalls, the run may end before the signal; then `out` is emptied
    /// and the run is started again.
    fn interrupted(&self, out: &Path, signal: Signal, threads: u32) {
        for _ in 0..10 {
            let mut command = self.command(out, threads);
            let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while epochs(out) < 2 && process.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if process.try_wait().unwrap().is_none() {
                kill_process(Pid::from_child(&process), signal).unwrap();
            }
            let code = process.wait().unwrap().code();
            if code != Some(0) {
                assert_eq!(code, Some(85));
                assert!(results(out).is_empty(), "it was over before it was asked to stop");
                return;
            }
            for entry in std::fs::read_dir(out).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                    .unwrap();
            }
        }
        panic!("ten runs ended before they were interrupted");
    }
}

/// The number of epochs in the logs of the only run.
fn epochs(out: &Path) -> usize {
    let logs = files(out).into_iter().filter(|path| path.ends_with("events.jsonl"));
    logs.map(|log| std::fs::read_to_string(log).unwrap_or_default().matches("\"epoch\",").count())
        .max()
        .unwrap_or(0)
}

/// The last two checkpoints of the only run, the newest last.
fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let inside =
        |path: &PathBuf| path.to_string_lossy().contains("/checkpoints/") && path.ends_with("state.json");
    let states = files(out).into_iter().filter(inside);
    let mut folders: Vec<_> = states.map(|path| path.parent().unwrap().to_path_buf()).collect();
    folders.sort_by_key(|folder| folder.file_name().map(std::ffi::OsStr::to_os_string));
    folders
}

fn same(expected: &BTreeMap<String, Value>, out: &Path, what: &str) {
    let found = results(out);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (id, result) in &found {
        for key in SHARED {
            assert_eq!(result[key], expected[id][key], "{key}, {what}");
        }
    }
}

fn no_temporary_files(out: &Path, what: &str) {
    let half =
        |path: &PathBuf| path.strip_prefix(out).is_ok_and(|path| path.to_string_lossy().contains(".tmp"));
    let left: Vec<_> = files(out).into_iter().filter(half).collect();
    assert!(left.is_empty(), "{what}: {left:?}");
}

/// Cuts a file to half its length.
fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Appends a truncated line, as after the death of a process or machine.
fn tear(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.extend_from_slice(b"{\"event\":\"epoch\",\"metr");
    std::fs::write(path, bytes).unwrap();
}

type Damage = fn(&Path, &[PathBuf]);

/// The damage to a store and its checkpoints, and the expected messages.
const DAMAGES: [(&str, Damage, &[&str]); 8] = [
    ("none", |_, _| {}, &["resumes at update"]),
    (
        "tensors cut short",
        |_, all| cut(&all[1].join("tensors.safetensors")),
        &["tensors.safetensors is truncated", "resumes at update"],
    ),
    (
        "a bit of the tensors flipped",
        |_, all| flip(&all[1].join("tensors.safetensors")),
        &["tensors.safetensors is damaged", "resumes at update"],
    ),
    (
        "a bit of the state flipped",
        |_, all| flip(&all[1].join("state.json")),
        &["state.json is damaged", "resumes at update"],
    ),
    (
        "a manifest cut short",
        |_, all| cut(&all[1].join("manifest.json")),
        &["manifest.json is damaged", "resumes at update"],
    ),
    (
        "a manifest gone",
        |_, all| std::fs::remove_file(all[1].join("manifest.json")).unwrap(),
        &["manifest.json: No such file", "resumes at update"],
    ),
    (
        "both bad",
        |_, all| all.iter().for_each(|folder| flip(&folder.join("tensors.safetensors"))),
        &["no valid checkpoint is left: training starts at update 0"],
    ),
    (
        "last lines cut short",
        |out, _| {
            let logs = files(out).into_iter().filter(|path| {
                path.ends_with("events.jsonl")
                    || path.ends_with("metrics.csv")
                    || path.to_string_lossy().contains("tfevents")
            });
            logs.for_each(|log| tear(&log));
        },
        &["resumes at update"],
    ),
];

#[test]
fn an_interrupted_run_continues_after_damage_to_its_files() {
    let grid = Grid::new();
    let folder = grid.folder.path();
    let alone = folder.join("alone");
    assert_eq!(grid.run(&alone, 1).0, Some(0));
    let expected = results(&alone);
    let decisions = expected.values().next().unwrap()["decisions"].to_string();
    assert!(decisions.contains("rewind"), "the run is to go back once: {decisions}");

    let base = folder.join("base");
    grid.interrupted(&base, ctrl_c(), 3);
    for (what, damage, words) in DAMAGES {
        let out = folder.join(what);
        copy(&base, &out);
        let all = checkpoints(&out);
        assert_eq!(all.len(), 2, "{all:?}");
        damage(&out, &all);
        let (code, printed) = grid.run(&out, 2);
        assert_eq!(code, Some(0), "{what}: {printed}");
        for word in words {
            assert!(printed.contains(word), "{what}: {printed}");
        }
        if words.len() > 1 {
            assert!(printed.contains(&*all[1].to_string_lossy()), "the bad one is named: {printed}");
        }
        same(&expected, &out, what);
        no_temporary_files(&out, what);
        assert!(checkpoints(&out).is_empty(), "{what}: a run that is done keeps no checkpoint");
        check_logs(&out, what);
    }
}

/// Checks the logs of the last attempt.
fn check_logs(out: &Path, what: &str) {
    let (_, result) = results(out).pop_first().unwrap();
    let logs = files(out).into_iter().filter(|path| path.ends_with("events.jsonl"));
    let finished = |log: &PathBuf| std::fs::read_to_string(log).unwrap().contains("\"finished\"");
    let log = logs.into_iter().find(finished).unwrap();
    let events: Vec<Value> = std::fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str, key: &str| {
        Value::Array(events.iter().filter(|e| e["event"] == kind).map(|e| e[key].clone()).collect())
    };
    assert_eq!(of("epoch", "metrics"), result["history"], "{what}");
    assert_eq!(of("decided", "decision"), result["decisions"], "{what}");
    let rows = std::fs::read_to_string(log.with_file_name("metrics.csv")).unwrap();
    assert_eq!(rows.lines().count(), result["history"].as_array().unwrap().len() + 1, "{what}: {rows}");
}

/// A mounted folder, unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, words: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount").args(words).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_path_buf()));
        }
        eprintln!("skipped: `mount {}` is not permitted here", words.join(" "));
        None
    }

    fn again(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap();
        assert!(status.success(), "mount -o {options}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_reported_and_the_grid_continues_later() {
    let grid = Grid::new();
    let alone = grid.folder.path().join("alone");
    assert_eq!(grid.run(&alone, 1).0, Some(0));
    let expected = results(&alone);
    let disk = grid.folder.path().join("disk");
    let Some(_mount) = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=64m", "tmpfs"]) else { return };
    let (out, ballast) = (disk.join("runs"), disk.join("ballast"));

    // There is room for logs but not for weights: nothing starts. Later the disk becomes full after the first
    // checkpoints.
    std::fs::write(&ballast, vec![0; (64 << 20) - (400 << 10)]).unwrap();
    let (code, printed) = grid.run(&out, 1);
    assert_eq!(code, Some(2), "{printed}");
    for word in ["disk/runs", "MiB are needed for 1 run,", "MiB are free"] {
        assert!(printed.contains(word), "{word}: {printed}");
    }
    no_temporary_files(&out, "a full disk");
    assert!(results(&out).is_empty());

    std::fs::remove_file(&ballast).unwrap();
    let over = AtomicBool::new(false);
    let (code, printed) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while checkpoints(&out).len() < 2 && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Fills all free space, also the space of removed checkpoints.
            let mut ballast = std::fs::File::create(&ballast).unwrap();
            while !over.load(Ordering::Relaxed) {
                while ballast.write(&[0; 1 << 14]).is_ok_and(|written| written > 0) {}
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let ran = grid.run(&out, 1);
        over.store(true, Ordering::Relaxed);
        ran
    });
    assert_ne!(code, Some(0), "{printed}");
    assert!(printed.contains("No space left on device") && printed.contains("disk/runs"), "{printed}");

    std::fs::remove_file(&ballast).unwrap();
    let (code, printed) = grid.run(&out, 1);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("resumes at update"), "{printed}");
    same(&expected, &out, "after a full disk");
    no_temporary_files(&out, "after a full disk");
}

#[test]
fn unwritable_folders_are_rejected() {
    let grid = Grid::new();
    let alone = grid.folder.path().join("alone");
    assert_eq!(grid.run(&alone, 1).0, Some(0));
    let expected = results(&alone);
    let disk = grid.folder.path().join("disk");
    let Some(mount) = Mount::new(&disk, &["-t", "tmpfs", "tmpfs"]) else { return };
    let out = disk.join("runs");
    let refused = |what: &str| {
        mount.again("remount,ro");
        let (code, printed) = grid.run(&out, 1);
        assert!(matches!(code, Some(1 | 2)), "{what}: {code:?} {printed}");
        assert!(
            printed.contains("Read-only file system") && printed.contains("disk/runs"),
            "{what}: {printed}"
        );
        mount.again("remount,rw");
        no_temporary_files(&out, what);
    };
    refused("at first");
    grid.interrupted(&out, Signal::TERM, 1);
    refused("between two calls");
    let (code, printed) = grid.run(&out, 1);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("resumes at update"), "{printed}");
    same(&expected, &out, "after a read-only folder");
}
