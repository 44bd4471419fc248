//! The defects of PyTorch, which the `torch` module reproduces and the schedules and controllers of this crate avoid. The
//! comment of each test describes PyTorch.

#![allow(clippy::disallowed_methods, reason = "references may call the system's functions")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "panics fail the test")]

use lrlab_schedulers::torch::{self, Group, Scheduler, Spec};
use lrlab_schedulers::{
    AnyController, Compat, Compose, ControllerSpec, Decision, Horizon, Observation, Schedule, ScheduleSpec,
    fixed, multiplicative, replay,
};

const RUN: Horizon = Horizon { updates: 100, updates_per_epoch: 10 };

fn build(text: &str) -> Box<dyn Schedule> {
    ScheduleSpec::parse(text)
        .and_then(|spec| spec.build(&RUN))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn rates(text: &str, updates: &[u64]) -> Vec<f64> {
    let schedule = build(text);
    updates.iter().map(|&update| schedule.lr(0.1, RUN.at(update))).collect()
}

fn torch_rates(text: &str, steps: u64) -> Vec<f64> {
    torch::trace(&Spec::parse(text).unwrap(), 0.1, steps).unwrap()
}

fn errors_of_pytorch_are_errors(text: &str, steps: u64) -> String {
    Spec::parse(text).and_then(|spec| torch::trace(&spec, 0.1, steps)).unwrap_err().to_string()
}

fn refused(text: &str) -> String {
    ScheduleSpec::parse(text).and_then(|spec| spec.build(&RUN)).unwrap_err().to_string()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12
}

fn metrics(values: &[f64]) -> Vec<Observation> {
    values.iter().map(|&value| Observation { value, stderr: None }).collect()
}

fn controller(text: &str) -> Box<dyn AnyController> {
    ControllerSpec::parse(text).and_then(|spec| spec.build()).unwrap()
}

/// Returns the indices of the observations, counted from 0, at which a controller acts.
fn acts(text: &str, values: &[f64]) -> Vec<usize> {
    let mut controller = controller(text);
    let decisions = metrics(values).into_iter().map(|seen| controller.observe(&seen)).collect::<Vec<_>>();
    (0..values.len()).filter(|&i| decisions[i] != Decision::Keep).collect()
}

/// Creating a scheduler changes the rate of the optimizer, and a second scheduler starts from the changed rate.
#[test]
fn creating_a_schedule_has_no_side_effects() {
    let mut group = Group::new(0.1, 0.9);
    for expected in [0.1 / 3.0, 0.1 / 9.0] {
        Scheduler::new(&Spec::parse("linear").unwrap(), &mut group).unwrap();
        assert!(close(group.lr, expected), "{}", group.lr);
    }
    let text = "linear = { total_iters = '5 updates' }";
    let (one, two) = (build(text), build(text));
    assert_eq!(one.lr(0.1, RUN.at(0)), two.lr(0.1, RUN.at(0)));
}

/// The first scheduler of an optimizer fixes the base rate of all later ones.
#[test]
fn the_base_rate_is_an_argument() {
    let mut group = Group::new(0.1, 0.9);
    Scheduler::new(&Spec::parse("constant").unwrap(), &mut group).unwrap();
    group.lr = 1.0;
    Scheduler::lambda(|_| 1.0, &mut group).unwrap();
    assert_eq!(group.lr, 0.1, "the scheduler ignores the rate that was set");
    let schedule = build("static");
    assert_eq!([0.1, 1.0].map(|base| schedule.lr(base, RUN.at(7))), [0.1, 1.0]);
}

/// `state_dict` contains hyperparameters, so loading it reverts a changed configuration.
#[test]
fn a_restored_state_leaves_the_configuration_alone() {
    let mut old = controller("plateau = { patience = 9 }");
    old.observe(&Observation { value: 1.0, stderr: None });
    let state = old.state();
    assert!(!state.to_string().contains("patience"), "{state}");
    let mut new = controller("plateau = { patience = 0, factor = 0.5 }");
    new.restore(state).unwrap();
    let Decision::Gain { gain, .. } = new.observe(&Observation { value: 1.0, stderr: None }) else {
        panic!()
    };
    assert_eq!(gain, 0.5);
}

/// A scheduler that is created for a later epoch multiplies once more (`StepLR`), loses its cycle (warm restarts), or ignores
/// the epoch (`SequentialLR`).
#[test]
fn resuming_needs_no_history() {
    for text in [
        "step = { step_size = '3 updates' }",
        "cosine_warm_restarts = { t_0 = '4 updates', t_mult = 2 }",
        "sequential = { milestones = ['7 updates'], schedulers = [{ static = {} }, { cosine = {} }] }",
    ] {
        let whole = build(text);
        let all: Vec<f64> = (0..100).map(|update| whole.lr(0.1, RUN.at(update))).collect();
        for k in 0..100 {
            let resumed = build(text);
            assert_eq!(resumed.lr(0.1, RUN.at(k)).to_bits(), all[k as usize].to_bits(), "{text} at {k}");
        }
    }
}

/// The optimizer stores the rate: if only the scheduler is restored, the reported rate differs from the applied one.
#[test]
fn no_rate_is_stored() {
    let mut group = Group::new(0.1, 0.9);
    let mut scheduler =
        Scheduler::new(&Spec::parse("exponential = { gamma = 0.5 }").unwrap(), &mut group).unwrap();
    scheduler.step(&mut group).unwrap();
    let mut other = Group::new(1.0, 0.9);
    scheduler.step(&mut other).unwrap();
    assert_eq!(other.lr, 0.5, "the schedule gives 0.025");
    assert!(close(rates("exponential = { gamma = 0.5 }", &[20])[0], 0.025));
}

/// With `total_iters = 0` the factor never ends, and a factor of 0 causes a division by zero.
#[test]
fn constant_needs_a_positive_length() {
    assert_eq!(torch_rates("constant = { factor = 0.5, total_iters = 0 }", 3), [0.05; 3]);
    assert!(errors_of_pytorch_are_errors("constant = { factor = 0.0 }", 6).contains("ZeroDivisionError"));
    assert!(
        refused("constant = { factor = 0.5, total_iters = '0 updates' }").contains("is not a valid length")
    );
    assert_eq!(rates("constant = { factor = 0, total_iters = '5 updates' }", &[4, 5]), [0.0, 0.1]);
}

/// With `total_iters = 0` the rate stays at a third, and a ramp cannot exceed the base rate or start at 0.
#[test]
fn linear_may_start_at_0_and_exceed_the_base_rate() {
    assert!(torch_rates("linear = { total_iters = 0 }", 3).iter().all(|&lr| close(lr, 0.1 / 3.0)));
    assert!(errors_of_pytorch_are_errors("linear = { end_factor = 2.0 }", 1).contains("ValueError"));
    assert!(errors_of_pytorch_are_errors("linear = { start_factor = 0.0 }", 1).contains("ValueError"));
    assert!(refused("linear = { total_iters = '0%' }").contains("is not a valid length"));
    let text = "linear = { start_factor = 0, end_factor = 2, total_iters = '10 updates' }";
    assert_eq!(rates(text, &[0, 5, 10, 50]), [0.0, 0.1, 0.2, 0.2]);
}

/// A length of 0 is accepted and never decays.
#[test]
fn polynomial_needs_a_positive_length() {
    assert_eq!(torch_rates("polynomial = { total_iters = 0 }", 3), [0.1; 3]);
    assert!(refused("polynomial = { total_iters = '0 updates' }").contains("is not a valid length"));
}

/// After `T_max` the rate rises again.
#[test]
fn cosine_does_not_rise_again() {
    let torch = torch_rates("cosine = { T_max = 10 }", 21);
    assert!(torch[10] < 1e-12 && torch[20] > 0.09, "{torch:?}");
    assert_eq!(rates("cosine = { t_max = '10 updates' }", &[10, 15, 20]), [0.0; 3]);
}

/// The floating-point logarithm misses restarts: epoch 121 of cycles 1, 3, 9, … has the lowest rate instead of the highest.
#[test]
fn rounding_does_not_miss_restarts() {
    let mut group = Group::new(0.1, 0.9);
    let mut scheduler =
        Scheduler::new(&Spec::parse("cosine_warm_restarts = { T_0 = 1, T_mult = 3 }").unwrap(), &mut group)
            .unwrap();
    scheduler.step_to(121.0, &mut group).unwrap();
    assert_eq!(group.lr, 0.0);
    assert_eq!(rates("cosine_warm_restarts = { t_0 = '1 update', t_mult = 3 }", &[121]), [0.1]);
}

/// A warm-up of one step causes a division by zero, a shorter one has no effect, and the rate rises after the last step.
#[test]
fn one_cycle_accepts_short_phases() {
    assert!(
        errors_of_pytorch_are_errors("one_cycle = { max_lr = 1.0, total_steps = 10, pct_start = 0.1 }", 1)
            .contains("ZeroDivisionError")
    );
    let torch = torch_rates("one_cycle = { max_lr = 1.0, total_steps = 10 }", 11);
    assert!(torch[9] < 1e-4 && torch[10] > 0.01, "{torch:?}");
    let short = "one_cycle = { max_lr = 1, total_steps = '10 updates', pct_start = 0.1 }";
    assert!(rates(short, &[0, 1]).iter().zip([0.04, 1.0]).all(|(&lr, expected)| close(lr, expected)));
    assert!(rates(short, &[9, 10, 11, 1000]).is_sorted_by(|a, b| a >= b));
}

/// `OneCycleLR` overwrites the base rate of the other schedulers.
#[test]
fn parts_of_a_sequence_are_independent() {
    let torch = torch_rates(
        "sequential = { milestones = [3], schedulers = [{ constant = { factor = 1.0 } }, \
         { one_cycle = { max_lr = 0.1, total_steps = 20 } }] }",
        1,
    );
    assert!(close(torch[0], 0.004), "{torch:?}: the constant part should start at 0.1");
    let text = "sequential = { milestones = ['3 updates'], schedulers = [{ static = {} }, { one_cycle = { max_lr = 0.1 } }] }";
    assert_eq!(rates(text, &[0, 2]), [0.1, 0.1]);
}

/// The first rate of `CyclicLR` after another scheduler uses the base rate of that scheduler.
#[test]
fn cyclic_starts_at_base_lr() {
    let mut group = Group::new(0.5, 0.9);
    Scheduler::lambda(|_| 1.0, &mut group).unwrap();
    let cyclic = "cyclic = { base_lr = 0.1, max_lr = 1.0, step_size_up = 4 }";
    Scheduler::new(&Spec::parse(cyclic).unwrap(), &mut group).unwrap();
    assert_eq!(group.lr, 0.5);
    assert_eq!(rates("cyclic = { base_lr = 0.1, max_lr = 1, step_size_up = '4 updates' }", &[0]), [0.1]);
}

/// A sequence does not reset a multiplicative part.
#[test]
fn each_part_of_a_sequence_starts_at_the_base_rate() {
    let mut group = Group::new(0.1, 0.9);
    let warmup = Spec::parse("linear = { start_factor = 0.1, total_iters = 3 }").unwrap();
    let parts = vec![
        Scheduler::new(&warmup, &mut group).unwrap(),
        Scheduler::multiplicative(|_| 0.9, &mut group).unwrap(),
    ];
    let mut sequence = Scheduler::sequential(parts, vec![3.0], &mut group).unwrap();
    (0..3).for_each(|_| sequence.step(&mut group).unwrap());
    assert!(close(group.lr, 0.063), "{}", group.lr);
    let ours = build("linear = { start_factor = 0.1, total_iters = '3 updates' }")
        .then(3, multiplicative(|_| 0.9, 9));
    assert!(close(ours.lr(0.1, RUN.at(3)), 0.1) && close(ours.lr(0.1, RUN.at(4)), 0.09));
}

/// A sequence or chain inside a sequence raises an exception unless it is the first scheduler.
#[test]
fn sequences_and_chains_nest() {
    let torch = "sequential = { milestones = [2], schedulers = [{ constant = {} }, \
                 { chained = { schedulers = [{ exponential = { gamma = 0.9 } }] } }] }";
    assert!(errors_of_pytorch_are_errors(torch, 3).contains("NotImplementedError"));
    let text = "sequential = { milestones = ['2 updates'], schedulers = [{ static = {} }, { chained = { schedulers = [\
                { linear_to_zero = {} }, { sequential = { milestones = ['50%'], schedulers = [{ static = {} }, \
                { scale = { by = 0.5, of = { static = {} } } }] } }] } }] }";
    let found = rates(text, &[1, 2, 50, 51, 75]);
    let left = |update: f64| 0.1 * (1.0 - (update - 2.0) / 98.0);
    let expected = [0.1, 0.1, left(50.0), left(51.0) / 2.0, left(75.0) / 2.0];
    assert!(found.iter().zip(expected).all(|(&a, b)| close(a, b)), "{found:?}, not {expected:?}");
}

/// With a first milestone of 0 the sequence starts with the wrong scheduler.
#[test]
fn a_milestone_at_the_start_is_refused() {
    let torch = torch_rates(
        "sequential = { milestones = [0], schedulers = [{ constant = { factor = 0.1 } }, { exponential = { gamma = 0.9 } }] }",
        2,
    );
    assert!(close(torch[0], 0.01) && close(torch[1], 0.009), "{torch:?}");
    let text = "sequential = { milestones = ['0%'], schedulers = [{ static = {} }, { cosine = {} }] }";
    assert!(refused(text).contains("sequential.milestones.0"));
}

/// In a chain, the last scheduler that sets the rate overrides the previous ones.
#[test]
fn every_part_of_a_chain_applies() {
    let mut group = Group::new(0.1, 0.9);
    let half = Spec::parse("exponential = { gamma = 0.5 }").unwrap();
    let parts =
        vec![Scheduler::new(&half, &mut group).unwrap(), Scheduler::lambda(|_| 1.0, &mut group).unwrap()];
    let mut chain = Scheduler::chained(parts).unwrap();
    chain.step(&mut group).unwrap();
    assert_eq!(group.lr, 0.1);
    let ours = fixed().over(build("exponential = { gamma = 0.5 }"));
    assert!(close(ours.lr(0.1, RUN.at(10)), 0.05));
}

/// A warm-up that is chained with a cosine permanently changes the cosine if `eta_min` is above 0.
#[test]
fn a_warmup_does_not_change_eta_min() {
    let torch = torch_rates(
        "chained = { schedulers = [{ linear = { start_factor = 0.1, total_iters = 3 } }, { cosine = { T_max = 10, eta_min = 0.01 } }] }",
        11,
    );
    assert!((torch[10] - 0.01).abs() > 1e-4 || (torch[5] - 0.055).abs() > 1e-4, "{torch:?}");
    let text = "warmup = { over = '3 updates', start_factor = 0.1, clock = 'shared', then = { cosine = { t_max = '10 updates', eta_min = 0.01 } } }";
    let cosine = "cosine = { t_max = '10 updates', eta_min = 0.01 }";
    assert_eq!(rates(text, &[3, 5, 10, 50]), rates(cosine, &[3, 5, 10, 50]));
}

/// Schedules that set the rate override the cut of a plateau, and sequences and chains reject a plateau.
#[test]
fn a_plateau_composes_with_every_schedule() {
    assert!(
        errors_of_pytorch_are_errors("sequential = { schedulers = [{ plateau = {} }], milestones = [] }", 1)
            .contains("plateau")
    );
    let mut group = Group::new(0.1, 0.9);
    let restarts = Spec::parse("cosine_warm_restarts = { T_0 = 10 }").unwrap();
    let mut scheduler = Scheduler::new(&restarts, &mut group).unwrap();
    group.lr *= 0.5;
    scheduler.step(&mut group).unwrap();
    assert!(group.lr > 0.09, "the cut is lost: {}", group.lr);

    let mut plateau = controller("plateau = { factor = 0.5, patience = 0 }");
    plateau.observe(&Observation { value: 1.0, stderr: None });
    let Decision::Gain { gain, .. } = plateau.observe(&Observation { value: 1.0, stderr: None }) else {
        panic!()
    };
    let schedule = build("cosine_warm_restarts = { t_0 = '10 updates' }");
    for update in 0..100 {
        let (with, without) = (schedule.lr(0.1, RUN.at(update)) * gain, schedule.lr(0.1, RUN.at(update)));
        assert_eq!(with, 0.5 * without);
    }
}

/// A relative threshold accepts a rise of a negative metric as improvement.
#[test]
fn a_relative_threshold_is_correct_for_negative_metrics() {
    let rising: Vec<f64> = (0..20).map(|k| -1.0 + 5e-5 * f64::from(k)).collect();
    let torch = replay("plateau = { patience = 3 }", 0.1, &metrics(&rising), Compat::Torch).unwrap();
    assert!(torch.iter().all(|&lr| lr == 0.1));
    assert_eq!(acts("plateau = { patience = 3 }", &rising)[0], 4);
}

/// NaN always counts as a bad observation.
#[test]
fn the_effect_of_nan_is_configurable() {
    let values = [1.0, f64::NAN, f64::NAN];
    let torch =
        replay("plateau = { patience = 1, factor = 0.5 }", 0.1, &metrics(&values), Compat::Torch).unwrap();
    assert_eq!(torch, [0.1, 0.1, 0.05]);
    for (policy, expected) in
        [("count_as_bad", &[2][..]), ("ignore", &[]), ("stop", &[1, 2]), ("rewind", &[1, 2])]
    {
        assert_eq!(
            acts(&format!("plateau = {{ patience = 1, on_nan = '{policy}' }}"), &values),
            expected,
            "{policy}"
        );
    }
}

/// The descent after a spike counts as a plateau.
#[test]
fn a_descent_after_a_spike_is_not_a_plateau() {
    let spike: Vec<f64> =
        [0.5, 2.0].into_iter().chain((0..8).map(|k| 1.5 * 0.9_f64.powf(f64::from(k)))).collect();
    let torch = replay("plateau = { patience = 4 }", 0.1, &metrics(&spike), Compat::Torch).unwrap();
    assert!(torch.iter().any(|&lr| lr < 0.1));
    assert!(acts("new_bob = { patience = 1 }", &spike).is_empty());
}

/// PyTorch cuts one observation later than Keras. Both rules are available.
#[test]
fn patience_follows_pytorch_or_keras() {
    assert_eq!(acts("plateau = { patience = 2 }", &[1.0; 6])[0], 3);
    assert_eq!(acts("plateau = { patience = 2, rule = 'keras' }", &[1.0; 6])[0], 2);
}

/// Invalid parameters are accepted (a negative factor, a minimum above the rate), and small rates never change.
#[test]
fn plateaus_check_their_parameters() {
    let seen = metrics(&[1.0; 4]);
    let torch = |text: &str, lr: f64| replay(text, lr, &seen, Compat::Torch).unwrap();
    assert_eq!(torch("plateau = { patience = 0, factor = -0.5 }", 0.1)[1..], [0.0; 3]);
    assert_eq!(torch("plateau = { patience = 0, min_lr = 1.0 }", 0.1), [0.1; 4]);
    assert_eq!(torch("plateau = { patience = 0 }", 1e-8), [1e-8; 4]);
    let refused = |text: &str| ControllerSpec::parse(text).unwrap().check().unwrap_err().to_string();
    assert!(refused("plateau = { factor = -0.5 }").starts_with("plateau.factor: -0.5 is not"));
    assert!(refused("plateau = { min_gain = 10 }").starts_with("plateau.min_gain: 10 is not"));
    let ours = replay("plateau = { patience = 0 }", 1e-8, &seen, Compat::Lrlab).unwrap();
    assert!(close(ours[3], 1e-11) && ours[3] < ours[1]);
}

/// `reads_base` is false exactly if the rates do not depend on the base rate.
#[test]
fn reads_base_agrees_with_the_rates() {
    let check = |text: &str, expected: bool| {
        let spec: ScheduleSpec = toml::from_str(text).unwrap();
        assert_eq!(spec.reads_base(), expected, "{text}");
        let schedule = build(text);
        let run = Horizon { updates: 100, updates_per_epoch: 10 };
        let differs = (0..100).any(|t| schedule.lr(0.1, run.at(t)) != schedule.lr(0.3, run.at(t)));
        assert_eq!(differs, expected, "{text}");
    };
    let (own, base) = ("{ one_cycle = { max_lr = 0.1 } }", "{ cosine = {} }");
    for text in ["static = {}", "cosine = {}", "noam = { d_model = 512, warmup = '4 updates' }"] {
        check(text, true);
    }
    check("one_cycle = { max_lr = 0.1 }", false);
    check("cyclic = { base_lr = 0.01, max_lr = 0.1, step_size_up = '3 updates' }", false);
    for (part, expected) in [(own, false), (base, true)] {
        check(&format!("warmup = {{ over = '10%', then = {part} }}"), expected);
        check(&format!("warmup = {{ over = '10%', clock = 'shared', then = {part} }}"), expected);
        check(&format!("warmup = {{ over = '10%', clock = 'hidden', then = {part} }}"), true);
        check(&format!("scale = {{ by = 0.5, of = {part} }}"), expected);
        check(&format!("scale = {{ by = 0, of = {part} }}"), false);
        check(&format!("clamp = {{ max = 1.0, of = {part} }}"), expected);
        check(&format!("delay = {{ by = '1 epoch', of = {part} }}"), expected);
        check(&format!("repeat = {{ period = '2 epochs', of = {part} }}"), expected);
        check(&format!("staircase = {{ step = '1 epoch', of = {part} }}"), expected);
        check(&format!("noise = {{ std = 0.1, of = {part} }}"), expected);
        for way in ["min", "max"] {
            check(&format!("{way} = {{ schedulers = [{own}, {part}] }}"), expected);
        }
        check(&format!("sequential = {{ milestones = ['50%'], schedulers = [{own}, {part}] }}"), expected);
        check(&format!("chained = {{ schedulers = [{part}, {base}] }}"), expected);
        check(&format!("chained = {{ schedulers = [{own}, {part}] }}"), false);
        check(&format!("chained = {{ schedulers = [{part}, {own}] }}"), false);
    }
}
