//! Misspelt keys, and suggestions that can be followed.

use super::{check, errors, with};

#[test]
fn three_typos_at_once() {
    check(
        &[("batch_size", "bacth_size"), ("momentum", "momentun"), ("schedule = [", "shedule = [")],
        &[
            "x.toml:5:1: unknown axis `shedule`; did you mean `schedule`?",
            "x.toml:11:1: unknown key `bacth_size`; did you mean `batch_size`?",
            "x.toml:13:23: unknown key `momentun`; did you mean `momentum`?",
        ],
    );
    check(
        &[("name = \"small\"\n", "nmae = \"small\"\nlr = 1\nseed = [1]\n")],
        &[
            "x.toml:1:1: unknown key `nmae`; did you mean `name`?",
            "x.toml:2:1: unknown key `lr`; did you mean `defaults.lr`?",
            "x.toml:3:1: unknown key `seed`; did you mean `axes.seed`?",
        ],
    );
}

/// A misspelt key is one error, and a suggestion is something that can stand there.
#[test]
fn suggestions_can_be_followed() {
    let axis = |axis: &str| {
        let found = errors(&with(&[("epochs = [1, 2]", axis)]), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].split_once("; ").unwrap().1.to_owned()
    };
    for (name, suggested) in [
        ("optimizer.moment", "optimizer.momentum"),
        ("optimizer.adamw.beta_2", "optimizer.adamw.beta2"),
        ("optimzier.momentum", "optimizer.momentum"),
        ("schedule.stpe.gamma", "schedule.step.gamma"),
        ("data.limit.trian", "data.limit.train"),
        ("accumlate", "accumulate"),
    ] {
        assert_eq!(axis(&format!("epochs = [1]\n\"{name}\" = [1]")), format!("did you mean `{suggested}`?"));
    }
    let found = axis("epochs = [1]\n\"optimizer.frobnicate\" = [1]");
    assert!(
        found.starts_with("expected one of `optimizer.") && found.contains("`optimizer.weight_decay`"),
        "{found}"
    );
    let names: Vec<&str> = found.split_once(", or").unwrap().0.split('`').skip(1).step_by(2).collect();
    let all = lrlab_spec::schema()["$defs"]["Axes"]["properties"].clone();
    assert!(names.iter().all(|name| all.get(name).is_some()), "{names:?}");
    let found = axis("epochs = [1]\nfrobnicate = [1]");
    let (names, tables) = found.split_once(", or a key of ").unwrap();
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    assert!(
        names.contains(&"schedule") && names.contains(&"clip_norm") && !names.contains(&"averaging"),
        "{found}"
    );
    assert!(tables.contains("`averaging`") && tables.contains("`data`"), "{found}");
    assert_eq!(axis("epochs = [1]\n\"batch_size.x\" = [1]"), "`batch_size` is a single value");
    let found = axis("epochs = [1]\ndivergance = [1]");
    assert!(found.starts_with("did you mean a key of `divergence`, such as `divergence."), "{found}");

    let optimizers = |rule: &str| {
        errors(&with(&[("[models.lstm]", &format!("[optimizers.o]\n{rule}\n[models.lstm]"))]), &[])
    };
    assert_eq!(
        optimizers("adam = {}\nlr_scael = 3"),
        ["x.toml:17:1: unknown key `lr_scael`; did you mean `lr_scale`?"]
    );
    assert_eq!(
        optimizers("adma = {}\nlr_scale = 3"),
        ["x.toml:16:1: unknown key `adma`; did you mean `adam`?"]
    );
    assert_eq!(
        optimizers("sgd = {}\nadam = {}\nlr_scale = 3"),
        [
            "x.toml:17:1: `o` must have exactly one update rule, found 2; expected exactly one of `adam`, `adamw`, `sgd`"
        ]
    );
    check(
        &[("{ sgd = { momentum = 0.9 } }", "{ sgd = {}, nestrov = true }")],
        &["x.toml:13:25: unknown key `nestrov`; expected one of `sgd`, `adam`, `adamw`"],
    );
}
