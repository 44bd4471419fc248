//! Warnings: schedules whose lengths do not fit the run, and controllers that cannot act.

use std::fmt;

use crate::{
    AutoLrs, ControllerSpec, CosineWarmRestartsSpec, Error, Horizon, PatienceRule, ScheduleSpec, Scripted,
    Span, SwaSpec, WarmupClock,
};

/// A probable mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The keys.
    pub path: String,
    /// The consequence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Finds lengths that do not fit the run, an `eta_min` above the base rate, updates at rate 0, and patience that cannot run
/// out. Controllers are assumed to observe once per epoch.
///
/// ```
/// use lrlab_schedulers::{Horizon, ScheduleSpec, lint};
/// let run = Horizon { updates: 200, updates_per_epoch: 10 };
/// let spec = ScheduleSpec::parse("cosine = { t_max = '200 epochs' }")?;
/// assert_eq!(
///     lint(&spec, 0.1, &run, &[])?[0].to_string(),
///     "cosine.t_max: the end of \"200 epochs\" is never reached: the run covers 10% of it",
/// );
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error of [`ScheduleSpec::build`] or [`ControllerSpec::check`].
pub fn lint(
    spec: &ScheduleSpec,
    base: f64,
    run: &Horizon,
    controllers: &[ControllerSpec],
) -> Result<Vec<Finding>, Error> {
    let schedule = spec.build(run)?;
    controllers.iter().try_for_each(ControllerSpec::check)?;
    let mut findings = Findings { base, found: Vec::new() };
    findings.schedule(spec, spec.name(), run);
    let stride = stride(run);
    let zero: Vec<u64> = (0..run.updates)
        .step_by(stride)
        .filter(|&update| base > 0.0 && schedule.lr(base, run.at(update)) == 0.0)
        .collect();
    if let (Some(first), Some(last)) = (zero.first(), zero.last()) {
        let share = percent(zero.len() as f64 * stride as f64 / run.updates as f64);
        let message =
            format!("the rate is 0 for {share} of the run, first at update {first}, last at {last}");
        findings.add(spec.name(), message);
    }
    for controller in controllers {
        findings.controller(controller, run);
    }
    Ok(findings.found)
}

/// Returns the distance of the updates to check: every update of a short run, 10,000 to 20,000 of a long one.
fn stride(run: &Horizon) -> usize {
    usize::try_from((run.updates / 10_000).max(1)).unwrap_or(usize::MAX)
}

