//! Environment variables are respected. Each case is a separate process, because the environment is shared.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "panics fail the test")]
#![cfg(feature = "hub")]

use std::path::PathBuf;
use std::process::Command;

use lrlab_data::{DataConfig, Error, Files, Limit, Source, load};

/// Runs one of the tests below in a new process.
fn child(test: &str, folder: &std::path::Path, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .current_dir(folder)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env("LRLAB_CHILD", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn is_child() -> bool {
    std::env::var_os("LRLAB_CHILD").is_some()
}

/// The error names the absolute path of a cache that is given as a relative path.
#[test]
fn offline_mode_is_respected() {
    if is_child() {
        let config = DataConfig::new(Source::Cifar10(Files::default()), "cache");
        let error = load(&config).unwrap_err();
        assert!(matches!(&error, Error::Offline { cache, .. } if cache.is_absolute()), "{error}");
        println!("offline: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for value in ["1", "true", "YES", "on"] {
        let text = child(
            "offline_mode_is_respected",
            folder.path(),
            &[("HF_HOME", "home"), ("HF_HUB_OFFLINE", value)],
        );
        assert!(text.contains("home/hub") && text.contains("HF_HUB_OFFLINE disables the network"), "{text}");
        assert!(!folder.path().join("home").exists(), "nothing was written");
    }
}

/// The network is enabled, but no server responds.
#[test]
fn an_unreachable_server_is_an_error() {
    if is_child() {
        let error = load(&DataConfig::new(Source::Imdb(Files::default()), "cache")).unwrap_err();
        assert!(matches!(&error, Error::Download { repo, .. } if repo == "stanfordnlp/imdb"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unreachable = ("HF_ENDPOINT", "http://127.0.0.1:1");
    child(
        "an_unreachable_server_is_an_error",
        folder.path(),
        &[("HF_HOME", "home"), ("HF_HUB_OFFLINE", "0"), unreachable],
    );
}

/// The real data through the public API, as in a run.
#[test]
fn the_real_cache_is_read() {
    if is_child() {
        let mut config = DataConfig::new(Source::Cifar10(Files::default()), "cache");
        config.limit = Limit { train: Some(512), validation: Some(100), test: Some(100) };
        let data = load(&config).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (512, 100, 100));
        return;
    }
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = std::env::var_os("HF_HOME").map_or_else(|| workspace.join("../shared/hf"), PathBuf::from);
    let home = std::path::absolute(home).unwrap();
    if !home.join("hub/datasets--cifar10").is_dir() {
        println!("skipped: no cache with the real data at {}", home.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    child(
        "the_real_cache_is_read",
        folder.path(),
        &[("HF_HOME", home.to_str().unwrap()), ("HF_HUB_OFFLINE", "1")],
    );
}
