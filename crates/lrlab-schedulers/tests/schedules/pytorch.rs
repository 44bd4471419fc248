//! Closed forms against the recursions of PyTorch.

use lrlab_schedulers::{Compat, Horizon, ScheduleSpec, torch, trace};
use proptest::prelude::*;

use crate::common::parse;

/// Functions that format a length, and a schedule with such lengths.
type Length<'a> = &'a dyn Fn(u64) -> String;
type Text<'a> = &'a dyn Fn(Length<'_>) -> String;

proptest! {
    /// The difference is a rounding error.
    #[test]
    fn closed_forms_equal_the_recursive_forms_of_pytorch(
        n in 1_u64..60, m in 1_u64..20, mult in 1_u64..4, gamma in 0.3..1.0, x in 0.01..1.0, y in 0.0..1.0,
        power in 0.2..3.0, eta_min in prop::sample::select(vec![0.0, 1e-5, 0.01]),
    ) {
        let (u, t) = (|n| format!("'{n} updates'"), |n: u64| n.to_string());
        let pairs: [(Text<'_>, u64); 9] = [
            (&|l| format!("constant = {{ factor = {x}, total_iters = {} }}", l(n)), 100),
            (&|l| format!("step = {{ step_size = {}, gamma = {gamma} }}", l(m)), 100),
            (&|l| format!("multi_step = {{ milestones = [{}, {}], gamma = {gamma} }}", l(m), l(m + n)), 100),
            (&|l| format!("linear = {{ start_factor = {x}, end_factor = {y}, total_iters = {} }}", l(n)), 100),
            (&|_| format!("exponential = {{ gamma = {gamma} }}"), 100),
            (&|l| format!("polynomial = {{ total_iters = {}, power = {power} }}", l(n)), 100),
            (&|l| format!("cosine = {{ t_max = {}, eta_min = {eta_min} }}", l(n)), n + 1),
            (&|l| format!("cosine_warm_restarts = {{ t_0 = {}, t_mult = {mult}, eta_min = {eta_min} }}", l(m)), 100),
            (&|l| format!("cyclic = {{ base_lr = 0.01, max_lr = {}, step_size_up = {}, step_size_down = {}, \
                mode = 'triangular2' }}", x + 0.01, l(m), l(n)), 100),
        ];
        let run = Horizon { updates: 100, updates_per_epoch: 1 };
        for (text, updates) in pairs {
            let schedule = parse(&text(&u)).build(&run).unwrap();
            let rates = torch::trace(&torch::Spec::parse(&text(&t)).unwrap(), 0.1, updates).unwrap();
            for (update, rate) in (0..).zip(rates) {
                let lr = schedule.lr(0.1, run.at(update));
                prop_assert!((lr - rate).abs() <= 1e-12 * 0.1, "{} at {}: {} and {}", text(&u), update, lr, rate);
            }
        }
    }
}

/// Without absolute rates, `one_cycle` and `cyclic` equal `OneCycleLR` and `CyclicLR` with the base rate as peak. The phases of
/// `OneCycleLR` end at `pct_start · total_steps − 1` and `total_steps − 1`.
#[test]
fn one_cycle_and_cyclic_peak_at_the_base_rate() {
    let run = Horizon { updates: 50, updates_per_epoch: 10 };
    let relative = |text: &str| trace(text, 0.3, &run, Compat::Lrlab).unwrap();
    let torch = |text: &str| trace(text, 0.7, &run, Compat::Torch).unwrap();
    let same = |ours: &[f64], torch: &[f64]| {
        assert_eq!(ours.len(), torch.len());
        for (update, (ours, torch)) in ours.iter().zip(torch).enumerate() {
            assert!(
                (ours - torch).abs() <= 1e-15 + 1e-12 * torch,
                "update {update}: {ours}, PyTorch {torch}"
            );
        }
    };
    let share = (0.3 * 50.0 - 1.0) / 49.0;
    for shape in ["cos", "linear"] {
        let ours = relative(&format!(
            "one_cycle = {{ total_steps = '49 updates', pct_start = {share}, anneal_strategy = '{shape}' }}"
        ));
        same(
            &ours,
            &torch(&format!("one_cycle = {{ max_lr = 0.3, total_steps = 50, anneal_strategy = '{shape}' }}")),
        );
        assert_eq!(ours[14], 0.3);
    }
    for mode in ["triangular", "triangular2", "exp_range"] {
        let more = format!("mode = '{mode}', gamma = 0.97");
        let ours = relative(&format!("cyclic = {{ step_size_up = '7 updates', {more} }}"));
        same(
            &ours,
            &torch(&format!(
                "cyclic = {{ base_lr = 0.03, max_lr = 0.3, step_size_up = 7, cycle_momentum = false, {more} }}"
            )),
        );
    }
    // With an absolute peak, the base rate has no effect. Both forms are equal if the peak is the base rate.
    for (own, without) in [
        ("one_cycle = { max_lr = 0.3 }", "one_cycle"),
        (
            "cyclic = { base_lr = 0.15, max_lr = 0.3, step_size_up = '9%' }",
            "cyclic = { base_factor = 0.5, step_size_up = '9%' }",
        ),
    ] {
        assert_eq!(trace(own, 0.7, &run, Compat::Lrlab).unwrap(), relative(without));
        assert!(!ScheduleSpec::parse(own).unwrap().reads_base());
        assert!(ScheduleSpec::parse(without).unwrap().reads_base());
    }
}

/// The reference is the recursion of `torch.optim.swa_utils.SWALR` after a `LambdaLR` that halves the rate in each epoch. The
/// transition starts at the rate of `start`.
#[test]
fn swa_equals_swalr_of_pytorch() {
    let run = Horizon { updates: 12, updates_per_epoch: 1 };
    for (strategy, alpha) in
        [("cos", (|t| (1.0 - (std::f64::consts::PI * t).cos()) / 2.0) as fn(f64) -> f64), ("linear", |t| t)]
    {
        for anneal in [0_u32, 1, 4, 20] {
            let text = format!(
                "swa = {{ swa_lr = 0.05, start = '5 epochs', anneal = '{anneal} epochs', anneal_strategy = '{strategy}', \
                 of = {{ exponential = {{ gamma = 0.5 }} }} }}"
            );
            let ours = trace(&text, 0.8, &run, Compat::Lrlab).unwrap();
            let share = |step: f64| alpha((step / f64::from(anneal.max(1))).clamp(0.0, 1.0));
            let mut lr = 0.8;
            for (epoch, ours) in ours.iter().enumerate() {
                if epoch > 0 && epoch <= 5 {
                    lr *= 0.5;
                } else if epoch > 5 {
                    // `SWALR.get_lr` at step `epoch − 5`.
                    let step = (epoch - 5) as f64;
                    let before = share(step - 1.0);
                    let initial = if before == 1.0 { 0.05 } else { (lr - before * 0.05) / (1.0 - before) };
                    let now = share(step);
                    lr = 0.05 * now + initial * (1.0 - now);
                }
                // Without a transition, creating `SWALR` changes the rate.
                let torch = if anneal == 0 && epoch == 5 { 0.05 } else { lr };
                assert!((ours - torch).abs() < 1e-12, "{text}, epoch {epoch}: {ours}, PyTorch {torch}");
            }
        }
    }
}
