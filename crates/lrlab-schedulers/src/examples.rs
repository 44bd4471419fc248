//! Examples of schedules.

/// A description and an example of each schedule but `lambda`, in the order of [`ScheduleSpec`](crate::ScheduleSpec).
pub const EXAMPLES: &[(&str, &str)] = &[
    ("the base rate throughout", "static = {}"),
    ("a factor at first, then the base rate", "constant = { factor = 0.3, total_iters = '20%' }"),
    ("a cut at regular intervals", "step = { step_size = '25%', gamma = 0.5 }"),
    ("a cut at each milestone", "multi_step = { milestones = ['50%', '75%'], gamma = 0.3 }"),
    ("a line between two factors", "linear = { start_factor = 0.2, end_factor = 1.0, total_iters = '50%' }"),
    ("a factor per epoch", "exponential = { gamma = 0.8 }"),
    ("a power of the remaining time", "polynomial = { power = 2.0 }"),
    ("half a cosine", "cosine = {}"),
    ("half a cosine, repeated", "cosine_warm_restarts = { t_0 = '14%', t_mult = 2 }"),
    ("up and down between two rates", "cyclic = { step_size_up = '12.5%' }"),
    ("up once, then far down", "one_cycle = {}"),
    ("the inverse square root of time", "inverse_sqrt = { timescale = '10%' }"),
    ("the inverse of time", "inverse_time = { decay_steps = '20%' }"),
    ("a power of the tokens seen", "power = { batch_size = 1024, batch_tokens = 4e7 }"),
    ("the schedule of the original Transformer", "noam = { d_model = 512, warmup = '10%' }"),
    ("stable, then down", "wsd = { cooldown = '30%' }"),
    ("slow at first, fast at the end", "rex = {}"),
    ("a line to zero", "linear_to_zero = {}"),
    ("a hyperbolic tangent", "tanh = {}"),
    (
        "lines from knot to knot",
        "piecewise_linear = { knots = [{ at = '0%', factor = 0.1 }, { at = '30%', factor = 1 }, { at = '100%', factor = 0 }] }",
    ),
    ("a warm-up before any schedule", "warmup = { over = '15%', then = { cosine = {} } }"),
    (
        "one after the other",
        "sequential = { schedulers = [{ static = {} }, { cosine = {} }], milestones = ['50%'] }",
    ),
    (
        "each applied to the rate of the previous one",
        "chained = { schedulers = [{ cosine = {} }, { step = { step_size = '50%', gamma = 0.5 } }] }",
    ),
    ("multiplied by a number", "scale = { by = 0.5, of = { cosine = {} } }"),
    ("within bounds", "clamp = { min = 0.02, max = 0.08, of = { cosine = {} } }"),
    ("delayed", "delay = { by = '40%', of = { cosine = {} } }"),
    ("repeated", "repeat = { period = '25%', decay = 0.8, of = { linear_to_zero = {} } }"),
    ("constant within each step", "staircase = { step = '10%', of = { cosine = {} } }"),
    (
        "the lowest of several",
        "min = { schedulers = [{ scale = { by = 0.6, of = { static = {} } } }, { cosine = {} }] }",
    ),
    (
        "the highest of several",
        "max = { schedulers = [{ scale = { by = 0.4, of = { static = {} } } }, { cosine = {} }] }",
    ),
    (
        "several, added",
        "sum = { schedulers = [{ scale = { by = 0.7, of = { linear_to_zero = {} } } }, { scale = { by = 0.3, of = { cosine = { num_cycles = 3.5 } } } }] }",
    ),
    ("above a share of the base rate", "floor = { at = 0.2, of = { cosine = {} } }"),
    ("with seeded noise", "noise = { std = 0.1, of = { cosine = {} } }"),
    (
        "then the rate of weight averaging",
        "swa = { swa_lr = 0.05, start = '60%', anneal = '20%', of = { cosine = {} } }",
    ),
];
