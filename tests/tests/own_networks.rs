//! User-defined networks and data in a user-built runner.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]

use std::path::Path;

use lrlab_tests::{Ran, SHARED, TINY, results, start};
use serde_json::Value;

/// Calls `run` of a runner on the tiny experiment with this network, on 33 training examples in batches of this size.
fn run(program: &Path, folder: &Path, network: &str, batch_size: usize) -> Ran {
    let text = TINY
        .replace("linear = {}", network)
        .replace("train = 40, test = 10", "train = 41, test = 10, size = 8")
        .replace("batch_size = 16", &format!("batch_size = {batch_size}"));
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    let mut command = start(program, folder);
    Ran::of(&command.args(["run", "tiny.toml", "--device", "cpu"]).output().unwrap())
}

fn own(folder: &Path, name: &str, batch_size: usize) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_own-networks"));
    run(program, folder, &format!("custom = {{ name = \"{name}\" }}"), batch_size)
}

/// A last batch of one example, from which the network cannot learn, is reported before training.
#[test]
fn a_last_batch_of_one_example_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (batch_size, words) in [
        (16, ["so the last batch of an epoch is 1 of 33 examples", "a batch size of 15 or 17 avoids it"]),
        (1, ["so each batch is 1 of 33 examples", "a batch size of 3 avoids it"]),
    ] {
        let ran = own(folder, "normed", batch_size);
        assert_eq!(ran.code, 2, "{}", ran.err);
        for word in words.into_iter().chain(["one value per channel has no variance"]) {
            assert!(ran.err.contains(word), "no {word:?} in\n{}", ran.err);
        }
        assert!(results(&folder.join("runs")).is_empty());
    }
    let ran = own(folder, "normed", 15);
    assert_eq!((ran.code, results(&folder.join("runs")).len()), (0, 2), "{}", ran.err);
}

/// Only input that the worker rejects before training is a mistake in the configuration.
#[test]
fn a_failure_in_training_is_not_called_a_mistake_in_the_configuration() {
    for (name, kind, words) in [
        ("tiring", "error", "tensor operation: \"tiring\" had enough (ended with code 1)"),
        ("moody", "configuration", "\"moody\" does not want to (ended with code 2)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = TINY.replace("linear = {}", &format!("custom = {{ name = \"{name}\" }}"));
        std::fs::write(folder.path().join("tiny.toml"), text).unwrap();
        let mut command = start(Path::new(env!("CARGO_BIN_EXE_own-networks")), folder.path());
        // The reason stays one line with backtraces.
        command.env("MOODY", "1").env("RUST_BACKTRACE", "1").env_remove("RUST_LIB_BACKTRACE");
        let ran = Ran::of(&command.args(["run", "tiny.toml", "--device", "cpu"]).output().unwrap());
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains(&format!("{kind}: {words}")), "{}", ran.err);
        let runs = std::fs::read_dir(folder.path().join("runs/store")).unwrap();
        for run in runs {
            let failure = std::fs::read(run.unwrap().path().join("failure.json")).unwrap();
            let failure: Value = serde_json::from_slice(&failure).unwrap();
            assert_eq!(failure["kind"], kind, "{failure}");
        }
    }
}

