//! An example of each specification, and random specifications.

use lrlab_schedulers::{Horizon, ScheduleSpec, Span};
use proptest::prelude::*;

/// Every schedule, mostly with values other than the defaults.
pub(crate) const EVERY: &[&str] = &[
    "static",
    "constant = { factor = 0.5, total_iters = '3 epochs' }",
    "step = { step_size = '30%', gamma = 0.1 }",
    "multi_step = { milestones = ['2 epochs', '50%', '50%', '90 updates'], gamma = 0.3 }",
    "linear = { start_factor = 0.1, end_factor = 2, total_iters = '40%' }",
    "exponential = { gamma = 0.9 }",
    "exponential = { decay_rate = 0.1, every = 'epoch' }",
    "polynomial = { power = 0.9, eta_min = 1e-4 }",
    "cosine = { t_max = '80%', eta_min = 1e-4, every = 'epoch' }",
    "cosine_warm_restarts = { t_0 = '1.5 epochs', t_mult = 1.7, eta_min = 1e-5, decay = 0.8, limit = 3 }",
    "cyclic = { base_lr = 0.01, max_lr = 0.3, step_size_up = '7 updates', step_size_down = '1 epoch', mode = 'triangular2' }",
    "cyclic = { base_lr = 0.01, max_lr = 0.3, step_size_up = '7 updates', mode = 'exp_range', gamma = 0.99 }",
    "one_cycle = { max_lr = 0.3 }",
    "one_cycle = { pct_start = 0.2 }",
    "cyclic = { step_size_up = '7 updates' }",
    "cyclic = { base_factor = 0.5, step_size_up = '7 updates', mode = 'triangular2' }",
    "one_cycle = { max_lr = 0.3, total_steps = '70%', pct_start = 0.2, anneal_strategy = 'linear', three_phase = true }",
    "inverse_sqrt = { timescale = '10 updates' }",
    "cosine = { exponent = 1.5, num_cycles = 1.5, k_decay = 0.7 }",
    "cosine_warm_restarts = { t_0 = '1.5 epochs', decay = 1.3, k_decay = 2 }",
    "polynomial = { power = 2, k_decay = 1.5, restarts = { t_mult = 2, decay = 0.5, limit = 3 }, total_iters = '2 epochs' }",
    "polynomial = { total_iters = '2.5 epochs', cycle = true, eta_min = 1e-3 }",
    "tanh = { t_max = '3 epochs', restarts = {} }",
    "wsd = { shape = 'exponential', eta_min = 1e-4 }",
    "wsd = { shape = 'mirror_cosine' }",
    "inverse_sqrt = { timescale = '10 updates', shift = '1 epoch' }",
    "inverse_time = { decay_steps = '7 updates', decay_rate = 0.5, staircase = true }",
    "power = { batch_size = 32, batch_tokens = 4e4 }",
    "multi_step = { milestones = ['2 epochs', '50%'], gammas = [0.5, 2] }",
    "piecewise_linear = { knots = [{ at = '10%', factor = 1 }, { at = '50%', factor = 0.5 }, { at = '50%', factor = 2 }], interpolate = 'cosine' }",
    "warmup = { over = '15 updates', start_factor = 3, shape = 'one_minus_sqrt', then = { cosine = {} } }",
    "warmup = { over = '15 updates', shape = 'cosine', then = { cosine = {} } }",
    "noam = { d_model = 64, warmup = '10%' }",
    "wsd",
    "wsd = { cooldown = '30%', shape = 'cosine', eta_min = 1e-4 }",
    "rex",
    "linear_to_zero = { t_max = '90%' }",
    "tanh",
    "piecewise_linear = { knots = [{ at = '0%', factor = 0.1 }, { at = '30%', factor = 1 }, { at = '100%', factor = 0 }] }",
    "warmup = { over = '15 updates', then = { cosine = { eta_min = 1e-3 } } }",
    "warmup = { over = '15 updates', start_factor = 0, clock = 'shared', then = { cosine = { eta_min = 1e-3 } } }",
    "sequential = { milestones = ['20%', '5 epochs'], schedulers = [{ static = {} }, { sequential = { milestones = ['50%'], schedulers = [{ static = {} }, { rex = {} }] } }, { cosine = {} }] }",
    "chained = { schedulers = [{ cosine = {} }, { constant = { total_iters = '1 epoch' } }] }",
    "scale = { by = 0.5, of = { cosine = {} } }",
    "clamp = { min = 0.01, max = 0.05, of = { cosine = {} } }",
    "delay = { by = '2 epochs', of = { linear_to_zero = {} } }",
    "repeat = { period = '3 epochs', decay = 0.5, limit = 2, of = { rex = {} } }",
    "warmup = { over = '1.5 epochs', clock = 'hidden', then = { cosine_warm_restarts = { t_0 = '12 updates' } } }",
    "staircase = { step = '0.7 epochs', of = { cosine_warm_restarts = { t_0 = '12 updates' } } }",
    "min = { schedulers = [{ cosine = {} }, { linear_to_zero = {} }] }",
    "max = { schedulers = [{ cosine = {} }, { static = {} }, { rex = {} }] }",
    "exponential = { gamma = 0.8, per = '7 updates' }",
    "inverse_time = { decay_steps = '7 updates', power = 0.5 }",
    "wsd = { shape = 'one_minus_power', power = 1.5 }",
    "wsd = { shape = 'exponential_to_zero', ratio = 0.1, eta_min = 1e-4 }",
    "cosine_warm_restarts = { t_0 = '4 epochs', t_mult = 0.5, limit = 3 }",
    "tanh = { t_max = '5 epochs', restarts = { t_mult = 0.4, limit = 4 } }",
    "warmup = { over = '1.5 epochs', clock = 'aimed', then = { rex = {} } }",
    "sum = { schedulers = [{ cosine = {} }, { rex = {} }] }",
    "floor = { at = 0.1, of = { cosine_warm_restarts = { t_0 = '12 updates', decay = 0.5 } } }",
    "noise = { limit = 0.3, start = '20%', end = '4 epochs', distribution = 'uniform', every = 'epoch', of = { cosine = {} } }",
    "swa = { swa_lr = 0.05, start = '30%', anneal = '1 epoch', of = { cosine = {} } }",
    "noise = { std = 0.3, of = { cosine = {} } }",
];

