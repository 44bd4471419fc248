//! The bits of small runs of every network, optimizer and precision, at every SIMD level, with one thread and with two.
//!
//! After an intended change of the arithmetic, raise the version in `lrlab_kernels::cpu_numerics` and rewrite
//! `tests/golden.json` with `LRLAB_GOLDEN=write cargo test --release -p lrlab-tests golden::`.

use std::collections::BTreeMap;
use std::path::Path;

use lrlab_tests::{SHARED, results, root, runner};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const FILE: &str = "tests/golden.json";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    /// Of every run.
    numerics: String,
    /// By model and schedule.
    runs: BTreeMap<String, Digests>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Digests {
    /// Of outcome, history, final, best and decisions.
    result: String,
    /// Of the weights of the best epoch, as a file without metadata.
    weights: String,
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

/// Runs the grid at a SIMD level.
fn golden(folder: &Path, level: &str, threads: &str) -> Golden {
    let out = format!("{level}-{threads}");
    let mut command = runner(folder);
    command.args(["run", "golden.toml", "--out", &out, "--device", "cpu", "--threads", threads]);
    let output = command.env("LRLAB_SIMD", level).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut golden = Golden { numerics: String::new(), runs: BTreeMap::new() };
    for (id, result) in results(&folder.join(&out)) {
        let numerics = result["provenance"]["numerics"].as_str().unwrap();
        assert!(golden.numerics.is_empty() || golden.numerics == numerics, "{numerics}");
        numerics.clone_into(&mut golden.numerics);
        let cell = |key: &str| result["cell"][key].as_str().unwrap().to_owned();
        let shared: BTreeMap<_, &Value> = SHARED.iter().map(|key| (key, &result[*key])).collect();
        let weights =
            std::fs::read(folder.join(&out).join("store").join(&id).join("best.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
        let weights = safetensors::serialize(tensors.iter(), None).unwrap();
        let digests =
            Digests { result: digest(&serde_json::to_vec(&shared).unwrap()), weights: digest(&weights) };
        assert_eq!(golden.runs.insert(format!("{} {}", cell("model"), cell("schedule")), digests), None);
    }
    golden
}

#[test]
fn every_level_gives_the_recorded_bits() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(root().join("tests/golden.toml"), folder.path().join("golden.toml")).unwrap();
    let written = root().join(FILE);
    if std::env::var_os("LRLAB_GOLDEN").is_some_and(|word| word == "write") {
        let golden = golden(folder.path(), "avx512", "1");
        std::fs::write(&written, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
    }
    let expected: Golden = serde_json::from_slice(&std::fs::read(written).unwrap()).unwrap();
    assert_eq!(expected.runs.len(), 22);
    // A level that the processor lacks selects the next lower one.
    for level in ["avx512", "avx2", "scalar"] {
        for threads in ["1", "2"] {
            let found = golden(folder.path(), level, threads);
            assert_eq!(
                found.numerics, expected.numerics,
                "{FILE} is of another version: see this test's docs"
            );
            let names = |golden: &Golden| golden.runs.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&found), names(&expected), "LRLAB_SIMD={level}, {threads} threads");
            for (name, digests) in &found.runs {
                assert_eq!(
                    digests, &expected.runs[name],
                    "{name} with LRLAB_SIMD={level} and {threads} threads"
                );
            }
        }
    }
}
