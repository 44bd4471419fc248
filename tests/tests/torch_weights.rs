//! The weights of a run in PyTorch, as the README loads them.

use std::process::Command;

use lrlab_tests::{Ran, TINY, results, root, run, start};

/// The Python block of the README.
fn snippet() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 1, "the README has one block of Python");
    blocks[0].to_owned()
}

/// The snippet prints a class of the data set; other weights than those of the run would not load, because torchvision checks
/// every name and shape.
#[test]
fn the_snippet_of_the_readme_loads_the_weights() {
    let modules = "import safetensors.torch, torch, torchvision";
    let python = Command::new("python3").args(["-c", modules]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 has no torch, torchvision and safetensors");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = TINY
        .replace("linear = {}", "resnet = { depth = 18, stem = \"imagenet\" }")
        .replace("train = 40, test = 10", "train = 24, test = 8, size = 32, classes = 3")
        .replace("batch_size = 16", "batch_size = 8")
        .replace("seed = [0, 1]", "seed = [6]");
    std::fs::write(folder.join("tiny.toml"), text).unwrap();
    let ran = run(folder, &["run", "tiny.toml", "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let id = results(&folder.join("runs")).into_keys().next().unwrap();
    let code = snippet();
    assert!(code.contains("RUN_ID"), "{code}");
    let mut python = start("python3".as_ref(), folder);
    let loaded = Ran::of(&python.args(["-c", &code.replace("RUN_ID", &id)]).output().unwrap());
    assert_eq!(loaded.code, 0, "{}", loaded.err);
    let card = std::fs::read(folder.join("runs/store").join(&id).join("model.json")).unwrap();
    let card: serde_json::Value = serde_json::from_slice(&card).unwrap();
    let classes: Vec<&str> =
        card["classes"].as_array().unwrap().iter().map(|class| class.as_str().unwrap()).collect();
    assert_eq!(classes.len(), 3);
    assert!(classes.contains(&loaded.out.trim()), "{}: {classes:?}", loaded.out);
}
