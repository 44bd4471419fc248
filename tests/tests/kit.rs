//! The kit as a user calls it, with the CPU in place of a device.

use lrlab_tests::run;
use serde_json::Value;

#[test]
fn the_kit_passes_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let (json, work) = (folder.path().join("kit.jsonl"), folder.path().join("work"));
    let (json_path, work_path) = (json.display().to_string(), work.display().to_string());
    let mut args = vec!["kit", "--device", "cpu", "--json", &json_path, "--work-dir", &work_path];
    let operators = ["conv2d", "ConvNet", "dropout", "EncoderLayer bf16", "adam_update", "NaN"];
    let named =
        operators.iter().chain(&["data", "lstm twice", "own loop", "lstm learns", "grids", "lstm speed"]);
    args.extend(named.flat_map(|name| ["--only", *name]));
    let ran = run(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("compared with itself"), "{}", ran.out);

    let text = std::fs::read_to_string(&json).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["check"], "device");
    assert!(rows[0]["detail"].as_str().unwrap().contains("numerics cpu/"), "{}", rows[0]);
    for row in &rows {
        // Workers are found on Linux only.
        let elsewhere = row["check"] == "kill and resume" && !cfg!(target_os = "linux");
        assert!(row["outcome"] == "passed" || elsewhere, "{row}");
        assert!(row["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{row}");
        assert_eq!(row["device"], "cpu", "{row}");
        let measured = row["kind"] == "operators" && row["check"] != "NaN" || row["check"] == "own loop";
        assert_eq!(measured, row["error"].is_f64() && row["bound"].is_f64(), "{row}");
    }
    let table: Vec<&str> = ran.out.lines().collect();
    assert!(table[table.len() - 1].contains(&format!("{} passed, 0 failed", rows.len())), "{}", ran.out);
    for row in &rows {
        let name = row["check"].as_str().unwrap();
        assert!(table.iter().any(|line| line.starts_with(name)), "{name} is not in the table: {}", ran.out);
    }
    // Intermediate files are kept with --work-dir.
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 1);
    assert!(ran.err.contains(&work_path), "{}", ran.err);
}

#[test]
fn missing_devices_and_unknown_checks_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = run(folder.path(), &["kit", "--device", "cpu", "--only", "conv"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("unknown check \"conv\": expected one of ")
            && unknown.err.contains("conv2d")
            && unknown.err.contains("did you mean \"conv"),
        "{}",
        unknown.err
    );
    // No machine has so many devices.
    let absent = run(folder.path(), &["kit", "--device", "cuda:99", "--only", "relu"]);
    assert_eq!(absent.code, 1, "{}", absent.out);
    let rows: Vec<&str> = absent.out.lines().collect();
    assert!(
        rows[1].starts_with("device") && rows[1].contains("cuda:99") && rows[1].ends_with("FAILED"),
        "{}",
        absent.out
    );
    assert!(
        rows[2].starts_with("relu") && rows[2].ends_with("skipped: the device does not work"),
        "{}",
        absent.out
    );
}