/// The experiment file does not give the size of user-defined data.
#[test]
fn built_in_networks_train_on_user_defined_data() {
    let folder = tempfile::tempdir().unwrap();
    let text = TINY
        .replace("linear = {}", "resnet = { depth = 8 }")
        .replace("synthetic_pictures = { train = 40, test = 10 }", "custom = { name = \"small\" }");
    std::fs::write(folder.path().join("tiny.toml"), text).unwrap();
    let call = |more: &[&str]| {
        let mut command = start(Path::new(env!("CARGO_BIN_EXE_own-networks")), folder.path());
        Ran::of(&command.args(["run", "tiny.toml", "--device", "cpu"]).args(more).output().unwrap())
    };
    let refused = call(&[]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    for words in [
        "`batch_size` is 16, so the last batch of an epoch is 1 of 33",
        "one value per channel has no variance",
    ] {
        assert!(refused.err.contains(words), "no {words:?} in\n{}", refused.err);
    }
    let ran = call(&["--set", "defaults.batch_size=15"]);
    assert_eq!((ran.code, results(&folder.path().join("runs")).len()), (0, 2), "{}", ran.err);
}

/// A user-built runner verifies its runs; runs that fail in verification are not differences.
#[test]
fn user_built_runners_verify_their_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ran = own(folder, "moody", 15);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let verify = |program: &Path, moody: &[(&str, &str)]| {
        let mut command = start(program, folder);
        command.args(["verify", "--records", "runs.jsonl", "--device", "cpu"]).envs(moody.iter().copied());
        Ran::of(&command.output().unwrap())
    };
    let lines = results(&folder.join("runs")).into_values().map(|result| format!("{result}\n"));
    std::fs::write(folder.join("runs.jsonl"), lines.collect::<String>()).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_own-networks"));
    let ran = verify(program, &[]);
    assert!(ran.code == 0 && ran.out.ends_with("\n2 of 2 runs are identical\n"), "{}{}", ran.out, ran.err);
    let ran = verify(program, &[("MOODY", "1")]);
    assert!(
        ran.code == 1 && ran.out.ends_with("\n0 of 2 runs are identical, 2 failed\n"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert_eq!(ran.out.matches("  failed: \"moody\" does not want to").count(), 2, "{}", ran.out);
    // A runner without the network reports so before training.
    let ran = verify(&lrlab_tests::program(), &[]);
    assert!(
        ran.code == 2 && ran.out.matches("  cannot be verified: preflight: ").count() == 2,
        "{}{}",
        ran.out,
        ran.err
    );
}

/// A failure with every batch is not attributed to the batch size.
#[test]
fn failures_with_every_batch_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let ran = own(folder.path(), "failing", 16);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("\"failing\" never works"), "{}", ran.err);
    assert!(!ran.err.contains("1 of 33"), "{}", ran.err);
}

/// Built-in networks that learn from a single example accept a last batch of one.
#[test]
fn built_in_networks_accept_a_last_batch_of_one_example() {
    let folder = tempfile::tempdir().unwrap();
    for (network, runs) in [("linear = {}", 2), ("resnet = { depth = 8 }", 4)] {
        let ran = run(&lrlab_tests::program(), folder.path(), network, 16);
        assert_eq!((ran.code, results(&folder.path().join("runs")).len()), (0, runs), "{}", ran.err);
    }
}

