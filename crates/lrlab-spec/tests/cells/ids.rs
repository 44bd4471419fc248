//! The ids of runs.

use lrlab_runs::Cell;
use lrlab_spec::{Catalog, Registered, RunSpec, canonical, read, run_id};
use serde_json::json;

use super::{experiment, small};

#[test]
fn folders_do_not_enter_ids() {
    let (_, run) = experiment("cifar-resnet20").cells(&[], None).unwrap().remove(0);
    let mut moved = run.clone();
    moved.data.source = serde_json::from_value(json!({ "cifar10": { "folder": "/elsewhere" } })).unwrap();
    assert_eq!(run_id(&run, "d").unwrap(), run_id(&moved, "d").unwrap());
    assert_ne!(run_id(&run, "d").unwrap(), run_id(&run, "e").unwrap());
    assert!(
        canonical(&run)
            .unwrap()
            .starts_with(r#"{"accumulate":1,"batch_size":128,"clip_norm":null,"data":{"augment":"#)
    );
}

/// Options that a user's builder can distinguish are different runs; others are the same run.
#[test]
fn user_defined_options_enter_ids() {
    let text = |options: &str| {
        format!(
            "name = \"own\"\n[axes]\nmodel = [\"m\"]\nschedule = [\"static\"]\nseed = [0]\n[defaults]\nlr = 0.1\n\
             epochs = 1\nbatch_size = 8\noptimizer = {{ sgd = {{}} }}\n[models.m]\ndata = \"d\"\n\
             network = {{ custom = {{ name = \"mine\", options = {{ {options} }} }} }}\n\
             [data.d]\nsource = {{ custom = {{ name = \"ours\", options = {{ {options} }} }} }}\n\
             [schedules.static]\nstatic = {{}}\n"
        )
    };
    let catalog = Catalog {
        models: vec![Registered::new("mine")],
        data: vec![Registered::new("ours")],
        ..Catalog::default()
    };
    let spec = |options: &str| {
        let cells =
            read(&text(options), "x.toml", &[], &catalog).unwrap_or_else(|e| panic!("{options}: {e}"));
        cells.cells(&[], None).unwrap().remove(0).1
    };
    let id = |options: &str| run_id(&spec(options), "d").unwrap();
    let different = [
        "n = 9007199254740992",
        "n = 9007199254740993",
        "n = 9007199254740992.0",
        "n = 9223372036854775807",
        "n = 9223372036854775806",
        "n = -9007199254740993",
        "n = 1",
        "n = 1.0",
        "n = [1]",
        "n = [1.0]",
        "n = 0",
        "n = 0.0",
        "n = -0.0",
        "n = \"1\"",
        "n.custom.options = 1",
        "n.custom.options = 1.0",
        "n.custom.options = 1e300",
    ];
    let ids: std::collections::BTreeSet<_> = different.iter().map(|options| id(options)).collect();
    assert_eq!(ids.len(), different.len());
    assert_eq!(id("n = 0.10"), id("n = 1e-1"));
    assert_eq!(id("n = 1, m = 2"), id("m = 2, n = 1"));
    // One part alone differs.
    let (one, mut other) = (spec("n = 1"), spec("n = 1"));
    other.data = spec("n = 1.0").data;
    assert_ne!(run_id(&one, "d"), run_id(&other, "d"));
}

/// Values without an identity must not all get the id of the empty text.
#[test]
fn specifications_without_an_identity_have_no_id() {
    let (_, run) = experiment("cifar-resnet20").cells(&[], None).unwrap().remove(0);
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for spec in [RunSpec { lr: x, ..run.clone() }, RunSpec { clip_norm: Some(x), ..run.clone() }] {
            assert_eq!(run_id(&spec, "d"), Err(lrlab_spec::NoIdentity::NotFinite));
        }
    }
    let seeds = [9_007_199_254_740_992, 9_007_199_254_740_993, u64::MAX - 1, u64::MAX];
    let ids: std::collections::BTreeSet<_> =
        seeds.iter().map(|&seed| run_id(&RunSpec { seed, ..run.clone() }, "d").unwrap()).collect();
    assert_eq!(ids.len(), seeds.len());
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let mut elsewhere = run.clone();
        let folder = Some(std::ffi::OsString::from_vec(vec![b'/', 0xFF]).into());
        elsewhere.data.source = lrlab_config::Source::Cifar10(lrlab_config::Files { folder });
        assert_eq!(run_id(&elsewhere, "d"), run_id(&run, "d"), "a path need not be text");
    }
}

