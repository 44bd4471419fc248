//! Results of other builds and numerics classes, runs of earlier calls, and claims of other machines.

use super::*;

#[test]
fn results_of_other_builds_are_reported_and_can_be_redone() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let first = place.results()[0].clone();
    let change = |key: &str, value: &str| {
        let mut result: Value = serde_json::from_slice(&std::fs::read(&first).unwrap()).unwrap();
        result["provenance"][key] = value.into();
        std::fs::write(&first, result.to_string()).unwrap();
    };
    change("build", "0123456789abcdef");
    let ran = place.call("run", &[]);
    assert!(ran.code == 0 && ran.err.contains("another build: build 0123456789abcdef"), "{}", ran.err);
    assert!(place.json("status", &[])["warnings"][0].as_str().unwrap().contains("2 builds"));
    let page = std::fs::read_to_string(place.out.join("tiny/report/report.md")).unwrap();
    assert!(page.contains("The runs come from 2 builds"));
    let again = place.call("run", &["--rerun-others"]);
    assert!(again.code == 0 && again.out.contains("(1 in this call)"), "{}\n{}", again.out, again.err);
    assert!(first.with_file_name("superseded").join("1/result.json").is_file());
    assert_eq!(place.json("status", &[])["warnings"], serde_json::json!([]));

    // Another class of numerics: every command notes it, `run` only while no run is missing.
    change("numerics", "cpu/other/f32");
    let one = "1 of 2 results have the numerics class \"cpu/other/f32\", this device has \"cpu/f32/";
    let told = place.call("run", &[]);
    assert!(told.code == 0 && told.err.contains(&format!("note: {one}")), "{}", told.err);
    for verb in ["plan", "report"] {
        let told = place.call(verb, &[]);
        assert!(told.code == 0 && told.err.contains("2 numerics classes"), "{verb}: {}", told.err);
    }
    // A run is missing: `run` is rejected and names the alternatives, one of which keeps both results.
    std::fs::remove_file(&place.results()[1]).unwrap();
    let refused = place.call("run", &[]);
    assert!(
        refused.code == 2 && refused.err.contains("1 of 1 results have the numerics class"),
        "{}",
        refused.err
    );
    assert!(
        refused.err.contains("--rerun-others to repeat them here, or --accept-numerics"),
        "{}",
        refused.err
    );
    let kept = place.call("run", &["--accept-numerics"]);
    assert!(kept.code == 0 && kept.out.contains("(1 in this call)"), "{}\n{}", kept.out, kept.err);
    assert!(kept.err.contains("note: 1 of 1 results have the numerics class"), "{}", kept.err);
    let page = std::fs::read_to_string(place.out.join("tiny/report/report.md")).unwrap();
    assert!(page.contains("2 numerics classes"), "{page}");
    let again = place.call("run", &["--rerun-others"]);
    assert!(again.code == 0 && again.out.contains("(1 in this call)"), "{}\n{}", again.out, again.err);
    assert_eq!(
        (place.results().len(), place.json("status", &[])["warnings"].clone()),
        (2, serde_json::json!([]))
    );
}

/// A part of a grid is not trained in another numerics class than the rest.
#[test]
fn a_part_keeps_the_numerics_class_of_the_others() {
    let place = Place::new();
    let part = |more: &[&str]| place.call("run", &[&["--filter", "seed=1"], more].concat());
    assert_eq!(place.call("run", &["--filter", "seed=0"]).code, 0);
    // The plan of the whole.
    assert_eq!(place.call("run", &[]).code, 0);
    let [first, second] = &place.results()[..] else { panic!("two results") };
    let seed = |path: &PathBuf| -> Value {
        serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["cell"]["seed"].clone()
    };
    let (kept, removed) = if seed(first) == 0 { (first, second) } else { (second, first) };
    std::fs::remove_file(removed).unwrap();
    let mut result: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    result["provenance"]["numerics"] = "cpu/other/f32".into();
    std::fs::write(kept, result.to_string()).unwrap();
    let refused = part(&[]);
    let words = "1 of 1 results have the numerics class \"cpu/other/f32\"";
    assert!(refused.code == 2 && refused.err.contains(words), "{}", refused.err);
    let accepted = part(&["--accept-numerics"]);
    assert!(
        accepted.code == 0 && accepted.out.contains("(1 in this call)"),
        "{}{}",
        accepted.out,
        accepted.err
    );
}

/// `redo` finds the runs of earlier calls, and `status` and `run` say that the last call selected a part.
#[test]
fn runs_of_earlier_calls_are_found() {
    let place = Place::new();
    for seed in ["seed=0", "seed=1"] {
        let ran = place.call("run", &["--filter", seed]);
        let words = format!("This report covers only the runs that `--filter {seed}` selects. `");
        assert!(ran.code == 0 && ran.err.contains(&words), "{}", ran.err);
    }
    let status = place.call("status", &[]);
    let words = "note: these are the runs of the last call, with `--filter seed=1`; `";
    assert!(status.code == 0 && status.err.contains(words), "{}", status.err);
    for result in place.results() {
        let id = result.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let ran = run(place.folder.path(), &["redo", &id[..9]]);
        assert!(ran.code == 0 && ran.out.contains("(1 in this call)"), "{}{}", ran.out, ran.err);
        let useless = run(place.folder.path(), &["redo", &id[..9], "--from-scratch"]);
        assert!(useless.code == 2 && useless.err.contains("--from-scratch has no effect"), "{}", useless.err);
    }
    let help = run(place.folder.path(), &["redo", "--help"]);
    assert!(help.code == 0 && !help.out.contains("from-scratch"), "{}", help.out);
}

/// A claim of a machine that lost power says so.
#[test]
fn silent_claims_are_shown() {
    let place = Place::new();
    assert_eq!(place.call("run", &[]).code, 0);
    let result = place.results()[0].clone();
    std::fs::remove_file(&result).unwrap();
    let attempt = result.with_file_name("attempts").join("2");
    std::fs::create_dir_all(&attempt).unwrap();
    let claim = attempt.join("claim.json");
    std::fs::write(&claim, r#"{"host":"lost","pid":7,"realm":"elsewhere","started":1}"#).unwrap();
    let lines = || place.call("plan", &["--cells"]).out;
    assert!(lines().contains("running (process 7 on lost)"), "{}", lines());
    let before = std::time::SystemTime::now() - std::time::Duration::from_mins(5);
    std::fs::File::options().write(true).open(&claim).unwrap().set_modified(before).unwrap();
    assert!(lines().contains("claimed, but silent for "), "{}", lines());
    assert!(lines().contains("(process 7 on lost); `run` takes over"), "{}", lines());
    let page = place.call("status", &["--watch"]).out;
    assert!(page.contains("claimed, but silent for "), "{page}");
}
