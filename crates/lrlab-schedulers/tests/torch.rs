//! Comparison with recorded rates of `PyTorch` 2.11 (`torch_lr.json`: every scheduler; `torch_random.json`: random parameters,
//! nested sequences and chains) and 2.15 (`torch_edges.json`: edge cases). `torch_random.py` generates the last two.
//!
//! Bits are equal on linux-gnu, whose mathematical library `CPython` uses too; elsewhere the difference is at most 4 units in
//! the last place per step.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use lrlab_schedulers::torch::{Group, Plateau, Scheduler, Spec, trace};
use serde_json::Value;

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn golden() -> Value {
    read(include_str!("torch_lr.json"))
}

fn number(bits: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(bits.trim_start_matches("0x"), 16).unwrap())
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|bits| number(bits.as_str().unwrap())).collect()
}

fn words(list: &Value) -> Vec<f64> {
    list.as_str().unwrap().split_whitespace().map(number).collect()
}

#[track_caller]
fn same(label: &str, step: usize, found: f64, expected: f64) {
    if found.is_nan() && expected.is_nan() {
        return;
    }
    let distance = found.to_bits().abs_diff(expected.to_bits());
    let allowed = if cfg!(all(target_os = "linux", target_env = "gnu")) { 0 } else { 4 * (step as u64 + 1) };
    assert!(distance <= allowed, "{label} at {step}: {found} instead of {expected}, {distance} ulp");
}

fn follow(
    label: &str,
    lr: f64,
    expected: &[f64],
    momentum: Option<&[f64]>,
    make: impl Fn(&mut Group) -> Scheduler,
) {
    let mut group = Group::new(lr, 0.9);
    let mut scheduler = make(&mut group);
    for (step, &rate) in expected.iter().enumerate() {
        same(label, step, group.lr, rate);
        if let Some(momentum) = momentum {
            same(label, step, group.momentum, momentum[step]);
        }
        if step + 1 < expected.len() {
            scheduler.step(&mut group).unwrap();
        }
    }
}

fn spec(text: &str) -> impl Fn(&mut Group) -> Scheduler {
    let spec = Spec::parse(text).unwrap();
    move |group| Scheduler::new(&spec, group).unwrap()
}