pub(crate) fn parse(text: &str) -> ScheduleSpec {
    ScheduleSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Numbers at and beyond the bounds.
pub(crate) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1.0,
        2 => 0.0..1e3,
        1 => prop::sample::select(vec![
            0.0, -0.0, 1.0, 5e-324, 1e-300, 1e-30, 1.000_000_1, 1e15, 1e29, 1e30, 1.1e30, f64::MAX, f64::INFINITY,
            f64::NAN, -1.0, -1e30,
        ]),
    ]
}

pub(crate) fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        4 => (1_u64..100).prop_map(Span::Updates),
        2 => number().prop_map(Span::Epochs),
        2 => number().prop_map(Span::Fraction),
        1 => prop::sample::select(vec![0, 1, u64::MAX]).prop_map(Span::Updates),
    ]
}

pub(crate) fn run() -> impl Strategy<Value = Horizon> {
    let size = || prop_oneof![4 => 1_u64..200, 1 => prop::sample::select(vec![0, 1, 1 << 53, u64::MAX])];
    (size(), size()).prop_map(|(updates, updates_per_epoch)| Horizon { updates, updates_per_epoch })
}

/// Valid and invalid specifications with up to three levels.
pub(crate) fn spec() -> impl Strategy<Value = ScheduleSpec> {
    leaf().prop_recursive(3, 12, 3, |inner| compound(inner.boxed()).boxed())
}

