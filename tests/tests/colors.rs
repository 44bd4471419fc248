//! Colours are for terminals: files and pipes get none unless they are forced, for every kind of output.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use lrlab_tests::{files, program, runner};

const WORDS: &str = r#"name = "words"
[axes]
model = ["lstm"]
schedule = ["static"]
seed = [0]
[defaults]
lr = 0.01
epochs = 1
batch_size = 16
optimizer = { sgd = {} }
[models.lstm]
network = { lstm = { embedding = 8, hidden = 8 } }
data = "reviews"
[data.reviews]
source = { synthetic_reviews = { train = 40, test = 10 } }
tokens = { vocabulary = 100, max_length = 8 }
[schedules.static]
static = {}
"#;

/// Each kind of output on standard error, with a part of its text: a mistake in the experiment, a mistake on the
/// command line, and a warning of the log.
const KINDS: [(&[&str], &str); 3] = [
    (&["plan", "words.toml", "--set", "defaults.lrr=2"], "did you mean `lr`?"),
    (&["plan", "--no-such-option"], "--no-such-option"),
    (&["lr-find", "words.toml", "--device", "cpu", "--updates", "5"], "will be rebuilt"),
];

/// Damages files in the cache, of which the log warns.
fn damage(folder: &Path) {
    let sums = files(&folder.join("runs/cache")).into_iter();
    let sums: Vec<_> = sums.filter(|path| path.extension().is_some_and(|kind| kind == "blake3")).collect();
    assert!(!sums.is_empty());
    for path in sums {
        std::fs::write(path, "damaged").unwrap();
    }
}

fn with(command: &mut Command, variables: &[(&str, &str)]) {
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").envs(variables.iter().copied());
}

fn user() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words.toml"), WORDS).unwrap();
    assert!(runner(folder.path()).args(KINDS[2].0).output().unwrap().status.success());
    folder
}

#[test]
fn pipes_have_colours_only_if_forced() {
    let folder = user();
    for (variables, coloured) in [
        (&[][..], false),
        (&[("CLICOLOR", "1")], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "")], false),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        for (words, printed) in KINDS {
            damage(folder.path());
            let mut command = runner(folder.path());
            with(&mut command, variables);
            let output = command.args(words).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains(printed), "{words:?}: {text}");
            assert_eq!(text.contains('\u{1b}'), coloured, "{words:?} {variables:?}: {text}");
        }
    }
    // Workers' output is kept in files, without colours even if the terminal's are forced.
    damage(folder.path());
    let mut command = runner(folder.path());
    with(&mut command, &[("CLICOLOR_FORCE", "1"), ("RUST_LOG", "info")]);
    let output = command.args(["run", "words.toml", "--device", "cpu", "--threads", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for path in files(&folder.path().join("runs/store")) {
        let bytes = std::fs::read(&path).unwrap();
        let is_text = path.extension().is_some_and(|kind| kind == "txt" || kind == "json" || kind == "jsonl");
        assert!(!(is_text && bytes.contains(&0x1b)), "{}", path.display());
    }
}

/// In a pseudo-terminal, which `script` of util-linux provides.
#[test]
#[cfg(target_os = "linux")]
fn terminals_have_colours_unless_disabled() {
    let folder = user();
    for (variables, coloured) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("NO_COLOR", "")], true),
        (&[("CLICOLOR", "0")], false),
    ] {
        for (words, printed) in KINDS {
            damage(folder.path());
            let mut command = Command::new("script");
            with(command.current_dir(folder.path()), variables);
            let line = format!("'{}' {}", program().display(), words.join(" "));
            let Ok(output) = command.args(["-qec", &line, "/dev/null"]).output() else {
                eprintln!("skipped: there is no `script`, which gives a terminal");
                return;
            };
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains(printed), "{words:?}: {text}");
            assert_eq!(text.contains("\u{1b}["), coloured, "{words:?} {variables:?}: {text}");
        }
    }
}