#[test]
fn every_scheduler_once() {
    let golden = golden();
    let check = |name: &str, make: &dyn Fn(&mut Group) -> Scheduler| {
        let case = &golden["cases"][name];
        for (i, base) in case["base_lrs"].as_array().unwrap().iter().enumerate() {
            let lr: f64 = base.as_str().unwrap().parse().unwrap();
            let momentum = case.get("momentum").map(|all| numbers(&all[i]));
            follow(name, lr, &numbers(&case["lr"][i]), momentum.as_deref(), make);
        }
    };
    check("StepLR", &spec("step = { step_size = 30, gamma = 0.1 }"));
    check("MultiStepLR", &spec("multi_step = { milestones = [2, 5, 5, 9] }"));
    check("ConstantLR", &spec("constant"));
    check("LinearLR", &spec("linear"));
    check("LinearLR_end.7", &spec("linear = { start_factor = 0.25, end_factor = 0.7, total_iters = 7 }"));
    check("ExponentialLR", &spec("exponential = { gamma = 0.95 }"));
    check("PolynomialLR", &spec("polynomial = { total_iters = 50, power = 0.9 }"));
    check("CosineAnnealingLR", &spec("cosine = { T_max = 50, eta_min = 1e-5 }"));
    check("CosineAnnealingLR_T1", &spec("cosine = { t_max = 1, eta_min = 1e-3 }"));
    let restarts = "cosine_warm_restarts = { T_0 = 10, T_mult = 2, eta_min = 1e-6 }";
    check("CosineAnnealingWarmRestarts_10_2", &spec(restarts));
    check("CosineAnnealingWarmRestarts_7_1", &spec("cosine_warm_restarts = { t_0 = 7 }"));
    for (mode, gamma) in [("triangular", "1.0"), ("triangular2", "1.0"), ("exp_range", "0.99")] {
        let text = format!(
            "cyclic = {{ base_lr = 1e-3, max_lr = 1e-2, step_size_up = 4, step_size_down = 6, \
             mode = \"{mode}\", gamma = {gamma} }}"
        );
        check(&format!("CyclicLR_{mode}"), &spec(&text));
    }
    check("OneCycleLR_cos", &spec("one_cycle = { max_lr = 0.1, total_steps = 100 }"));
    check(
        "OneCycleLR_linear3",
        &spec(
            "one_cycle = { max_lr = 0.1, epochs = 5, steps_per_epoch = 10, pct_start = 0.4, \
             anneal_strategy = \"linear\", three_phase = true }",
        ),
    );
    check("LambdaLR", &|group| Scheduler::lambda(|t| 0.95_f64.powf(t as f64), group).unwrap());
    check("MultiplicativeLR", &|group| Scheduler::multiplicative(|_| 0.95, group).unwrap());
    check(
        "Seq_warmup_cos",
        &spec(
            "[sequential]\nmilestones = [5]\n\
             schedulers = [{ linear = { start_factor = 0.1 } }, { cosine = { T_max = 20 } }]",
        ),
    );
    check(
        "Seq_const_exp_step",
        &spec(
            "sequential = { milestones = [3, 6], schedulers = [{ constant = { factor = 0.1, total_iters = 3 } }, \
             { exponential = { gamma = 0.8 } }, { step = { step_size = 2 } }] }",
        ),
    );
    check(
        "Seq_warmup_cawr",
        &spec(
            "sequential = { milestones = [3], schedulers = [{ linear = { start_factor = 0.1, total_iters = 3 } }, \
             { cosine_warm_restarts = { T_0 = 2, T_mult = 2 } }] }",
        ),
    );
    check(
        "Chain_const_exp",
        &spec(
            "chained = { schedulers = [{ constant = { factor = 0.1, total_iters = 20 } }, \
             { exponential = { gamma = 0.9 } }] }",
        ),
    );
}

#[test]
fn warm_restarts_at_fractional_epochs() {
    let golden = golden();
    let mut group = Group::new(0.1, 0.9);
    let text = "cosine_warm_restarts = { T_0 = 10, T_mult = 2, eta_min = 1e-6 }";
    let mut scheduler = spec(text)(&mut group);
    for row in golden["cases"]["CAWR_fractional"]["seq"].as_array().unwrap() {
        scheduler.step_to(row[0].as_f64().unwrap(), &mut group).unwrap();
        same("fractional", 0, group.lr, number(row[1].as_str().unwrap()));
    }
}

#[test]
fn plateau_equals_pytorch() {
    let golden = golden();
    for (name, case) in golden["cases"]["ReduceLROnPlateau"].as_object().unwrap() {
        let plateau: Plateau = serde_json::from_value(case["kw"].clone()).unwrap();
        let mut state = plateau.init(case["lr"].as_f64().unwrap()).unwrap();
        for row in case["seq"].as_array().unwrap() {
            let number_of = |i: usize| row[i].as_str().unwrap().parse::<f64>().unwrap();
            plateau.step(&mut state, number_of(0));
            assert_eq!(state.lr.to_bits(), number(row[1].as_str().unwrap()).to_bits(), "{name}");
            assert_eq!(
                (state.best, state.bad, state.cooldown),
                (number_of(2), row[3].as_i64().unwrap(), row[4].as_i64().unwrap()),
                "{name}"
            );
        }
    }
}

#[test]
fn random_parameters() {
    check_cases(&read(include_str!("torch_random.json")), 100);
}

/// Lengths that are 0, 1, negative or fractional; factors that are 0, 1, negative or large; unsorted milestones; metrics that
/// are not finite.
#[test]
fn edge_case_parameters() {
    check_cases(&read(include_str!("torch_edges.json")), 80);
}

