//! Arguments on the command line, the format of mistakes, and warnings.

use lrlab_spec::{Catalog, read};

use super::{GOOD, errors, with};

#[test]
fn mistakes_in_arguments_are_reported() {
    let check = |overrides: &[&str], expected: &[&str]| {
        assert_eq!(errors(GOOD, overrides), expected, "{overrides:?}");
    };
    check(&["defaults.batch_size=8", "axes.epochs=[5]", "description=Some words = fun"], &[]);
    check(&["models.lstm.network={lstm={hidden=3}}", "axes.seed=[7]"], &[]);
    check(&["defaults.lr=abc"], &["command line:1:19: expected a number for `lr`, found a string"]);
    check(&["lr=0.3"], &["command line:1:7: unknown key `lr`; did you mean `defaults.lr`?"]);
    check(&["epochs=3"], &["command line:1:7: unknown key `epochs`; did you mean `axes.epochs`?"]);
    check(&["defaults.epochs=4"], &["command line:1:23: `epochs` has no effect: every run replaces it"]);
    check(&["nothing"], &["command line:1:7: `nothing` is not KEY=VALUE; write --set defaults.lr=0.1"]);
    check(
        &["axes.sede=[1]", "defaults.batch_size=\"8\""],
        &[
            "command line:1:12: unknown axis `sede`; did you mean `seed`?",
            "command line:1:27: expected an integer for `batch_size`, found a string; write it without quotes: `8`",
        ],
    );
}

#[test]
fn mistakes_have_the_format_of_rustc() {
    let text = with(&[("batch_size", "bacth_size")]);
    let shown =
        read(&text, "experiments/x.toml", &["axes.sede=[1]".to_owned()], &Catalog::default()).unwrap_err();
    let expected = "\
error: unknown key `bacth_size`
  --> experiments/x.toml:11:1
   |
11 | bacth_size = 32
   | ^^^^^^^^^^
   |
   = help: did you mean `batch_size`?

error: unknown axis `sede`
 --> command line:1:12
  |
1 | --set axes.sede=[1]
  |            ^^^^
  |
  = help: did you mean `seed`?";
    assert_eq!(shown.to_string(), expected);
    assert!(shown.render(true).contains("\u{1b}["));
}

#[test]
fn warnings_are_not_errors() {
    let text = with(&[("[schedules.static]", "[schedules.spare]\nlinear = {}\n[schedules.static]")])
        .replace("linear = {}", "cosine = {}");
    let text = text.replace("[models.lstm.set]\n", "[models.lstm.set]\nepochs = 3\n");
    let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap();
    let warnings: Vec<String> = experiment.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "x.toml:19:10: `epochs` has no effect: every run replaces it",
            "x.toml:34:12: schedule `spare` is defined but not used",
        ]
    );
}