/// Ids never change: a change here makes every stored result unknown. A field that is added later must not change them.
#[test]
fn ids_are_pinned() {
    let text = include_str!("../identities.toml");
    let cells = read(text, "identities.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
    let line = |(cell, run): &(Cell, RunSpec)| {
        format!(
            "{} {} {} {}\n",
            run_id(run, "digest").unwrap(),
            cell["model"],
            cell["schedule"],
            cell["monitor"]
        )
    };
    let found = cells.cells(&[], None).unwrap().iter().map(line).collect::<Vec<_>>().concat();
    assert_eq!(found, include_str!("../identities.txt"));
}

#[test]
fn runs_survive_json() {
    for name in ["quickstart", "paper"] {
        for (_, run) in experiment(name).cells(&[], Some(1)).unwrap() {
            let text = canonical(&run).unwrap();
            assert_eq!(
                serde_json::from_str::<RunSpec>(
                    &text.replace("{\"cifar10\":{}}", "{\"cifar10\":{\"folder\":null}}")
                )
                .unwrap(),
                run
            );
        }
    }
}

/// A field that did not exist when the ids were pinned changes none of them if it has the behaviour of earlier
/// versions.
#[test]
fn later_fields_keep_old_ids() {
    let cells = small("seed = [0]", "");
    let (_, run) = &cells[0];
    let mut json = serde_json::to_value(run).unwrap();
    let old = run_id(run, "d").unwrap();
    // The field `precision` was added later: f32, explicit or not, keeps the id, and bf16 gives another.
    let id_of =
        |json: &serde_json::Value| run_id(&serde_json::from_value(json.clone()).unwrap(), "d").unwrap();
    let mut without = json.clone();
    without.as_object_mut().unwrap().remove("precision").unwrap();
    assert_eq!(id_of(&without), old);
    without["precision"] = json!("bf16");
    assert_ne!(id_of(&without), old);
    json.as_object_mut().unwrap().remove("precision").unwrap();
    // A later version reads an old file and does not write the field if it has its default.
    json["mixup"] = json!(null);
    assert_eq!(lrlab_spec::run_id_of(&json, "d", &[("mixup", json!(null))]).unwrap(), old);
    json["mixup"] = json!(0.2);
    assert_ne!(lrlab_spec::run_id_of(&json, "d", &[("mixup", json!(null))]).unwrap(), old);
    // A nested field.
    json["mixup"] = json!(null);
    json["optimizer"]["sgd"]["centered"] = json!(false);
    let later = [("mixup", json!(null)), ("optimizer.*.centered", json!(false))];
    assert_eq!(lrlab_spec::run_id_of(&json, "d", &later).unwrap(), old);
    json["optimizer"]["sgd"]["centered"] = json!(true);
    assert_ne!(lrlab_spec::run_id_of(&json, "d", &later).unwrap(), old);
}

/// A named rule is the run that the rule itself would be.
#[test]
fn named_optimizers_do_not_change_ids() {
    let plain = small("seed = [0]", "[optimizers]\n");
    let named = small(
        "optimizer = [\"s\"]\nseed = [0]",
        "[optimizers.s]\nsgd = { momentum = 0.8, weight_decay = 0.1 }\n",
    );
    for ((_, plain), (_, named)) in plain.iter().zip(&named) {
        assert_eq!(run_id(plain, "d").unwrap(), run_id(named, "d").unwrap());
    }
}

/// The registered version enters the id, and a network without a version keeps its id.
#[test]
fn versions_of_registered_parts_enter_ids() {
    let text = "name = \"own\"\n[axes]\nmodel = [\"m\"]\nschedule = [\"s\"]\nprecision = [\"f32\"]\nseed = [0]\n[defaults]\n\
        lr = 1\nepochs = 1\nbatch_size = 1\noptimizer = { adam = {} }\n[models.m]\n\
        network = { custom = { name = \"mine\" } }\ndata = \"d\"\n[data.d]\nsource = { custom = { name = \"ours\" } }\n\
        [schedules.s]\nstatic = {}\n";
    let spec = |model: Registered, data: Registered| {
        let catalog = Catalog { models: vec![model], data: vec![data], ..Catalog::default() };
        let read = read(text, "x.toml", &[], &catalog).unwrap_or_else(|e| panic!("{e}"));
        read.cells(&[], None).unwrap().remove(0).1
    };
    let version =
        |name: &str, version: &str| Registered { version: Some(version.to_owned()), ..Registered::new(name) };
    let id = |model, data| run_id(&spec(model, data), "d").unwrap();
    let plain = id(Registered::new("mine"), Registered::new("ours"));
    assert!(!canonical(&spec(Registered::new("mine"), Registered::new("ours"))).unwrap().contains("version"));
    let ids: std::collections::BTreeSet<_> = [
        plain,
        id(version("mine", "1"), Registered::new("ours")),
        id(version("mine", "2"), Registered::new("ours")),
        id(Registered::new("mine"), version("ours", "1")),
        id(version("mine", "1"), version("ours", "1")),
    ]
    .into();
    assert_eq!(ids.len(), 5);

    let bf16 = text.replace("[\"f32\"]", "[\"bf16\"]");
    let catalog = |bf16| Catalog {
        models: vec![Registered { bf16, ..Registered::new("mine") }],
        data: vec![Registered::new("ours")],
        ..Catalog::default()
    };
    assert!(read(&bf16, "x.toml", &[], &catalog(true)).is_ok());
    let refused = read(&bf16, "x.toml", &[], &catalog(false)).unwrap_err().to_string();
    for words in [
        "`precision` is \"bf16\", but the network `mine` is not registered with support for it",
        "train it with `precision = \"f32\"`, or register it with `Registration::bf16`",
    ] {
        assert!(refused.contains(words), "no {words:?} in {refused}");
    }
}

/// A constant that follows a schedule makes another run; without one, the identity does not contain the key.
#[test]
fn schedules_of_constants_enter_ids() {
    let rule = |keys: &str| {
        small(
            "optimizer = [\"s\"]\nseed = [0]",
            &format!("[optimizers.s]\nsgd = {{ weight_decay = 5e-4{keys} }}\n"),
        )
    };
    let (plain, falls) = (rule(""), rule(", weight_decay_schedule = { cosine = {} }"));
    assert!(!canonical(&plain[0].1).unwrap().contains("_schedule"));
    let text = canonical(&falls[0].1).unwrap();
    assert!(text.contains("\"weight_decay_schedule\":{\"cosine\":{"), "{text}");
    assert_ne!(run_id(&plain[0].1, "d").unwrap(), run_id(&falls[0].1, "d").unwrap());
    // A peak at the base rate differs from a peak of the schedule.
    assert_eq!(rule(", momentum_schedule = { one_cycle = {} }")[0].1.optimizer.scheduled()[0].base, 0.9);
}

/// A schedule names a function that the runner registers; the function's version enters the id.
#[test]
fn registered_functions_enter_ids() {
    let text = |schedule: &str| {
        format!(
            "name = \"x\"\n[axes]\nmodel = [\"m\"]\nschedule = [\"s\"]\nseed = [0]\n[defaults]\nlr = 0.1\nepochs = 2\n\
             batch_size = 8\noptimizer = {{ sgd = {{ weight_decay = 1e-4, weight_decay_schedule = {{ lambda = {{ name = \"halves\" }} }} }} }}\n\
             [models.m]\nnetwork = {{ linear = {{}} }}\ndata = \"d\"\n[data.d]\nsource = {{ synthetic_pictures = {{}} }}\n\
             [schedules.s]\n{schedule}\n"
        )
    };
    let good = text("warmup = { over = \"10%\", then = { lambda = { name = \"halves\" } } }");
    let catalog = |version: Option<&str>| {
        let mut catalog = Catalog::default();
        catalog.lambdas.register("halves", version.map(str::to_owned), |at| 1.0 / (1.0 + at.epoch));
        catalog
    };
    let spec = |version| {
        let read = read(&good, "x.toml", &[], &catalog(version)).unwrap_or_else(|e| panic!("{e}"));
        read.cells(&[], None).unwrap().remove(0).1
    };
    let (old, new) = (spec(Some("1")), spec(Some("2")));
    assert_ne!(run_id(&old, "d").unwrap(), run_id(&new, "d").unwrap());
    assert!(!canonical(&spec(None)).unwrap().contains("version"));
    assert_eq!(new.lambdas().iter().map(|spec| spec.version.as_deref()).collect::<Vec<_>>(), [Some("2"); 2]);
    let errors = |text: &str, catalog: &Catalog| read(text, "x.toml", &[], catalog).unwrap_err().to_string();
    let unknown = errors(&text("lambda = { name = \"thirds\" }"), &catalog(None));
    assert!(
        unknown.contains("unknown function `thirds`") && unknown.contains("expected one of `halves`"),
        "{unknown}"
    );
    let none = errors(&good, &Catalog::default());
    assert!(
        none.contains("unknown function `halves`") && none.contains("this program registers no functions"),
        "{none}"
    );
    let own = errors(&text("lambda = { name = \"halves\", version = \"9\" }"), &catalog(None));
    assert!(own.contains("unknown key `version`"), "{own}");
}