#[expect(clippy::too_many_lines, reason = "a few lines for each schedule")]
fn leaf() -> impl Strategy<Value = ScheduleSpec> {
    (0_usize..23, span(), span(), prop::array::uniform4(number()), any::<(u32, u8)>()).prop_map(
        |(kind, a, b, [x, y, z, w], (whole, bits))| {
            use lrlab_schedulers::*;
            let every = if bits & 1 == 0 { Every::Update } else { Every::Epoch };
            match kind {
                0 => StaticSpec {}.into(),
                1 => ConstantSpec { factor: x, total_iters: a }.into(),
                2 => StepSpec { step_size: a, gamma: x }.into(),
                3 => MultiStepSpec {
                    milestones: vec![a, b],
                    gamma: x,
                    gammas: if bits & 2 == 0 { vec![y, z] } else { vec![] },
                }
                .into(),
                4 => LinearSpec { start_factor: x, end_factor: y, total_iters: a, every }.into(),
                5 => ExponentialSpec { gamma: Some(x), decay_rate: None, every, per: b }.into(),
                6 => ExponentialSpec { gamma: None, decay_rate: Some(x), every, per: b }.into(),
                7 => {
                    let restarts = (bits & 2 == 0).then_some(Restarts {
                        t_mult: if bits & 32 == 0 { 1.0 + w } else { w },
                        decay: z,
                        limit: (bits & 4 == 0).then_some(whole),
                    });
                    let (cycle, k_decay) = (bits & 8 == 0, if bits & 16 == 0 { w } else { 1.0 });
                    PolynomialSpec { total_iters: a, power: x, eta_min: y, every, k_decay, cycle, restarts }
                        .into()
                }
                8 => {
                    let half = if bits & 2 == 0 { 0.5 } else { z };
                    CosineSpec { t_max: a, eta_min: x, every, exponent: y, num_cycles: half, k_decay: w }
                        .into()
                }
                9 => {
                    let limit = (bits & 2 == 0).then_some(whole);
                    let k_decay = if bits & 4 == 0 { w } else { 1.0 };
                    CosineWarmRestartsSpec {
                        t_0: a,
                        t_mult: if bits & 8 == 0 { 1.0 + x } else { x },
                        eta_min: y,
                        decay: z,
                        limit,
                        every,
                        k_decay,
                    }
                    .into()
                }
                10 => {
                    let mode = [CyclicMode::Triangular, CyclicMode::Triangular2, CyclicMode::ExpRange]
                        [whole as usize % 3];
                    let step_size_down = (bits & 2 == 0).then_some(b);
                    CyclicSpec {
                        base_factor: None,
                        base_lr: Some(x),
                        max_lr: Some(x + y),
                        step_size_up: a,
                        step_size_down,
                        mode,
                        gamma: z,
                    }
                    .into()
                }
                11 => OneCycleSpec {
                    max_lr: (z < 0.5).then_some(x),
                    total_steps: a,
                    pct_start: y,
                    anneal_strategy: if bits & 2 == 0 { Anneal::Cos } else { Anneal::Linear },
                    div_factor: 1.0 + z,
                    final_div_factor: 1.0 + w,
                    three_phase: bits & 4 == 0,
                }
                .into(),
                12 => InverseSqrtSpec { timescale: a, shift: b }.into(),
                13 => NoamSpec { d_model: whole, warmup: a }.into(),
                14 => {
                    use Cooldown::{
                        Cosine, Exponential, ExponentialToZero, Linear, MirrorCosine, OneMinusPower,
                        OneMinusSqrt, OneMinusSquare,
                    };
                    let shapes = [
                        Linear,
                        Cosine,
                        OneMinusSqrt,
                        OneMinusSquare,
                        MirrorCosine,
                        Exponential,
                        ExponentialToZero,
                        OneMinusPower,
                    ];
                    let shape = shapes[whole as usize % 8];
                    let power = (shape == OneMinusPower && bits & 2 == 0).then_some(y);
                    let ratio = (shape == ExponentialToZero && bits & 2 == 0).then_some(y);
                    WsdSpec { cooldown: a, shape, eta_min: x, power, ratio }.into()
                }
                20 => {
                    let power = if bits & 4 == 0 { y } else { 1.0 };
                    InverseTimeSpec { decay_steps: a, decay_rate: x, staircase: bits & 2 == 0, power }.into()
                }
                21 | 22 => PowerSpec { batch_size: x, batch_tokens: y, a: z, b: -w }.into(),
                17 => RexSpec { t_max: a, eta_min: x, every }.into(),
                18 => LinearToZeroSpec { t_max: a, every }.into(),
                15 => {
                    let restarts = (bits & 2 == 0).then(Restarts::default);
                    TanhSpec { t_max: a, lb: x, ub: y, eta_min: z, every, restarts }.into()
                }
                _ => {
                    let knots = vec![Knot { at: a, factor: x }, Knot { at: b, factor: y }];
                    let interpolate =
                        if bits & 2 == 0 { Interpolation::Linear } else { Interpolation::Cosine };
                    PiecewiseLinearSpec { knots, every, interpolate }.into()
                }
            }
        },
    )
}

fn compound(inner: BoxedStrategy<ScheduleSpec>) -> impl Strategy<Value = ScheduleSpec> {
    let parts = (prop::collection::vec(inner.clone(), 1..4), prop::collection::vec(span(), 2));
    (0_usize..14, parts, inner, span(), number(), number(), any::<(u32, bool)>()).prop_map(
        |(kind, (schedulers, mut milestones), of, a, x, y, (whole, flag))| {
            use lrlab_schedulers::*;
            let of = Box::new(of);
            milestones.truncate(schedulers.len() - 1);
            match kind {
                0 => {
                    let clock =
                        [WarmupClock::After, WarmupClock::Shared, WarmupClock::Hidden, WarmupClock::Aimed]
                            [whole as usize % 4];
                    let shape = [WarmupShape::Linear, WarmupShape::Cosine, WarmupShape::OneMinusSqrt]
                        [(whole / 4) as usize % 3];
                    WarmupSpec { over: a, start_factor: x, clock, shape, then: of }.into()
                }
                1 | 2 => SequentialSpec { schedulers, milestones }.into(),
                10 => StaircaseSpec { step: a, of }.into(),
                11 => SwaSpec {
                    swa_lr: x,
                    start: a,
                    anneal: Span::Updates(u64::from(whole % 100)),
                    anneal_strategy: if flag { Anneal::Cos } else { Anneal::Linear },
                    of,
                }
                .into(),
                3 => ChainedSpec { schedulers }.into(),
                4 => ScaleSpec { by: x, of }.into(),
                5 => ClampSpec { min: x, max: flag.then_some(x + y), of }.into(),
                6 => DelaySpec { by: a, of }.into(),
                7 => RepeatSpec { period: a, decay: x, limit: flag.then_some(whole), of }.into(),
                8 => {
                    let distribution = if flag { NoiseKind::Normal } else { NoiseKind::Uniform };
                    let (start, end) = (Span::Updates(u64::from(whole % 10)), (whole & 32 == 0).then_some(a));
                    let (seed, every) = (whole.into(), Every::Update);
                    NoiseSpec { std: x, limit: y, seed, every, start, end, distribution, of }.into()
                }
                12 => SumSpec { schedulers }.into(),
                13 => FloorSpec { at: x, of }.into(),
                _ => {
                    if flag {
                        MinSpec { schedulers }.into()
                    } else {
                        MaxSpec { schedulers }.into()
                    }
                }
            }
        },
    )
}
