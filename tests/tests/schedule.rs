//! `lrlab schedule` as a user calls it.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]

use lrlab_tests::Ran;

/// The commands read and write only the files that the arguments name.
fn run(args: &[&str]) -> Ran {
    lrlab_tests::run(&std::env::temp_dir(), args)
}

fn rates(out: &str) -> Vec<f64> {
    out.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn trace_prints_one_rate_per_update() {
    let ran = run(&["schedule", "trace", "--schedule", "cosine = {}", "--lr", "0.1", "--updates", "4"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected: Vec<f64> =
        (0..4).map(|t| 0.05 * (1.0 + (std::f64::consts::PI * f64::from(t) / 4.0).cos())).collect();
    for (seen, expected) in rates(&ran.out).iter().zip(&expected) {
        assert!((seen - expected).abs() < 1e-15, "{seen} is not {expected}");
    }
    assert_eq!(ran.out.lines().count(), 4);
}

/// `StepLR(step_size=2, gamma=0.1)` from 0.1, printed by PyTorch 2.11.
#[test]
fn step_lr_has_the_bits_of_pytorch() {
    let schedule = "step = { step_size = 2, gamma = 0.1 }";
    let args =
        ["schedule", "trace", "--schedule", schedule, "--lr", "0.1", "--updates", "6", "--compat", "torch"];
    let ran = run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "0.1\n0.1\n0.010000000000000002\n0.010000000000000002\n0.0010000000000000002\n0.0010000000000000002\n"
    );
}

#[test]
fn lengths_have_units() {
    let schedule = "step = { step_size = '1 epoch', gamma = 0.5 }";
    let run_length = ["--epochs", "2", "--updates-per-epoch", "2"];
    let args = ["schedule", "trace", "--schedule", schedule, "--lr", "1"];
    let ran = run(&[&args[..], &run_length[..]].concat());
    assert_eq!(rates(&ran.out), [1.0, 1.0, 0.5, 0.5], "{}", ran.err);

    let bare = ["schedule", "trace", "--schedule", "step = { step_size = 1, gamma = 0.5 }", "--lr", "1"];
    let ran = run(&[&bare[..], &run_length[..]].concat());
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("epochs"), "{}", ran.err);
}

#[test]
fn list_shows_every_schedule() {
    let ran = run(&["schedule", "list"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let cosine: Vec<&str> = ran.out.lines().skip_while(|line| !line.starts_with("cosine ")).take(2).collect();
    assert!(cosine[0].contains("█▇") && cosine[0].ends_with("half a cosine"), "{cosine:?}");
    assert_eq!(cosine[1], "    cosine = {}");
}

#[test]
fn replay_combines_a_controller_with_a_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("loss.txt");
    std::fs::write(&metrics, "1.0\n1.0\n1.0\n").unwrap();
    let file = metrics.display().to_string();
    let args =
        ["schedule", "replay", "--controller", "plateau = { factor = 0.5, patience = 0 }", "--lr", "0.6"];
    let over = ["--metrics", &file, "--schedule", "linear_to_zero", "--updates-per-epoch", "2"];
    let ran = run(&[&args[..], &over[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = [0.6, 0.5, 0.4, 0.3, 0.1, 0.05];
    assert!(rates(&ran.out).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 6);
    let ran = run(&[&args[..], &over[..], &["--compat", "torch"]].concat());
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("--schedule with --compat torch"), "{}", ran.err);
}

#[test]
fn replay_follows_a_recorded_metric() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("loss.txt");
    std::fs::write(&metrics, "1.0\n0.9 0.01\n0.95\n0.96\n0.97\n").unwrap();
    let file = metrics.display().to_string();
    let args =
        ["schedule", "replay", "--controller", "plateau = { factor = 0.5, patience = 1 }", "--lr", "0.1"];
    let ran = run(&[&args[..], &["--metrics", &file, "--compat", "torch"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(rates(&ran.out), [0.1, 0.1, 0.1, 0.05, 0.05]);
    assert!(ran.err.contains("open loop"), "{}", ran.err);

    // CRLF line ends, empty lines, a byte-order mark and unusual numbers; without `--compat` the output has reasons.
    std::fs::write(&metrics, "\u{feff}1.0\r\n\r\n9e-1\r\nNaN\r\n-inf\r\n \r\n+9.6E-01,0.1").unwrap();
    let ran = run(&[&args[..], &["--metrics", &file]].concat());
    assert_eq!((ran.code, rates(&ran.out)), (0, vec![0.1, 0.1, 0.1, 0.05, 0.05]), "{}", ran.err);
    let words = "observation 4: cut × 0.5: 2 bad > patience 1, best 0.9 at observation 2";
    assert!(ran.err.contains(words), "{}", ran.err);

    std::fs::write(&metrics, "\n").unwrap();
    let ran = run(&[&args[..], &["--metrics", &file]].concat());
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("no metric"), "{}", ran.err);

    std::fs::write(&metrics, "1.0\nnought\n").unwrap();
    let ran = run(&[&args[..], &["--metrics", &file]].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("loss.txt:2") && ran.err.contains("nought"), "{}", ran.err);
}

/// Where PyTorch raises an exception, the command fails with a message and prints no rates.
#[test]
fn errors_of_pytorch_are_errors() {
    let schedule = "one_cycle = { max_lr = 0.1, total_steps = 3 }";
    let trace = |updates: &str, lr: &str| {
        let args = [
            "schedule",
            "trace",
            "--schedule",
            schedule,
            "--compat",
            "torch",
            "--updates",
            updates,
            "--lr",
            lr,
        ];
        run(&args)
    };
    let ran = trace("5", "0.1");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("PyTorch raises ValueError: stepped 4 times"), "{}", ran.err);
    assert_eq!(trace("4", "0.1").out.lines().count(), 4);
    let ran = trace("4", "nan");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--lr NaN: expected a finite rate"), "{}", ran.err);
}

#[test]
fn misspelt_schedules_are_rejected() {
    let ran = run(&["schedule", "trace", "--schedule", "cosin = {}", "--lr", "0.1", "--updates", "4"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unknown variant `cosin`; did you mean `cosine`?"), "{}", ran.err);
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("loss.txt");
    std::fs::write(&metrics, "0.7\n").unwrap();
    let controller = "gready = { raise = 1.1 }";
    let metrics = metrics.display().to_string();
    let ran = run(&["schedule", "replay", "--controller", controller, "--lr", "0.2", "--metrics", &metrics]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unknown variant `gready`; did you mean `greedy`?"), "{}", ran.err);
}

#[test]
fn plots_are_text_or_svg() {
    let args = ["schedule", "plot", "--schedule", "cosine = {}", "--lr", "0.1", "--updates", "50"];
    let ran = run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.lines().count() > 10, "{}", ran.out);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cosine.svg");
    let ran = run(&[&args[..], &["--out", &file.display().to_string()]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("<svg"));
    let file = file.with_extension("png");
    let ran = run(&[&args[..], &["--out", &file.display().to_string()]].concat());
    assert!(
        ran.code == 2 && ran.err.contains("plots are written as SVG: expected a name like"),
        "{}",
        ran.err
    );
    assert!(!file.exists());
}

#[test]
fn lint_finds_schedules_of_the_wrong_length() {
    let length = ["--lr", "0.1", "--epochs", "20", "--updates-per-epoch", "10"];
    let lint = |more: &[&str]| run(&[&["schedule", "lint"], more, &length[..]].concat());
    let ran = lint(&[
        "--schedule",
        "cosine = { t_max = '200 epochs' }",
        "--controller",
        "plateau = { patience = 30 }",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("cosine.t_max") && ran.out.contains("plateau"), "{}", ran.out);
    assert_eq!(lint(&["--schedule", "cosine = {}"]).out, "no problems found\n");
}

const SCRIPTED: &str = r#"
name = "scripted"

[axes]
model = ["linear"]
schedule = ["static"]
monitor = ["on"]
epochs = [5]
seed = [0, 1]

[defaults]
lr = 0.01
batch_size = 16
optimizer = { sgd = {} }

[models.linear]
network = { linear = {} }
data = "pictures"

[data.pictures]
source = { synthetic_pictures = { train = 40, test = 10 } }

[schedules.static]
static = {}

[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0, threshold = 0.5 } }
metric = "val_loss"
"#;

/// A run with its own gains as a script has the same history; a run with another's gains has its rates.
#[test]
fn gains_of_a_finished_run_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let here = |args: &[&str]| {
        let ran = lrlab_tests::run(folder, args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
        ran.out
    };
    std::fs::write(folder.join("with.toml"), SCRIPTED).unwrap();
    here(&["run", "with.toml", "--device", "cpu", "--threads", "1"]);
    here(&["records", "export", "with.toml", "--to", "with.jsonl"]);
    let gains = here(&["schedule", "gains", "with.jsonl"]);
    let scripts: Vec<(&str, &str)> =
        gains.lines().collect::<Vec<_>>().chunks(2).map(|lines| (lines[0], lines[1])).collect();
    assert_eq!(scripts.len(), 2, "{gains}");
    let script = |seed: &str| scripts.iter().find(|(run, _)| run.ends_with(seed)).unwrap().1;
    assert!(script("seed=0").starts_with("controller = { scripted = { gains = [["), "{gains}");

    let [before, after] = SCRIPTED
        .split("controller = { plateau = { factor = 0.5, patience = 0, threshold = 0.5 } }")
        .collect::<Vec<_>>()[..]
    else {
        panic!("one controller");
    };
    std::fs::write(folder.join("sham.toml"), format!("{before}{}{after}", script("seed=0"))).unwrap();
    here(&["run", "sham.toml", "--device", "cpu", "--threads", "1", "--out", "sham"]);
    let of = |store: &str, seed: u64| {
        let mut found = lrlab_tests::results(&folder.join(store)).into_values();
        found.find(|result| result["cell"]["seed"] == seed).unwrap()
    };
    assert_eq!(of("runs", 0)["history"], of("sham", 0)["history"]);
    let rates = |result: &serde_json::Value| -> Vec<serde_json::Value> {
        result["history"].as_array().unwrap().iter().map(|epoch| epoch["lr"].clone()).collect()
    };
    assert_eq!(rates(&of("runs", 0)), rates(&of("sham", 1)));
    assert!(of("sham", 1)["decisions"][0]["reason"].as_str().unwrap().ends_with("on, as written"));

    for (options, expected) in [
        (["--run", "0000"], "--run 0000: the records do not contain this run"),
        (
            ["--source", "moniter"],
            "--source moniter: no run on record has a decision of `moniter`; expected `monitor`",
        ),
    ] {
        let ran = lrlab_tests::run(folder, &[&["schedule", "gains", "with.jsonl"], &options[..]].concat());
        assert!(ran.code == 2 && ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn lengths_of_runs_agree_and_have_a_limit() {
    let check = |lengths: &str, expected: &str| {
        let args = ["schedule", "trace", "--schedule", "cosine = {}", "--lr", "0.1"];
        let ran = run(&args.into_iter().chain(lengths.split(' ')).collect::<Vec<_>>());
        match ran.code {
            0 => assert_eq!(ran.out.lines().count().to_string(), expected, "{lengths}"),
            code => assert!(code == 2 && ran.err.contains(expected), "{lengths}: {}", ran.err),
        }
    };
    check("--epochs 3 --updates-per-epoch 2 --updates 6", "6");
    check("--epochs 3 --updates-per-epoch 2 --updates 7", "do not agree");
    check("--updates 9007199254740993", "a run of 9007199254740993 updates is too long");
    check(
        "--epochs 18446744073709551615 --updates-per-epoch 2",
        "updates is too long: expected at most 100000000",
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("loss.txt"), "1\n2\n").unwrap();
    let replay = ["schedule", "replay", "--controller", "plateau = {}", "--metrics", "loss.txt"];
    let long = ["--schedule", "cosine = {}", "--lr", "0.1", "--updates-per-epoch", "9007199254740993"];
    let ran = lrlab_tests::run(folder.path(), &[&replay[..], &long].concat());
    assert!(ran.code == 2 && ran.err.contains("updates is too long"), "{}", ran.err);
}
