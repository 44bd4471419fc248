//! Axes: their order, zipped and included ones, named optimizers.

use super::*;

#[test]
fn further_axes_exclude_and_include() {
    let axes = "seed = [0]\nlr = [1, 0.5]\nbatch_size = [8, 16]\noptimizer.sgd.momentum = [0.0, 0.9]";
    assert_eq!(small(axes, "").len(), 16);
    let text = |cells: &[(Cell, RunSpec)]| -> Vec<String> {
        cells
            .iter()
            .map(|(c, r)| {
                format!("{} {} {} {}", c["schedule"], r.lr, r.batch_size, c["optimizer.sgd.momentum"])
            })
            .collect()
    };
    let rest = "[[exclude]]\nschedule = \"static\"\n[[exclude]]\nlr = 1\nbatch_size = [16]\n\
                [[include]]\nlr = 0.25\nbatch_size = 32\nschedule = \"static\"";
    assert_eq!(
        text(&small(axes, rest)),
        [
            "\"cosine\" 1 8 0.0",
            "\"cosine\" 1 8 0.9",
            "\"cosine\" 0.5 8 0.0",
            "\"cosine\" 0.5 8 0.9",
            "\"cosine\" 0.5 16 0.0",
            "\"cosine\" 0.5 16 0.9",
            "\"static\" 0.25 32 0.0",
            "\"static\" 0.25 32 0.9",
        ]
    );
}

#[test]
fn zipped_axes_advance_together() {
    let text = std::fs::read_to_string(format!("{FOLDER}/cifar-resnet20.toml")).unwrap();
    let overrides = ["axes.lr=[0.1, 0.2]", "axes.batch_size=[128, 256]", "zip=[[\"lr\", \"batch_size\"]]"]
        .map(str::to_owned);
    let text = text.replace("batch_size = 128", "").replace("lr = 0.1 ", "# ");
    let cells = read(&text, "x.toml", &overrides, &Catalog::default())
        .unwrap_or_else(|e| panic!("{e}"))
        .cells(&[], None)
        .unwrap();
    let runs: Vec<(f64, usize)> = cells.iter().map(|(_, run)| (run.lr, run.batch_size)).collect();
    assert_eq!(runs, [(0.1, 128), (0.2, 256)]);
}

