//! Names without a definition, names that are invalid for folders, and duplicates.

use super::{GOOD, check, errors, with};

#[test]
fn names_without_a_definition() {
    check(
        &[
            ("\"static\", \"step\"", "\"static\", \"setp\""),
            ("data = \"reviews\"", "data = \"review\""),
            ("\"lstm\", ", "\"lstm\", \"gru\", "),
        ],
        &[
            "x.toml:4:18: undefined model `gru`; defined are `lstm`, `resnet`; define it under [models.gru]",
            "x.toml:5:23: undefined schedule `setp`; did you mean `step`?",
            "x.toml:17:8: undefined data set `review`; did you mean `reviews`?",
        ],
    );
    check(&[("synthetic_reviews", "imbd")], &["x.toml:27:12: unknown key `imbd`; did you mean `imdb`?"]);
    check(
        &[("network = { lstm = { hidden = 32 } }", "network = { custom = { name = \"mine\" } }")],
        &["x.toml:16:31: unknown model `mine`; this program registers no models; \
           call the program that registers it, or name that program to `cargo xtask run-grid` with `--runner PATH`"],
    );
}

#[test]
fn duplicates() {
    check(&[("seed = [0, 1]", "seed = [0, 0]")], &["x.toml:8:12: `0` occurs twice in the axis `seed`"]);
    check(
        &[
            ("[schedules.static]", "[schedules.again]\nstatic = {}\n[schedules.static]"),
            ("\"static\", \"step\"", "\"static\", \"again\", \"step\""),
        ],
        &["x.toml:5:23: `static` and `again` along `schedule` give the same runs"],
    );
    check(
        &[("[schedules.static]", "[[include]]\nepochs = 2\nmodel = \"lstm\"\n[schedules.static]")],
        &[
            "x.toml:35:1: duplicate cell: model = lstm, schedule = static, monitor = off, epochs = 2, seed = 0",
        ],
    );
}

/// Names are used for folders and files.
#[test]
fn names_that_are_invalid_for_folders() {
    for name in lrlab_runs::RESERVED_NAMES {
        let found = errors(GOOD, &[&format!("name={name}")]);
        let [only] = &found[..] else { panic!("{name}: {found:?}") };
        assert!(only.contains(&format!("invalid experiment name `{name}`")), "{only}");
        assert!(only.contains(&format!("for example `{name}-1`")), "{only}");
        assert_eq!(errors(GOOD, &[&format!("name={name}-1")]), [""; 0]);
    }
    let longest = "a".repeat(lrlab_runs::LONGEST_NAME);
    assert_eq!(errors(&with(&[("\"small\"", &format!("\"{longest}\""))]), &[]), [""; 0]);
    let long = |name: &str| {
        format!(
            "a name of {} bytes is too long: at most 100, because files are named after it; use `description` for a longer text",
            name.len()
        )
    };
    let name = format!("{longest}b");
    check(&[("\"small\"", &format!("\"{name}\""))], &[&format!("x.toml:1:8: {}", long(&name))]);
    // Models, data sets, schedules and monitors.
    for (short, section, line) in
        [("lstm", "models", 15), ("reviews", "data", 26), ("step", "schedules", 36), ("on", "monitors", 39)]
    {
        let text = GOOD.replace(&format!("\"{short}\""), &format!("\"{name}\""));
        let text = text.replace(&format!("[{section}.{short}"), &format!("[{section}.{name}"));
        let found = errors(&text, &[]);
        let [only] = &found[..] else { panic!("{section}: {found:?}") };
        assert!(only.starts_with(&format!("x.toml:{line}:")) && only.ends_with(&long(&name)), "{only}");
    }
}
