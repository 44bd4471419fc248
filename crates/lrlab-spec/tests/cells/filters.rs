//! Filters and conditions select cells by every axis.

use super::*;

#[test]
fn filters_and_seeds() {
    let experiment = experiment("quickstart");
    let count = |filters: &[&str], seeds: Option<usize>| {
        let filters: Vec<String> = filters.iter().map(|&f| f.to_owned()).collect();
        experiment
            .cells(&filters, seeds)
            .map(|cells| cells.len())
            .map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(count(&["model=lstm"], None), Ok(16));
    assert_eq!(count(&["model=lstm", "model=resnet", "monitor=on"], Some(1)), Ok(8));
    assert_eq!(count(&["dataset=reviews", "seed=1"], None), Ok(16));
    let mistake = |text: &str| Err(vec![text.to_owned()]);
    assert_eq!(
        count(&["modle=lstm"], None),
        mistake("command line:1:10: `modle` is not an axis of this grid; did you mean `model`?")
    );
    assert_eq!(
        count(&["model=lsmt"], None),
        mistake("command line:1:16: no cell has `model` = `lsmt`; did you mean `lstm`?")
    );
    // No number is misspelt for another one.
    assert_eq!(
        count(&["seed=9"], None),
        mistake("command line:1:15: no cell has `seed` = `9`; expected one of `0`, `1`")
    );
    assert_eq!(count(&["lstm"], None), mistake("command line:1:10: `lstm` is not KEY=VALUE"));
    assert_eq!(count(&[], Some(3)), mistake("command line:1:9: the experiment has 2 seeds; give 1 … 2"));
    assert_eq!(
        count(&["model=lstm", "dataset=pictures"], None),
        mistake("command line:1:1: no cell matches all of these")
    );
}

/// Every possible axis is a valid condition, with the syntax of `[axes]`, whether it is an axis of the grid or not.
#[test]
fn conditions_accept_every_axis() {
    let axes = "seed = [0, 1]\noptimizer.sgd.momentum = [0.0, 0.9]\ndata.augment.flip = [false, true]";
    assert_eq!(small(axes, "").len(), 16);
    let left = |rest: &str| small(axes, &format!("[[exclude]]\n{rest}")).len();
    for (condition, cells) in [
        ("optimizer.sgd.momentum = 0.9", 8),
        ("\"optimizer.sgd.momentum\" = [0.9]", 8),
        ("optimizer = { sgd = { momentum = 0 } }\nschedule = \"cosine\"", 12),
        ("data.augment.flip = true\nseed = 1", 12),
        ("monitor = \"off\"\nseed = 0", 8),
        ("epochs = 2\nseed = 0", 8),
        ("dataset = \"pictures\"\nseed = [1]", 8),
        ("lr = 0.1\nschedule = \"static\"", 8),
        ("optimizer.sgd.weight_decay = 0.1\nlr_max = \"off\"\nseed = 0", 8),
        ("data.limit.test = 50\ndata.split_seed = 3\nseed = 1", 8),
    ] {
        assert_eq!(left(condition), cells, "{condition}");
    }
    let further =
        "[[exclude]]\nseed = 1\n[[include]]\nschedule = \"static\"\noptimizer.sgd.momentum = 0.5\nseed = 7";
    let cells = small(axes, further);
    let included: Vec<_> = cells.iter().filter(|(cell, _)| cell["seed"] == 7).collect();
    assert_eq!((cells.len(), included.len()), (10, 2));
    assert!(included.iter().all(|(cell, _)| cell["optimizer.sgd.momentum"] == 0.5));
}

#[test]
fn filters_accept_every_axis() {
    let text = std::fs::read_to_string(format!("{FOLDER}/quickstart.toml")).unwrap();
    let experiment = read(&text, "q.toml", &[], &Catalog::default()).unwrap();
    let count = |filter: &str| experiment.cells(&[filter.to_owned()], None).map_or(0, |cells| cells.len());
    let all = experiment.cells(&[], None).unwrap();
    let with = |path: &str, value: &serde_json::Value| {
        let run = |run: &RunSpec| serde_json::to_value(run).unwrap().pointer(path).cloned();
        all.iter().filter(|(_, spec)| run(spec).as_ref() == Some(value)).count()
    };
    let rate = serde_json::to_value(all[0].1.lr).unwrap();
    assert!(!all[0].0.contains_key("lr") && with("/lr", &rate) < all.len());
    assert_eq!(count(&format!("lr={rate}")), with("/lr", &rate));
    assert_eq!(
        (count("lr_max=off"), count("accumulate=1"), count("accumulate=2")),
        (all.len(), all.len(), 0)
    );
    let wrong = |filter: &str| experiment.cells(&[filter.to_owned()], None).unwrap_err().to_string();
    assert!(wrong("accumulate=2").contains("no cell has `accumulate` = `2`"), "{}", wrong("accumulate=2"));
    assert!(wrong("optimizer.sgd.momentun=0.9").contains("is not an axis of this grid"));
}
