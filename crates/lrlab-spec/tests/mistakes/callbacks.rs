//! Mistakes in averages, the divergence guard, early stopping and monitors.

use lrlab_spec::{Catalog, read};

use super::{GOOD, check, errors};

/// The valid file with more lines in `[defaults]`, which begins at line 11.
fn defaults(lines: &str) -> [(&'static str, &str); 1] {
    // The lines come first, so that the first of them is line 11.
    [("batch_size = 32", lines)]
}

#[track_caller]
fn refused(line: &str, expected: &str) {
    let lines = format!("{line}\nbatch_size = 32");
    check(&defaults(&lines), &[&format!("x.toml:11:{expected}")]);
}

#[test]
fn unknown_keys_get_suggestions() {
    refused("averging = { ema = {} }", "1: unknown key `averging`; did you mean `averaging`?");
    refused("averaging = { emma = {} }", "15: unknown key `emma`; did you mean `ema`?");
    refused("averaging = \"swa\"", "13: \"swa\" is not a valid value for `averaging`; write { swa = { } }");
    refused("averaging = { ema = { decya = 0.9 } }", "23: unknown key `decya`; did you mean `decay`?");
    refused(
        "averaging = { ema = {}, swa = {} }",
        "25: `averaging` must have exactly one variant, found 2; expected exactly one of `ema`, `swa`, `lawa`",
    );
    refused("divergence = { explosoin = 5 }", "16: unknown key `explosoin`; did you mean `explosion`?");
    refused(
        "divergence = { action = \"rewind\" }",
        "25: \"rewind\" is not a valid value for `action`; write { rewind = { } }",
    );
    refused(
        "divergence = { action = \"stpo\" }",
        "25: \"stpo\" is not a valid value for `action`; did you mean \"stop\"?",
    );
    refused(
        "early_stopping = { at_restart = \"count\" }",
        "33: unknown value \"count\" for `at_restart`; expected one of `ignore`, `begin_anew`, `count_cycles`",
    );
    refused(
        "keep_top = \"3\"",
        "12: expected an integer for `keep_top`, found a string; write it without quotes: `3`",
    );
}

#[test]
fn values_out_of_range() {
    for (line, expected) in [
        ("averaging = { ema = { decay = 1 } }", "31: `decay` is 1: expected 0 or more and below 1"),
        ("averaging = { lawa = { k = 0 } }", "28: `k` is 0: expected at least 1"),
        ("divergence = { explosion = 1 }", "28: `explosion` is 1: expected a number above 1"),
        ("divergence = { patience = 0 }", "27: `patience` is 0: expected at least 1"),
        (
            "divergence = { action = { rewind = { factor = 1.5 } } }",
            "47: `factor` is 1.5: expected a number above 0 and at most 1",
        ),
        (
            "divergence = { action = { cut = { factor = 1 } } }",
            "44: `factor` is 1: expected a number above 0 and below 1",
        ),
        ("divergence = { action = { cut = { limit = 0 } } }", "43: `limit` is 0: expected at least 1"),
        ("keep_top = -1", "12: `keep_top` is -1: expected 0 … 9007199254740992"),
        (
            "averaging = { swa = { start = 3 } }",
            "31: 3 has no unit: write \"3 epochs\", \"3 updates\" or \"3%\"",
        ),
        (
            "averaging = { swa = { every = \"often\" } }",
            "31: \"often\" is not a valid length: expected, for example, \"3 epochs\", \"200 updates\" or \"30%\"",
        ),
    ] {
        refused(line, expected);
    }
}

/// The shortest run has one epoch of 32 updates on text, or of 16 on pictures.
#[test]
fn averages_that_start_after_the_end_are_rejected() {
    refused("averaging = { ema = { every = \"0 updates\" } }", "31: `every` is 0: expected a length above 0");
    refused(
        "averaging = { swa = { start = \"3 epochs\" } }",
        "31: weights are averaged from update 96 on, but the run has 32",
    );
    refused(
        "averaging = { lawa = { every = \"3 epochs\" } }",
        "32: no weights are averaged: every 3 epochs from update 0 on, of 32",
    );
    refused(
        "averaging = { ema = { every = \"100 updates\" } }",
        "31: no weights are averaged: every 100 updates from update 0 on, of 32",
    );
}

#[test]
fn axes_over_keys_need_their_table() {
    let text = GOOD.replace("seed = [0, 1]", "seed = [0, 1]\n\"averaging.ema.decay\" = [0.9, 0.99]");
    let expected =
        "x.toml:9:1: for the model `lstm` `averaging` is `nothing`, so `averaging.ema.decay` has no effect";
    assert!(errors(&text, &[]).iter().any(|error| error == expected));
    let on = ["defaults.averaging={ ema = {} }"];
    assert_eq!(errors(&text, &on), Vec::<String>::new());
    let on = on.map(str::to_owned);
    let cells = read(&text, "x.toml", &on, &Catalog::default()).unwrap().cells(&[], None).unwrap();
    assert_eq!(cells.len(), 64);
}
