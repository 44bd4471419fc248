//! Rates and decisions from schedules and controllers given as text.

use crate::parse::parse;
use crate::{ControllerSpec, Decision, Error, Horizon, Observation, Problem, Schedule, ScheduleSpec, torch};

/// The conventions of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// Those of this crate: lengths with units, closed forms, gains.
    #[default]
    Lrlab,
    /// Those of `PyTorch`, bit for bit: lengths are numbers of steps, and each update is a `scheduler.step()`.
    Torch,
}

/// Returns the rates of a run from update 0.
///
/// [`Compat::Torch`] only uses `run.updates`.
///
/// ```
/// use lrlab_schedulers::{Compat, Horizon, trace};
/// let run = Horizon { updates: 4, updates_per_epoch: 2 };
/// assert_eq!(trace("step = { step_size = '1 epoch', gamma = 0.5 }", 0.1, &run, Compat::Lrlab)?, [
///     0.1, 0.1, 0.05, 0.05
/// ]);
/// assert_eq!(trace("step = { step_size = 1, gamma = 0.5 }", 0.1, &run, Compat::Torch)?, [0.1, 0.05, 0.025, 0.0125]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error if the text is not a schedule, or the schedule is invalid for the run or for `PyTorch`.
pub fn trace(schedule: &str, base: f64, run: &Horizon, compat: Compat) -> Result<Vec<f64>, Error> {
    match compat {
        Compat::Lrlab => {
            let schedule = ScheduleSpec::parse(schedule)?.build(run)?;
            Ok((0..run.updates).map(|update| schedule.lr(base, run.at(update))).collect())
        }
        Compat::Torch => torch::trace(&torch::Spec::parse(schedule)?, base, run.updates),
    }
}

/// Returns the rate after each observation for a controller with a fixed base rate.
///
/// This is an open loop: the metrics do not react to the changed rate. After a decision to stop, the rate does not change.
///
/// ```
/// use lrlab_schedulers::{Compat, Observation, replay};
/// let seen = [0.9, 0.8, 0.8, 0.8].map(|value| Observation { value, stderr: None });
/// let rates = replay("plateau = { factor = 0.5, patience = 1 }", 0.1, &seen, Compat::Torch)?;
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.05]);
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error as [`decisions`] does; with [`Compat::Torch`], if `ReduceLROnPlateau` rejects the parameters.
pub fn replay(controller: &str, lr: f64, seen: &[Observation], compat: Compat) -> Result<Vec<f64>, Error> {
    match compat {
        Compat::Lrlab => {
            let mut decided = decisions(controller, seen)?.into_iter().peekable();
            let mut gain = 1.0;
            let mut after = |observation: usize| {
                while let Some((_, decision)) = decided.next_if(|(at, _)| *at <= observation) {
                    if let Decision::Gain { gain: new, .. } | Decision::Rewind { gain: new, .. } = decision {
                        gain = new;
                    }
                }
                lr * gain
            };
            Ok((1..=seen.len()).map(&mut after).collect())
        }
        Compat::Torch => {
            let TorchController::Plateau(plateau) = parse(controller)?;
            let mut state = plateau.init(lr)?;
            let mut after = |observation: &Observation| {
                plateau.step(&mut state, observation.value);
                state.lr
            };
            Ok(seen.iter().map(&mut after).collect())
        }
    }
}

