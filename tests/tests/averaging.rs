//! Averages of the weights from the experiment's file to the result.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lrlab_tests::{results, root, run};

#[test]
fn the_average_is_scored_and_may_be_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (root().join("tests/averaging.toml"), folder.path().join("runs"));
    let args =
        ["run", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--device", "cpu", "--jobs", "2"];
    let ran = run(&args);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let results = results(&out);
    let of = |model: &str| results.values().find(|result| result["cell"]["model"] == model).unwrap();
    let plain = of("plain");
    for model in ["ema", "swa"] {
        let averaged = of(model);
        // Averaging looks on: the training is that of the run without.
        assert_eq!(averaged["history"], plain["history"], "{model}");
        let (last, best, epochs) =
            (&averaged["final"], &averaged["best"], averaged["history"].as_array().unwrap());
        assert_eq!((&last["averaged"], &last["epoch"]), (&true.into(), &6.into()), "{model}");
        for figure in ["val_loss", "val_accuracy", "test_loss", "train_eval_loss"] {
            assert!(last[figure].as_f64().is_some_and(f64::is_finite), "{model} {figure}: {}", last[figure]);
            assert_ne!(last[figure], plain["final"][figure], "{model} {figure}");
        }
        let least =
            epochs.iter().map(|epoch| epoch["val_loss"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
        let average = last["val_loss"].as_f64().unwrap();
        assert_eq!(best["val_loss"].as_f64().unwrap(), least.min(average), "{model}");
        assert_eq!(best["averaged"] == true, average < least, "{model}");
        assert!(
            average < epochs[5]["val_loss"].as_f64().unwrap(),
            "{model}: averaging helps at a fixed high rate"
        );
    }
    assert!(plain["final"].get("averaged").is_none());
    // The two best epochs by `select`, beside the best weights.
    for (id, result) in &results {
        let mut epochs: Vec<_> = result["history"].as_array().unwrap().iter().collect();
        epochs.sort_by(|a, b| a["val_loss"].as_f64().unwrap().total_cmp(&b["val_loss"].as_f64().unwrap()));
        let mut expected: Vec<_> = epochs[..2]
            .iter()
            .map(|e| format!("epoch-{:04}.safetensors", e["epoch"].as_u64().unwrap()))
            .collect();
        expected.push("best.safetensors".to_owned());
        expected.sort();
        let entries = std::fs::read_dir(out.join("store").join(id)).unwrap().flatten();
        let mut found: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        found.retain(|name| name.ends_with(".safetensors"));
        found.sort();
        assert_eq!(found, expected, "{}", result["cell"]);
    }
}