/// Runs without the key have torchvision's initialisation.
#[test]
fn the_initialisation_of_convolutions_is_an_axis() {
    let text = std::fs::read_to_string(format!("{FOLDER}/quickstart.toml")).unwrap();
    let axis = "axes.\"model.resnet.init\"=[\"torchvision\", \"torch_default\"]";
    let ids = |overrides: &[&str]| -> Vec<_> {
        let given = ["axes.model=[\"resnet\"]"].iter().chain(overrides);
        let overrides: Vec<String> = given.map(ToString::to_string).collect();
        let experiment =
            read(&text, "q.toml", &overrides, &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        let cells = experiment.cells(&[], None).unwrap();
        cells.iter().map(|(_, run)| run_id(run, "d").unwrap()).collect()
    };
    let (plain, both) = (ids(&[]), ids(&[axis]));
    assert_eq!(both.len(), 2 * plain.len());
    assert!(plain.iter().all(|id| both.contains(id)));
}

#[test]
fn included_axes_stay_zipped() {
    let axes = "seed = [0]\nlr = [1, 0.5]\nbatch_size = [8, 16]";
    let text = |rest: &str| -> Vec<String> {
        let cells = small_zipped(axes, rest);
        cells.iter().map(|(c, r)| format!("{} {} {}", c["schedule"], r.lr, r.batch_size)).collect()
    };
    let grid = ["\"static\" 1 8", "\"static\" 0.5 16", "\"cosine\" 1 8", "\"cosine\" 0.5 16"];
    assert_eq!(text(""), grid);
    assert_eq!(text("[[include]]\nepochs = 3\n")[4..], grid);
    assert_eq!(
        text("[[include]]\nlr = 0.25\nbatch_size = 4\nschedule = \"static\"")[4..],
        ["\"static\" 0.25 4"]
    );
}

/// An axis over `[optimizers]`, a rate factor for each, and a key of the rule that a run has.
#[test]
fn named_optimizers_are_an_axis() {
    let rest =
        "[optimizers.momentum]\nsgd = { momentum = 0.8 }\n[optimizers.adam]\nadamw = {}\nlr_scale = 0.125\n";
    let axes = "optimizer = [\"momentum\", \"adam\"]\n\"optimizer.weight_decay\" = [0, 0.5]\nlr = [0.5, 1]\nseed = [0]";
    let text = [
        "optimizer = { sgd = { momentum = 0.5, weight_decay = 0.1 } }\n",
        "lr = 0.1\n",
        "optimizer = { sgd = { momentum = 0.8 } }\n",
    ]
    .iter()
    .fold(grid_text("", axes, rest), |text, replaced| text.replace(replaced, ""))
    .replace("early_stopping = { patience = 2 }\n", "");
    let experiment = read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(experiment.warnings.is_empty(), "{}", experiment.warnings);
    let cells = experiment.cells(&[], None).unwrap();
    assert_eq!(cells.len(), 16);
    for (cell, run) in &cells {
        let (name, lr) = (cell["optimizer"].as_str().unwrap(), cell["lr"].as_f64().unwrap());
        let optimizer = serde_json::to_value(&run.optimizer).unwrap();
        let (rule, scale) = if name == "adam" { ("adamw", 0.125) } else { ("sgd", 1.0) };
        assert_eq!(optimizer[rule]["weight_decay"], cell["optimizer.weight_decay"], "{optimizer}");
        assert_eq!(run.lr, lr * scale);
        if rule == "sgd" {
            assert_eq!(optimizer["sgd"]["momentum"], 0.8);
        }
    }
    let some = experiment.cells(&["optimizer=adam".into(), "optimizer.weight_decay=0".into()], None).unwrap();
    assert_eq!(some.len(), 4);
}

/// The origin of a rate names the factor of the optimizer, wherever rate and factor come from.
#[test]
fn the_origin_of_a_rate_names_its_factor() {
    let rest = "[optimizers]\nmomentum.sgd = {}\n[optimizers.adam]\nadam = {}\nlr_scale = 0.3\n";
    let explained = |axes: &str, overrides: &[String]| {
        let axes = format!("optimizer = [\"momentum\", \"adam\"]\n{axes}\nseed = [3]");
        let text = grid_text("", &axes, rest).replace("[\"static\", \"cosine\"]", "[\"static\"]");
        let text = text.replace("cosine = { cosine = {} }\n", "");
        let experiment =
            read(&text, "x.toml", overrides, &Catalog::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((experiment.lr_scale("adam").is_some(), experiment.lr_scale("momentum")), (true, None));
        let texts = experiment.explain(&[], None).unwrap();
        let line = |text: &String| text.lines().find(|line| line.starts_with("lr = ")).unwrap().to_owned();
        texts
            .iter()
            .map(line)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let line_of =
        |text: &str, start: &str| text.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let text = grid_text("", "optimizer = [\"momentum\", \"adam\"]\n\nseed = [3]", rest);
    let (lr, scale) = (line_of(&text, "lr = "), line_of(&text, "lr_scale") - 1);
    assert_eq!(
        explained("", &[]),
        [
            format!("lr = 0.1 # x.toml:{lr}"),
            format!("lr = 0.03 # x.toml:{lr}, 0.1 × lr_scale 0.3 (x.toml:{scale})")
        ]
    );
    let lines = explained("lr = [0.7]", &["optimizers.adam.lr_scale=0.5".into()]);
    assert!(lines[0].starts_with("lr = 0.7 # x.toml:") && !lines[0].contains('×'), "{lines:?}");
    assert!(lines[1].starts_with("lr = 0.35 # x.toml:"), "{lines:?}");
    assert!(lines[1].ends_with(", 0.7 × lr_scale 0.5 (--set optimizers.adam.lr_scale=0.5)"), "{lines:?}");
}

/// `adamw = {}` decays the weights as torch's does; a file that names a weight decay is the run that it was.
#[test]
fn the_weight_decay_of_adamw() {
    let id = |rule: &str| {
        let (_, run) =
            small("optimizer = [\"w\"]\nseed = [3]", &format!("[optimizers.w]\n{rule}\n")).remove(0);
        run_id(&run, "d").unwrap()
    };
    let ids = ["adamw = {}", "adamw = { weight_decay = 0.01 }", "adamw = { weight_decay = 0 }", "adam = {}"]
        .map(id);
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    assert_ne!(ids[2], ids[3]);
    let text =
        grid_text("", "optimizer = [\"w\", \"a\"]\nseed = [3]", "[optimizers]\nw.adamw = {}\na.adam = {}\n");
    let explained =
        read(&text, "x.toml", &[], &Catalog::default()).unwrap_or_else(|e| panic!("{e}")).explain(&[], None);
    let explained = explained.unwrap().join("");
    for (key, value) in [("adamw", "0.01"), ("adam", "0.0")] {
        let start = format!("optimizer.{key}.weight_decay = {value} ");
        let line = explained.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(line.ends_with("  # default"), "{line}");
    }
}

/// An override finds an axis with dots in either notation, also for its conditions.
#[test]
fn overrides_find_axes_in_either_notation() {
    for axis in
        ["seed = [0]\n\"optimizer.sgd.momentum\" = [0, 0.9]", "seed = [0]\noptimizer.sgd.momentum = [0, 0.9]"]
    {
        for path in ["axes.optimizer.sgd.momentum", "axes.\"optimizer.sgd.momentum\""] {
            let text = grid_text("", axis, "");
            let set = format!("{path}=[0.5, 0.25, 0.125]");
            let experiment = read(&text, "x.toml", &[set], &Catalog::default())
                .unwrap_or_else(|e| panic!("{axis} {path}: {e}"));
            let cells = experiment.cells(&[], None).unwrap();
            let mut values: Vec<f64> =
                cells.iter().map(|(cell, _)| cell["optimizer.sgd.momentum"].as_f64().unwrap()).collect();
            values.sort_by(f64::total_cmp);
            values.dedup();
            assert_eq!(values, [0.125, 0.25, 0.5], "{axis} {path}");
        }
    }
    let twice = "seed = [0]\n\"optimizer.sgd.momentum\" = [0, 0.9]\noptimizer.sgd.momentum = [0.5]";
    let mistakes =
        read(&grid_text("", twice, ""), "x.toml", &[], &Catalog::default()).unwrap_err().to_string();
    assert!(mistakes.contains("the axis `optimizer.sgd.momentum` is given twice"), "{mistakes}");
}