/// A registered function of time sets the rate and a constant of the optimizer; its version enters the run's id, and
/// the logs have every second update.
#[test]
fn registered_functions_of_time_set_values() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = TINY
        .replace("static = {}", "warmup = { over = \"1 update\", then = { lambda = { name = \"halves\" } } }")
        .replace("epochs = [1]\nseed = [0, 1]", "epochs = [3]\nseed = [0]")
        .replace("lr = 0.01", "lr = 0.01\nlog_every = 2")
        .replace(
            "sgd = {}",
            "sgd = { momentum = 0.8, momentum_schedule = { lambda = { name = \"halves\" } }, weight_decay = 0.1, \
             weight_decay_schedule = { cosine = {} } }",
        );
    std::fs::write(folder.join("tiny.toml"), &text).unwrap();
    let call = |program: &Path, command: &str, version: &str| {
        let mut started = start(program, folder);
        started.args([command, "tiny.toml"]).env("HALVES", version);
        if command == "run" {
            started.args(["--device", "cpu"]);
        }
        Ran::of(&started.output().unwrap())
    };
    let program = Path::new(env!("CARGO_BIN_EXE_own-networks"));
    let ran = call(program, "run", "1");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let found = results(&folder.join("runs"));
    let [(id, result)] = &found.into_iter().collect::<Vec<_>>()[..] else { panic!("one run") };
    let history = result["history"].as_array().unwrap();
    // 32 examples in batches of 16 are 2 updates per epoch; the function's time starts after the warm-up.
    let rates: Vec<f64> = history.iter().map(|epoch| epoch["lr"].as_f64().unwrap()).collect();
    assert_eq!(rates, [0.01, 0.005, 0.0025]);
    let momenta: Vec<&Value> = history.iter().map(|epoch| &epoch["hyperparameters"]["momentum"]).collect();
    assert_eq!(momenta, [0.8, 0.4, 0.2]);
    let decay = history[2]["hyperparameters"]["weight_decay"].as_f64().unwrap();
    let updates = result["updates"]["made"].as_f64().unwrap();
    let expected = 0.1 * (1.0 + (std::f64::consts::PI * (updates - 1.0) / updates).cos()) / 2.0;
    assert!((decay - expected).abs() < 1e-12, "{decay}, {expected}");
    let part =
        result.pointer("/provenance/registered").map_or_else(|| result.to_string(), ToString::to_string);
    for words in ["lambda", "halves", "3f2a9c1"] {
        assert!(part.contains(words), "no {words} in {part}");
    }
    let attempt =
        lrlab_tests::files(&folder.join("runs")).into_iter().find(|path| path.ends_with("updates.csv"));
    let rows = std::fs::read_to_string(attempt.unwrap()).unwrap();
    let logged: Vec<&str> = rows.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(logged, ["2", "4", "6"], "{rows}");

    // A longer run continues a shorter one, with the bits of a run from scratch.
    let longer = text
        .replace("epochs = [3]", "epochs = [2, 4]")
        .replace("weight_decay_schedule = { cosine = {} } ", "");
    let longer = longer.replace("weight_decay = 0.1, }", "weight_decay = 0.1 }");
    std::fs::write(folder.join("tiny.toml"), longer).unwrap();
    for args in [&["--out", "continued"][..], &["--out", "scratch", "--from-scratch"]] {
        let mut started = start(program, folder);
        started.args(["run", "tiny.toml", "--device", "cpu"]).args(args).env("HALVES", "1");
        let ran = Ran::of(&started.output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.err.matches(": continues ").count(), usize::from(args.len() == 2), "{}", ran.err);
    }
    let [continued, scratch] = ["continued", "scratch"].map(|out| results(&folder.join(out)));
    assert_eq!(continued.len(), 2);
    for (id, result) in &continued {
        for key in SHARED {
            assert_eq!(result[key], scratch[id][key], "{key}");
        }
    }
    std::fs::write(folder.join("tiny.toml"), &text).unwrap();

    // The function can be inspected like every schedule.
    let inspect = |program: &Path, args: &[&str]| {
        Ran::of(&start(program, folder).arg("schedule").args(args).env("HALVES", "1").output().unwrap())
    };
    let own = "delay = { by = \"1 epoch\", of = { lambda = { name = \"halves\" } } }";
    let length = ["--schedule", own, "--lr", "0.8", "--epochs", "4", "--updates-per-epoch", "1"];
    let traced = inspect(program, &[&["trace"][..], &length].concat());
    assert_eq!((traced.code, traced.out.as_str()), (0, "0.8\n0.8\n0.4\n0.2\n"), "{}", traced.err);
    for command in ["plot", "lint"] {
        let shown = inspect(program, &[&[command][..], &length].concat());
        assert!(shown.code == 0 && !shown.out.is_empty(), "{}", shown.err);
    }
    let listed = inspect(program, &["list"]).out;
    assert!(
        listed.contains("a function of this program, version \"1\"\n    lambda = { name = \"halves\" }\n"),
        "{listed}"
    );
    std::fs::write(folder.join("losses"), "0.5\n0.5\n0.5\n").unwrap();
    let under = ["--schedule", own, "--lr", "0.8", "--updates-per-epoch", "1", "--metrics", "losses"];
    let controller = ["replay", "--controller", "plateau = { factor = 0.5, patience = 0 }"];
    let replayed = inspect(program, &[&controller[..], &under].concat());
    assert_eq!((replayed.code, replayed.out.as_str()), (0, "0.8\n0.8\n0.2\n"), "{}", replayed.err);
    let stock = inspect(&lrlab_tests::program(), &[&["trace"][..], &length].concat());
    assert!(stock.code == 2 && stock.err.contains("registered functions: none"), "{}", stock.err);

    // Another version makes another run; a runner without the function says which there are.
    let plan = |version: &str| call(program, "plan", version).out;
    assert!(plan("1").contains(&id[..7]) && !plan("2").contains(&id[..7]), "{}", plan("2"));
    let none = call(&lrlab_tests::program(), "plan", "1");
    assert!(none.code == 2 && none.err.contains("unknown function `halves`"), "{}", none.err);
    assert!(none.err.contains("call the program that registers it"), "{}", none.err);
    std::fs::write(folder.join("tiny.toml"), text.replace("halves", "halve")).unwrap();
    let misspelt = call(program, "plan", "1");
    assert!(misspelt.code == 2 && misspelt.err.contains("did you mean `halves`?"), "{}", misspelt.err);
}

