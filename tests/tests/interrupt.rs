//! Ctrl-C: once saves and stops, twice kills, and the same command continues to the bits of an undisturbed grid.
#![cfg(target_os = "linux")]

use std::process::Stdio;

use lrlab_tests::slurm::{kill, processes, wait};
use lrlab_tests::{Ran, SHARED, ctrl_c, files, program, results, runner, start};

const EXPERIMENT: &str = r#"name = "stopped"
[axes]
model = ["resnet"]
schedule = ["cosine"]
seed = [0, 1]
[defaults]
epochs = 20
lr = 0.05
batch_size = 16
optimizer = { sgd = { momentum = 0.9 } }
[models.resnet]
network = { resnet = { depth = 8 } }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 128, test = 40 } }
[schedules.cosine]
cosine = {}
"#;

/// Returns whether the name is that of a temporary file or folder of the store.
fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().ends_with(".tmp")
}

#[test]
fn one_ctrl_c_saves_and_two_kill_the_workers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stopped.toml"), EXPERIMENT).unwrap();
    let command = |store: &str| {
        let mut command = runner(folder.path());
        command.args(["run", "stopped.toml", "--out", store]);
        command.args(["--device", "cpu", "--jobs", "2", "--threads", "1", "--checkpoint-every", "5 updates"]);
        command
    };
    let alone = Ran::of(&command("alone").output().unwrap());
    assert_eq!(alone.code, 0, "{}", alone.err);
    let expected = results(&folder.path().join("alone"));

    for times in [1, 2] {
        let store = format!("asked {times}");
        let out = folder.path().join(&store);
        let grid = command(&store).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let words = ["--out", &out.display().to_string()].map(str::to_owned);
        let workers = || {
            let worker = |pid: &String| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains("\0--watch-stdin\0"))
            };
            let all = processes(&[&words[0], &words[1]]);
            all.into_iter().filter(worker).collect::<Vec<_>>()
        };
        wait("a checkpoint of each run", 60, || {
            let all = files(&out.join("store"));
            // Not a checkpoint that is still being written, whose folder has a temporary name.
            let whole = |path: &&std::path::PathBuf| {
                path.ends_with("state.json") && !path.components().any(|c| is_temporary(c.as_os_str()))
            };
            let with = all.iter().filter(whole).map(|path| path.ancestors().nth(5));
            (with.collect::<std::collections::BTreeSet<_>>().len() == 2).then_some(())
        });
        let at_work = wait("both workers", 60, || Some(workers()).filter(|workers| workers.len() == 2));
        // Stopped processes cannot save: only SIGKILL ends them.
        if times == 2 {
            for pid in &at_work {
                kill("-STOP", pid);
            }
        }
        for _ in 0..times {
            kill(&format!("-{}", ctrl_c().as_raw()), &grid.id().to_string());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let ran = Ran::of(&grid.wait_with_output().unwrap());
        assert_eq!(ran.code, 85, "{}\n{}", ran.out, ran.err);
        assert!(ran.out.contains("the same command resumes"), "{}\n{}", ran.out, ran.err);
        assert_eq!(workers(), [""; 0], "nobody is left");
        let exits: Vec<_> =
            files(&out.join("store")).into_iter().filter(|p| p.ends_with("exit.json")).collect();
        assert_eq!(exits.len(), 2);
        for exit in exits {
            assert!(
                std::fs::read_to_string(&exit).unwrap().contains("\"interrupted\""),
                "{}",
                exit.display()
            );
        }
        let listed = lrlab_tests::run(folder.path(), &["plan", "stopped.toml", "--out", &store, "--cells"]);
        assert_eq!(listed.out.matches("missing, interrupted after epoch ").count(), 2, "{}", listed.out);
        let again = Ran::of(&command(&store).output().unwrap());
        assert_eq!(again.code, 0, "{}\n{}", again.out, again.err);
        assert!(again.err.contains("resumes at update"), "asked {times} times: {}", again.err);
        for (id, result) in results(&out) {
            for key in SHARED {
                assert_eq!(result[key], expected[&id][key], "{key}, asked {times} times");
            }
        }
    }
}

/// `nohup` ignores SIGHUP for its child, and a shell ignores SIGINT for background jobs: the runner keeps them ignored,
/// and other signals still stop it.
#[test]
fn signals_inherited_as_ignored_stay_ignored() {
    for (trapped, sent, code) in
        [("HUP", "-HUP", 0), ("INT", "-INT", 0), ("HUP", "-TERM", 85), ("USR2", "-HUP", 85)]
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stopped.toml"), EXPERIMENT).unwrap();
        let line = format!(
            "trap '' {trapped}; exec {} run stopped.toml --device cpu --jobs 2 --threads 1",
            program().display()
        );
        let mut command = start(std::path::Path::new("sh"), folder.path());
        let grid = command.args(["-c", &line]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait("a run at work", 60, || {
            files(&folder.path().join("runs/store"))
                .iter()
                .any(|path| path.ends_with("work.json"))
                .then_some(())
        });
        kill(sent, &grid.id().to_string());
        let ran = Ran::of(&grid.wait_with_output().unwrap());
        assert_eq!(ran.code, code, "{trapped} {sent}: {}\n{}", ran.out, ran.err);
        let done = results(&folder.path().join("runs")).len();
        assert_eq!(done == 2, code == 0, "{trapped} {sent}: {done} done");
    }
}

/// A third request ends a command that waits for another program, here an `sbatch` that does not answer.
#[test]
fn a_third_request_ends_a_waiting_command() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stopped.toml"), EXPERIMENT).unwrap();
    std::fs::write(folder.path().join("site.toml"), "time = \"10\"\n").unwrap();
    let (tools, asked) = (folder.path().join("tools"), folder.path().join("asked"));
    std::fs::create_dir(&tools).unwrap();
    for name in ["sbatch", "squeue", "sinfo", "scontrol", "sacct"] {
        let script = format!("#!/bin/sh\necho {name} >> {}\nexec sleep 60\n", asked.display());
        std::fs::write(tools.join(name), script).unwrap();
        std::fs::set_permissions(tools.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut command = runner(folder.path());
    command.args([
        "run",
        "stopped.toml",
        "--device",
        "cpu",
        "--executor",
        "slurm",
        "--slurm-profile",
        "site.toml",
    ]);
    let mut waiting =
        command.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait("the call of the other program", 60, || asked.is_file().then_some(()));
    // Signals of one kind that arrive at once count as one.
    wait("the end", 50, || {
        if waiting.try_wait().unwrap().is_none() {
            kill(&format!("-{}", ctrl_c().as_raw()), &waiting.id().to_string());
        }
        waiting.try_wait().unwrap()
    });
    let ran = Ran::of(&waiting.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}\n{}", ran.out, ran.err);
}