struct Findings {
    base: f64,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: String) {
        self.found.push(Finding { path: path.into(), message });
    }

    /// Warns of a descent that the run does not finish.
    fn descent(&mut self, path: &str, field: &str, span: Span, run: &Horizon) {
        let (length, updates) = (span.resolve(run), run.updates as f64);
        if length > updates {
            let share = percent(updates / length);
            let message = format!("the end of \"{span}\" is never reached: the run covers {share} of it");
            self.add(format!("{path}.{field}"), message);
        }
    }

    /// Warns of an `eta_min` above the base rate.
    fn minimum(&mut self, path: &str, eta_min: f64) {
        let base = self.base;
        if eta_min > base {
            self.add(
                format!("{path}.eta_min"),
                format!("{eta_min} lies above the base rate {base}: the rate rises"),
            );
        }
    }

    fn descent_to(&mut self, path: &str, field: &str, (length, eta_min): (Span, f64), run: &Horizon) {
        self.descent(path, field, length, run);
        self.minimum(path, eta_min);
    }

    /// Warns of a time after the end of the run.
    fn moment(&mut self, path: String, span: Span, run: &Horizon, what: &str) {
        if span.resolve(run) >= run.updates as f64 {
            self.add(path, format!("\"{span}\" is not within the run of {} updates: {what}", run.updates));
        }
    }

    fn schedule(&mut self, spec: &ScheduleSpec, path: &str, run: &Horizon) {
        let field = |name: &str| format!("{path}.{name}");
        match spec {
            ScheduleSpec::Step(s) => {
                self.moment(field("step_size"), s.step_size, run, "the rate never steps");
            }
            ScheduleSpec::MultiStep(s) => {
                for (i, &span) in s.milestones.iter().enumerate() {
                    self.moment(format!("{path}.milestones.{i}"), span, run, "it is never reached");
                }
            }
            ScheduleSpec::Constant(s) => {
                self.moment(field("total_iters"), s.total_iters, run, "the base rate is never reached");
            }
            ScheduleSpec::Linear(s) => self.descent(path, "total_iters", s.total_iters, run),
            ScheduleSpec::Polynomial(s) => {
                self.descent_to(path, "total_iters", (s.total_iters, s.eta_min), run);
            }
            ScheduleSpec::Cosine(s) => self.descent_to(path, "t_max", (s.t_max, s.eta_min), run),
            ScheduleSpec::Rex(s) => self.descent_to(path, "t_max", (s.t_max, s.eta_min), run),
            ScheduleSpec::Tanh(s) => self.descent_to(path, "t_max", (s.t_max, s.eta_min), run),
            ScheduleSpec::Wsd(s) => self.descent_to(path, "cooldown", (s.cooldown, s.eta_min), run),
            ScheduleSpec::LinearToZero(s) => self.descent(path, "t_max", s.t_max, run),
            ScheduleSpec::OneCycle(s) => self.descent(path, "total_steps", s.total_steps, run),
            ScheduleSpec::Cyclic(s) => {
                self.moment(field("step_size_up"), s.step_size_up, run, "no peak is reached");
            }
            ScheduleSpec::InverseSqrt(s) => {
                self.moment(field("timescale"), s.timescale, run, "the rate never falls");
            }
            ScheduleSpec::Noam(s) => self.moment(field("warmup"), s.warmup, run, "the rate never falls"),
            ScheduleSpec::CosineWarmRestarts(s) => self.restarts(s, path, run),
            ScheduleSpec::Warmup(s) => {
                self.moment(field("over"), s.over, run, "the warm-up never ends");
                let rest = match s.clock {
                    WarmupClock::After => run.after(s.over.resolve_updates(run)),
                    WarmupClock::Shared | WarmupClock::Hidden | WarmupClock::Aimed => *run,
                };
                self.child(&s.then, &field("then"), &rest);
            }
            ScheduleSpec::Sequential(s) => {
                let starts: Vec<u64> = s.milestones.iter().map(|span| span.resolve_updates(run)).collect();
                for (i, &span) in s.milestones.iter().enumerate() {
                    self.moment(format!("{path}.milestones.{i}"), span, run, "it is never reached");
                }
                for (i, child) in s.schedulers.iter().enumerate() {
                    let start = if i == 0 { 0 } else { starts[i - 1] };
                    let end = starts.get(i).copied().unwrap_or(run.updates).min(run.updates);
                    if start < end {
                        let part = Horizon { updates: end - start, ..*run };
                        self.child(child, &format!("{path}.schedulers.{i}"), &part);
                    }
                }
            }
            ScheduleSpec::Chained(crate::ChainedSpec { schedulers })
            | ScheduleSpec::Min(crate::MinSpec { schedulers })
            | ScheduleSpec::Max(crate::MaxSpec { schedulers })
            | ScheduleSpec::Sum(crate::SumSpec { schedulers }) => {
                for (i, child) in schedulers.iter().enumerate() {
                    self.child(child, &format!("{path}.schedulers.{i}"), run);
                }
            }
            ScheduleSpec::Scale(s) => self.child(&s.of, &field("of"), run),
            ScheduleSpec::Floor(s) => self.child(&s.of, &field("of"), run),
            ScheduleSpec::Clamp(s) => {
                self.lower_bound(path, s.min, &s.of, run);
                self.child(&s.of, &field("of"), run);
            }
            ScheduleSpec::Staircase(s) => {
                self.moment(field("step"), s.step, run, "the rate never changes");
                self.child(&s.of, &field("of"), run);
            }
            ScheduleSpec::Noise(s) => {
                self.moment(field("start"), s.start, run, "the noise never starts");
                self.child(&s.of, &field("of"), run);
            }
            ScheduleSpec::Swa(s) => {
                self.swa(s, path, run);
                self.child(&s.of, &field("of"), run);
            }
            ScheduleSpec::Delay(s) => {
                self.moment(field("by"), s.by, run, "it never starts");
                self.child(&s.of, &field("of"), &run.after(s.by.resolve_updates(run)));
            }
            ScheduleSpec::Repeat(s) => {
                self.moment(field("period"), s.period, run, "it is never repeated");
                let updates = s.period.resolve_updates(run).max(1);
                self.child(&s.of, &field("of"), &Horizon { updates, ..*run });
            }
            ScheduleSpec::InverseTime(s) if s.staircase => {
                self.moment(field("decay_steps"), s.decay_steps, run, "the rate never steps");
            }
            ScheduleSpec::Static(_)
            | ScheduleSpec::Exponential(_)
            | ScheduleSpec::PiecewiseLinear(_)
            | ScheduleSpec::InverseTime(_)
            | ScheduleSpec::Power(_)
            | ScheduleSpec::Lambda(_) => {}
        }
    }

    /// Warns of an annealing that does not start or end within the run.
    fn swa(&mut self, s: &SwaSpec, path: &str, run: &Horizon) {
        self.moment(format!("{path}.start"), s.start, run, "the averaging never starts");
        let (start, anneal) = (s.start.resolve_updates(run), s.anneal.resolve(run));
        let left = run.updates.saturating_sub(start) as f64;
        if left > 0.0 && anneal > left {
            let (span, share) = (s.anneal, percent(left / anneal));
            let message = format!("the end of \"{span}\" is never reached: the run covers {share} of it");
            self.add(format!("{path}.anneal"), message);
        }
    }

    /// Warns of a run that ends within a cycle.
    fn restarts(&mut self, s: &CosineWarmRestartsSpec, path: &str, run: &Horizon) {
        self.minimum(path, s.eta_min);
        self.moment(format!("{path}.t_0"), s.t_0, run, "it never restarts");
        let (cycle, share) = s.position(run.updates, run);
        if share > 0.0 && cycle > 0.0 && s.limit.is_none_or(|limit| cycle < f64::from(limit)) {
            let message = format!("the run ends {} into cycle {}", percent(share), cycle + 1.0);
            self.add(path, message);
        }
    }

    /// Warns of a lower bound that the rate never reaches.
    fn lower_bound(&mut self, path: &str, bound: f64, of: &ScheduleSpec, run: &Horizon) {
        let Ok(schedule) = of.build(run) else { return };
        let rates =
            (0..run.updates).step_by(stride(run)).map(|update| schedule.lr(self.base, run.at(update)));
        let lowest = rates.fold(f64::INFINITY, f64::min);
        if bound > 0.0 && lowest > bound {
            let message = format!("{bound} is never reached: the rate does not fall below {lowest}");
            self.add(format!("{path}.min"), message);
        }
    }

    fn child(&mut self, spec: &ScheduleSpec, path: &str, run: &Horizon) {
        self.schedule(spec, &format!("{path}.{}", spec.name()), run);
    }

    fn controller(&mut self, spec: &ControllerSpec, run: &Horizon) {
        let observations = run.updates.div_ceil(run.updates_per_epoch.max(1));
        // The number of observations before the first decision. No update follows a decision at the last observation.
        let mut between_looks = 1;
        let (patience, needed) = match spec {
            ControllerSpec::Plateau(c) => {
                let looks = match c.rule {
                    PatienceRule::Torch => c.patience.saturating_add(2),
                    PatienceRule::Keras => c.patience.max(1).saturating_add(1),
                };
                between_looks = u64::from(c.accumulate);
                (c.patience, looks.saturating_mul(between_looks).saturating_add(c.start_after))
            }
            ControllerSpec::NoiseAwarePlateau(c) => (c.patience, c.patience.saturating_add(2)),
            ControllerSpec::Greedy(c) => (c.patience, c.patience.saturating_add(1)),
            ControllerSpec::NewBob(c) => (c.patience, c.patience.saturating_add(2)),
            ControllerSpec::BoldDriver(_) => return,
            ControllerSpec::AutoLrs(c) => return self.search(c, run, observations),
            ControllerSpec::Scripted(c) => return self.script(c, observations),
        };
        if needed >= observations {
            let message = format!(
                "{patience} cannot run out: the first decision needs {needed} observations, the run has {observations}, \
                 and no update follows the last one"
            );
            self.add(format!("{}.patience", spec.name()), message);
            return;
        }
        let (factor, cooldown, min_gain) = match spec {
            ControllerSpec::Plateau(c) => (c.factor, c.cooldown.saturating_mul(between_looks), c.min_gain),
            ControllerSpec::NoiseAwarePlateau(c) => (c.factor, c.cooldown, c.min_gain),
            ControllerSpec::NewBob(c) => (c.factor, 0, c.min_gain),
            _ => return,
        };
        // For a metric that never improves, the patience must run out again before each further cut.
        let first = match spec {
            ControllerSpec::Plateau(c) => c.start_after.saturating_add(between_looks),
            _ => 1,
        };
        let apart = (needed - first).saturating_add(cooldown).max(1);
        let cuts = (observations - 1 - needed) / apart + 1;
        let lowest = libm::pow(factor, cuts as f64);
        if min_gain > 0.0 && lowest > min_gain {
            let message = format!(
                "{min_gain} is never reached: the run has time for {cuts} cuts, which lower the gain to {lowest}"
            );
            self.add(format!("{}.min_gain", spec.name()), message);
        }
    }

    /// Warns of a script that is longer than the run.
    fn script(&mut self, scripted: &Scripted, observations: u64) {
        let late = scripted.gains.iter().position(|(observation, _)| *observation >= observations);
        if let Some(i) = late {
            let message = format!(
                "observation {} has no effect: the run has {observations} observations, and no update follows the last one",
                scripted.gains[i].0
            );
            self.add(format!("scripted.gains[{i}]"), message);
        }
    }

    /// Warns of searches that never begin, or that make more updates than lie between them.
    fn search(&mut self, auto: &AutoLrs, run: &Horizon, observations: u64) {
        if auto.every >= observations {
            let message = format!("{} is never reached: the run has {observations} observations", auto.every);
            self.add("auto_lrs.every", message);
        }
        let cost = u64::from(auto.trials).saturating_mul(auto.updates);
        let between = auto.every.saturating_mul(run.updates_per_epoch);
        if cost > between {
            let message =
                format!("a search makes {cost} updates, more than the {between} between two searches");
            self.add("auto_lrs.updates", message);
        }
    }
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 1000.0).round() / 10.0)
}