/// Every runner reads the results of a user-built runner; only training needs the registered parts.
#[test]
fn every_runner_reads_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = TINY
        .replace("linear = {}", "custom = { name = \"normed\" }")
        .replace("synthetic_pictures = { train = 40, test = 10 }", "custom = { name = \"small\" }")
        .replace("static = {}", "scale = { by = 0.7, of = { lambda = { name = \"halves\" } } }")
        .replace("batch_size = 16", "batch_size = 11")
        .replace("sgd = {}", "sgd = { momentum_schedule = { lambda = { name = \"halves\" } } }");
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    let call = |program: &Path, args: &[&str]| {
        Ran::of(&start(program, folder).args(args).env("HALVES", "7").output().unwrap())
    };
    let (own, stock) = (Path::new(env!("CARGO_BIN_EXE_own-networks")), lrlab_tests::program());
    let trained = call(own, &["run", "tiny.toml", "--device", "cpu"]);
    assert_eq!(trained.code, 0, "{}", trained.err);
    let tables = || std::fs::read_to_string(folder.join("runs/tiny/report/tables/runs.csv")).unwrap();
    let before = tables();
    let reported = call(&stock, &["report", "tiny.toml"]);
    assert_eq!((reported.code, tables()), (0, before.clone()), "{}", reported.err);
    for args in [&["tensorboard", "tiny.toml"][..], &["records", "export", "tiny.toml", "--to", "all.jsonl"]]
    {
        let ran = call(&stock, args);
        assert!(ran.code == 0 && ran.out.contains("2 runs"), "{args:?}: {}{}", ran.out, ran.err);
    }
    let status = call(&stock, &["status", "tiny.toml"]);
    assert!(status.code == 0 && !status.err.contains("errors"), "{}{}", status.out, status.err);
    // From the records alone, in another store.
    let args = ["report", "tiny.toml", "--out", "elsewhere", "--records", "all.jsonl", "--to", "copy"];
    let reported = call(&stock, &args);
    assert_eq!(reported.code, 0, "{}", reported.err);
    let copy = std::fs::read_to_string(folder.join("copy/tables/runs.csv")).unwrap();
    let states = |table: &str| -> Vec<String> {
        let names: Vec<&str> = table.lines().next().unwrap().split(',').collect();
        let [id, state] = ["run_id", "state"].map(|name| names.iter().position(|n| *n == name).unwrap());
        let cells = table.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        cells.map(|cells| format!("{} {}", cells[id], cells[state])).collect()
    };
    assert_eq!((states(&copy), states(&copy).len()), (states(&before), 2));
    // Neither plan nor records: which parts are missing.
    let refused = call(&stock, &["report", "tiny.toml", "--out", "nowhere"]);
    assert!(refused.code == 2 && refused.err.contains("unknown model `normed`"), "{}", refused.err);
}

/// Messages name the program that was called.
#[test]
fn messages_name_the_called_program() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let call = |args: &[&str]| {
        let ran = Ran::of(
            &start(Path::new(env!("CARGO_BIN_EXE_own-networks")), folder).args(args).output().unwrap(),
        );
        (ran.code, ran.out + &ran.err)
    };
    let (code, text) = call(&["new", "mine.toml"]);
    assert!(code == 0 && text.contains("`own-networks run mine.toml`") && !text.contains("lrlab"), "{text}");
    let (code, text) = call(&["status", "mine.toml"]);
    assert!(code == 2 && text.contains("`own-networks run mine.toml --out runs` creates one"), "{text}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, text) = call(&["completions", shell]);
        assert!(code == 0 && text.contains("own-networks") && !text.contains(" lrlab\n"), "{shell}: {text}");
    }
    let (code, _) = call(&["man", "--to", "man"]);
    assert!(code == 0 && folder.join("man/own-networks-run.1").is_file());
}
