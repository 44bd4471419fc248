//! Values of wrong types, out of range or inconsistent with other values.

use super::check;

#[test]
fn wrong_types() {
    check(
        &[("lr = 0.1\n", "lr = \"0.1\"\n"), ("hidden = 32", "hidden = 32.0"), ("seed = [0, 1]", "seed = 0")],
        &[
            "x.toml:8:8: the axis `seed` is an integer, not a list of values; write a list",
            "x.toml:12:6: expected a number for `lr`, found a string; write it without quotes: `0.1`",
            "x.toml:16:31: expected an integer for `hidden`, found a number with a decimal point; write `32`",
        ],
    );
    check(
        &[
            ("network = { lstm = { hidden = 32 } }", "network = \"lstm\""),
            ("{ adam = {} }", "{ adam = {}, sgd = {} }"),
        ],
        &[
            "x.toml:16:11: \"lstm\" is not a valid value for `network`; write { lstm = { } }",
            "x.toml:20:26: `optimizer` must have exactly one variant, found 2; expected exactly one of `sgd`, `adam`, `adamw`",
        ],
    );
    check(
        &[
            ("name = \"small\"", "name = 1979-05-27"),
            ("seed = [0, 1]", "seed = [99999999999999999999, 9007199254740993]"),
        ],
        &[
            "x.toml:1:8: found a date or time, which no key accepts",
            "x.toml:8:9: found an integer too large, which no key accepts",
            "x.toml:8:31: `seed` is 9007199254740993: expected 0 … 9007199254740992",
        ],
    );
}

#[test]
fn impossible_ranges() {
    check(
        &[
            ("lr = 0.1\n", "lr = -0.1\nlabel_smoothing = 1\nlr_min = nan\n"),
            ("batch_size = 32", "batch_size = 0"),
            ("epochs = [1, 2]", "epochs = [0, 2]"),
            ("momentum = 0.9", "momentum = 1"),
            ("depth = 8", "depth = 21"),
            ("hidden = 32", "hidden = 32, dropout = 1.0"),
            ("max_length = 40", "max_length = -4"),
        ],
        &[
            "x.toml:7:11: `epochs` is 0: expected at least 1",
            "x.toml:11:14: `batch_size` is 0: expected at least 1",
            "x.toml:12:6: `lr` is -0.1: expected a number above 0",
            "x.toml:13:19: `label_smoothing` is 1: expected 0 or more and below 1",
            "x.toml:14:10: `lr_min` is NaN, expected a finite number",
            "x.toml:15:34: `momentum` is 1: expected 0 or more and below 1",
            "x.toml:18:45: `dropout` is 1: expected 0 or more and below 1",
            "x.toml:25:32: `depth` is 21: expected 6n + 2 (8, 14, 20, 26, 32, 38, 44, 56, …) or 18, 34, 50",
            "x.toml:30:25: `max_length` is -4: expected 0 … 9007199254740992",
        ],
    );
}

#[test]
fn inconsistent_values() {
    check(
        &[("data = \"reviews\"", "data = \"pictures\"")],
        &["x.toml:16:11: this network reads text, but its data set holds pictures"],
    );
    check(
        &[("{ lstm = { hidden = 32 } }", "{ transformer = { width = 30, heads = 4, dropout = 1 } }")],
        &[
            "x.toml:16:49: 4 heads do not divide a width of 30",
            "x.toml:16:62: `dropout` is 1: expected 0 or more and below 1",
        ],
    );
    check(
        &[
            ("lr = 0.1\n", "lr = 0.1\nlr_max = 0.01\nlr_min = 0.02\n"),
            ("momentum = 0.9", "momentum = 0, nesterov = true"),
        ],
        &[
            "x.toml:13:10: `lr_max` is 0.01, below `lr_min`, which is 0.02",
            "x.toml:15:48: Nesterov's momentum needs `momentum` above 0",
        ],
    );
    check(
        &[("seed = [0, 1]", "seed = [0, 1]\n\"optimizer.sgd.momentum\" = [0.8, 0.9]")],
        &[
            "x.toml:9:1: for the model `lstm` `optimizer` is `adam`, so `optimizer.sgd.momentum` has no effect",
        ],
    );
    check(
        &[("tokens = {", "augment = { flip = true }\ntokens = {")],
        &["x.toml:28:1: `augment` is for pictures and has no effect here"],
    );
}