fn check_cases(random: &Value, least: usize) {
    let cases = random["cases"].as_array().unwrap();
    assert!(cases.len() >= least, "{}", cases.len());
    for case in cases {
        let spec: Spec = serde_json::from_value(case["spec"].clone()).unwrap();
        let (lr, label) = (number(case["lr"].as_str().unwrap()), case["spec"].to_string());
        let (expected, raises) = (words(&case["rates"]), case["raises"].as_bool().unwrap());
        if !expected.is_empty() {
            follow(&label, lr, &expected, None, |group| Scheduler::new(&spec, group).unwrap());
        }
        assert_eq!(trace(&spec, lr, expected.len() as u64 + 1).is_err(), raises, "{label}");
    }
    for case in random["plateau"].as_array().unwrap() {
        let plateau: Plateau = serde_json::from_value(case["spec"].clone()).unwrap();
        let mut state = plateau.init(number(case["lr"].as_str().unwrap())).unwrap();
        for (metric, rate) in words(&case["metrics"]).into_iter().zip(words(&case["rates"])) {
            plateau.step(&mut state, metric);
            assert!(state.lr.to_bits() == rate.to_bits(), "{}: {} is not {rate}", case["spec"], state.lr);
        }
    }
}

/// A step that fails, even behind one that succeeds, changes neither the group nor the scheduler.
#[test]
fn a_failed_step_changes_nothing() {
    for spec in [
        "one_cycle = { max_lr = 0.1, total_steps = 3 }",
        "chained = { schedulers = [{ exponential = { gamma = 0.5 } }, { one_cycle = { max_lr = 0.1, total_steps = 3 } }] }",
        "sequential = { milestones = [1], schedulers = [{ constant = {} }, { one_cycle = { max_lr = 0.1, total_steps = 3 } }] }",
    ] {
        let mut group = Group::new(0.1, 0.9);
        let mut scheduler = Scheduler::new(&Spec::parse(spec).unwrap(), &mut group).unwrap();
        let mut steps = 0;
        let first = loop {
            let before = group.clone();
            match scheduler.step(&mut group) {
                Ok(()) => steps += 1,
                Err(error) => {
                    assert_eq!(group, before, "{spec}");
                    break error.to_string();
                }
            }
            assert!(steps < 10, "{spec}");
        };
        let again = scheduler.step(&mut group).unwrap_err().to_string();
        assert_eq!(again, first, "{spec}");
    }
}

#[test]
fn raises_where_pytorch_does() {
    let check = |text: &str, steps: u64, words: &str| {
        let error = Spec::parse(text).and_then(|spec| trace(&spec, 0.1, steps)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    check("constant = { factor = 2.0 }", 1, "constant.factor: PyTorch raises ValueError");
    check("constant = { factor = 0.0 }", 6, "ZeroDivisionError");
    check("linear = { start_factor = 0.0 }", 1, "linear.start_factor: PyTorch raises ValueError");
    check("one_cycle = { max_lr = 0.1, total_steps = 10, pct_start = 0.1 }", 1, "ZeroDivisionError");
    check("one_cycle = { max_lr = 0.1, total_steps = 10 }", 12, "ValueError: stepped 11 times");
    check("sequential = { schedulers = [], milestones = [] }", 1, "sequential.schedulers: the list is empty");
    check(
        "sequential = { schedulers = [{ constant = {} }], milestones = [1] }",
        1,
        "sequential.milestones: the number of entries is 1, expected 0",
    );
    check(
        "sequential = { milestones = [2], schedulers = [{ constant = {} }, { chained = { schedulers = \
         [{ constant = {} }] } }] }",
        3,
        "sequential.schedulers.1: PyTorch raises NotImplementedError",
    );
    check("cosine = { T_max = \"3 epochs\" }", 1, "invalid type: string");
    check("cosinus = { T_max = 3 }", 1, "unknown variant `cosinus`");
    check("step = { step_size = 3, gama = 0.1 }", 1, "unknown field `gama`");
}