/// Returns the rate of every update with a schedule and a controller: the rate of the schedule times the gain.
///
/// The controller receives one observation at the end of each epoch. If there are fewer observations than epochs, the last
/// gain holds. This is an open loop, as in [`replay`]. A decision to stop ends the rates.
///
/// ```
/// use lrlab_schedulers::{Horizon, Observation, replay_scheduled};
/// let run = Horizon { updates: 8, updates_per_epoch: 2 };
/// let seen = [0.9, 0.9, 0.9].map(|value| Observation { value, stderr: None });
/// let rates = replay_scheduled("linear_to_zero", "plateau = { factor = 0.5, patience = 0 }", 0.8, &run, &seen)?;
/// let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
/// assert!(rates.iter().zip([0.8, 0.7, 0.6, 0.5, 0.2, 0.15, 0.05, 0.025]).all(|(a, b)| close(*a, b)));
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error as [`decisions`] does, or if the text is not a schedule or the schedule is invalid for the run.
pub fn replay_scheduled(
    schedule: &str,
    controller: &str,
    base: f64,
    run: &Horizon,
    seen: &[Observation],
) -> Result<Vec<f64>, Error> {
    replay_under(&*ScheduleSpec::parse(schedule)?.build(run)?, controller, base, run, seen)
}

/// As [`replay_scheduled`], for a schedule that is built.
///
/// # Errors
/// As [`decisions`].
pub fn replay_under(
    schedule: &dyn Schedule,
    controller: &str,
    base: f64,
    run: &Horizon,
    seen: &[Observation],
) -> Result<Vec<f64>, Error> {
    let mut decided = decisions(controller, seen)?.into_iter().peekable();
    let (mut gain, mut rates) = (1.0, Vec::new());
    for update in 0..run.updates {
        let observed = update / run.updates_per_epoch.max(1);
        while let Some((_, decision)) = decided.next_if(|(at, _)| *at as u64 <= observed) {
            match decision {
                Decision::Gain { gain: new, .. } | Decision::Rewind { gain: new, .. } => gain = new,
                Decision::Stop { .. } => return Ok(rates),
                Decision::Keep | Decision::Try { .. } => {}
            }
        }
        rates.push(schedule.lr(base, run.at(update)) * gain);
    }
    Ok(rates)
}

/// Returns the decisions of a controller on these observations, each with the index of its observation, counted from 1.
/// A decision to stop is the last one. This is an open loop, as in [`replay`].
///
/// ```
/// use lrlab_schedulers::{Decision, Observation, decisions};
/// let seen = [0.9, 0.8, 0.8, 0.8].map(|value| Observation { value, stderr: None });
/// let (after, decision) = &decisions("plateau = { factor = 0.5, patience = 1 }", &seen)?[0];
/// let reason = "cut × 0.5: 2 bad > patience 1, best 0.8 at observation 2".to_owned();
/// assert_eq!((*after, decision), (4, &Decision::Gain { gain: 0.5, reason }));
/// # Ok::<(), lrlab_schedulers::Error>(())
/// ```
///
/// # Errors
/// Returns an error if the text is not a controller, a value is outside its range, or the controller decides by trials
/// ([`Problem::NeedsTrials`]).
pub fn decisions(controller: &str, seen: &[Observation]) -> Result<Vec<(usize, Decision)>, Error> {
    let spec = ControllerSpec::parse(controller)?;
    let mut controller = spec.build()?;
    let mut decisions = Vec::new();
    for (i, observation) in seen.iter().enumerate() {
        match controller.observe(observation) {
            Decision::Keep => continue,
            Decision::Try { .. } => return Err(Error::new(spec.name(), Problem::NeedsTrials)),
            decision => decisions.push((i + 1, decision)),
        }
        if let Some((_, Decision::Stop { .. })) = decisions.last() {
            break;
        }
    }
    Ok(decisions)
}

#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
enum TorchController {
    Plateau(torch::Plateau),
}

impl ScheduleSpec {
    /// Parses `cosine = { t_max = "50 epochs" }`; a name without parameters has the defaults. Ranges are not checked.
    ///
    /// # Errors
    /// Returns an error with line and column if the text is not a schedule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text)
    }
}

impl ControllerSpec {
    /// Parses `plateau = { patience = 2 }`; a name without parameters has the defaults. Ranges are not checked.
    ///
    /// # Errors
    /// Returns an error with line and column if the text is not a controller.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text)
    }
}
