//! Averages of the weights, from the experiment file to the result.

use lrlab_tests::{results, root, run};
use serde_json::Value;

#[test]
fn averages_are_evaluated_and_can_be_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (root().join("tests/averaging.toml"), folder.path().join("runs"));
    let args = ["run", file.to_str().unwrap(), "--device", "cpu", "--jobs", "2"];
    let ran = run(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let results = results(&out);
    let of = |model: &str, epochs: u64| {
        let fits = |result: &&Value| result["cell"]["model"] == model && result["cell"]["epochs"] == epochs;
        results.values().find(fits).unwrap()
    };
    let loss = |figures: &Value| figures["val_loss"].as_f64().unwrap();
    let mut chosen = 0;
    for (model, epochs) in [("ema", 4), ("ema", 8), ("swa", 4), ("swa", 8)] {
        let (plain, averaged) = (of("plain", epochs), of(model, epochs));
        // Averaging does not change the training.
        assert_eq!(averaged["history"], plain["history"], "{model}");
        assert!(plain["final"].get("averaged").is_none());
        let (last, best) = (&averaged["final"], &averaged["best"]);
        assert_eq!((&last["averaged"], &last["epoch"]), (&true.into(), &epochs.into()), "{model}");
        for figure in ["val_loss", "val_accuracy", "test_loss", "train_eval_loss"] {
            assert!(last[figure].as_f64().is_some_and(f64::is_finite), "{model} {figure}: {}", last[figure]);
        }
        assert_ne!(loss(last), loss(&plain["final"]), "{model}");
        // By the metric `select`, here the validation loss.
        let least = averaged["history"].as_array().unwrap().iter().map(loss).fold(f64::INFINITY, f64::min);
        assert_eq!(loss(best), least.min(loss(last)), "{model}");
        assert_eq!(best["averaged"] == true, loss(last) < least, "{model}");
        if loss(last) < least {
            assert_eq!(best, last, "{model}");
            chosen += 1;
        }
    }
    assert!((1..4).contains(&chosen), "of four averages {chosen} are the best: the test shows little");
    // The files of the two best epochs by `select`, besides the best weights.
    for (id, result) in &results {
        let mut epochs: Vec<_> = result["history"].as_array().unwrap().iter().collect();
        epochs.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
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
