//! The learning rate of every update of a run, computed from its specification and decisions by the formula of the trainer.

use std::collections::BTreeMap;
use std::sync::Arc;

use lrlab_runs::{RunResult, Updates};
use lrlab_schedulers::{Horizon, ScheduleSpec};
use serde_json::Value;

use crate::Run;

/// The relative tolerance between computed and recorded rates, for differences in `cos` and `exp` between machines.
const TOLERANCE: f64 = 1e-9;

/// Computes the rates of runs. Runs of one arm in a row share the computation of their schedule.
#[derive(Default)]
pub(crate) struct Rates {
    last: Option<(Arc<Value>, Updates, Vec<f64>)>,
}

impl Rates {
    /// The rate `clamp(schedule(base, t) × product of gains, lr_min, lr_max)` of every update that the run made, and the
    /// number of updates per epoch. `None` if the result lacks the required fields or the computed rates differ from the
    /// recorded ones.
    pub(crate) fn of(&mut self, run: &Run) -> Option<(Vec<f64>, u64)> {
        let (spec, result) = (&run.spec, run.result()?);
        let updates = result.updates?;
        let (_, _, scheduled) = match self.last.take() {
            Some(last) if Arc::ptr_eq(&last.0, spec) && last.1 == updates => self.last.insert(last),
            _ => self.last.insert((Arc::clone(spec), updates, scheduled(spec, updates)?)),
        };
        let number = |key: &str| spec.get(key).and_then(Value::as_f64);
        let (floor, ceiling) = (number("lr_min").unwrap_or(0.0), number("lr_max").unwrap_or(f64::INFINITY));
        let mut decisions = result.decisions.iter().peekable();
        // Sorted by source, so that the product is bit-identical to the one in training.
        let mut gains: BTreeMap<&str, f64> = BTreeMap::new();
        let mut gain = 1.0;
        let rates: Vec<f64> = (0..)
            .zip(scheduled)
            .map(|(update, rate)| {
                // A decision takes effect at the next update.
                while let Some(decision) = decisions.next_if(|decision| decision.update <= update) {
                    gains.insert(&decision.source, decision.gain);
                    gain = gains.values().product();
                }
                (*rate * gain).min(ceiling).max(floor)
            })
            .collect();
        agrees(result, &rates, updates.per_epoch).then_some((rates, updates.per_epoch))
    }
}

/// The rates of a run's schedule without decisions and limits.
fn scheduled(spec: &Value, updates: Updates) -> Option<Vec<f64>> {
    let (base, epochs) = (spec.get("lr")?.as_f64()?, spec.get("epochs")?.as_u64()?);
    let horizon =
        Horizon { updates: updates.per_epoch.checked_mul(epochs)?, updates_per_epoch: updates.per_epoch };
    let schedule: ScheduleSpec = serde_json::from_value(spec.get("schedule")?.clone()).ok()?;
    let schedule = schedule.build(&horizon).ok().filter(|_| updates.made <= horizon.updates)?;
    Some((0..updates.made).map(|update| schedule.lr(base, horizon.at(update))).collect())
}

/// Returns whether these are the rates that the run recorded at the first and the last update of each epoch.
fn agrees(result: &RunResult, rates: &[f64], per_epoch: u64) -> bool {
    let near = |update: u64, recorded: Option<f64>| {
        let rate = usize::try_from(update).ok().and_then(|update| rates.get(update));
        recorded.is_none_or(|x| rate.is_some_and(|rate| (rate - x).abs() <= TOLERANCE * x.abs()))
    };
    result.history.iter().all(|epoch| {
        let end = epoch.epoch.saturating_mul(per_epoch).min(rates.len() as u64);
        near(epoch.epoch.saturating_sub(1).saturating_mul(per_epoch), epoch.lr_first)
            && near(end.saturating_sub(1), epoch.lr)
    })
}

/// The corners of the step function of a rate over epochs, thinned by [`thinned`].
pub(crate) fn corners(rates: &[f64], per_epoch: u64) -> Vec<(f64, f64)> {
    let at = |update: usize| update as f64 / per_epoch.max(1) as f64;
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (update, rate) in rates.iter().enumerate() {
        if all.last().is_some_and(|last| last.1.to_bits() == rate.to_bits()) {
            all.pop();
        } else {
            all.push((at(update), *rate));
        }
        all.push((at(update + 1), *rate));
    }
    thinned(&all)
}

/// Thins a line by the Douglas–Peucker algorithm with vertical distances. The tolerance is the smaller of 0.1 % of the range
/// and 0.5 % of the value (for log axes), but at least 0.001 % of the range.
pub(crate) fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (low, high) =
        points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p.1), b.max(p.1)));
    let excess = |from: usize, to: usize, i: usize| {
        let ((x0, y0), (x1, y1), (x, y)) = (points[from], points[to], points[i]);
        // The distance from a vertical segment is the distance beyond its ends.
        let line =
            if x1 > x0 { y0 + (y1 - y0) * (x - x0) / (x1 - x0) } else { y.clamp(y0.min(y1), y0.max(y1)) };
        (y - line).abs() - (0.001 * (high - low)).min(0.005 * y.abs()).max(1e-5 * (high - low))
    };
    let mut keep = vec![false; points.len()];
    let mut open = vec![(0, points.len().saturating_sub(1))];
    while let Some((from, to)) = open.pop() {
        if let Some(kept) = keep.get_mut(from) {
            *kept = true;
        }
        if let Some(kept) = keep.get_mut(to) {
            *kept = true;
        }
        let worst = (from + 1..to).max_by(|a, b| excess(from, to, *a).total_cmp(&excess(from, to, *b)));
        if let Some(i) = worst.filter(|i| excess(from, to, *i) > 0.0) {
            open.extend([(from, i), (i, to)]);
        }
    }
    points.iter().zip(keep).filter(|(_, keep)| *keep).map(|(point, _)| *point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_vertical() {
        let check = |rates: &[f64], per_epoch, expected: &[(f64, f64)]| {
            assert_eq!(corners(rates, per_epoch), expected);
        };
        check(&[], 2, &[]);
        check(&[0.1], 1, &[(0.0, 0.1), (1.0, 0.1)]);
        check(&[0.1, 0.1, 0.1, 0.05], 2, &[(0.0, 0.1), (1.5, 0.1), (1.5, 0.05), (2.0, 0.05)]);
        check(&[0.1, 0.2], 1, &[(0.0, 0.1), (1.0, 0.1), (1.0, 0.2), (2.0, 0.2)]);
    }

    /// A long run is thinned to few corners without visible change.
    #[test]
    fn long_runs_are_thinned() {
        let n = 100_000_usize;
        let at = |i: usize| 0.5 * (1.0 + (std::f64::consts::PI * i as f64 / n as f64).cos());
        let jump = 40_800;
        let rates: Vec<f64> = (0..n).map(|i| if i < jump { at(i) } else { 0.1 * at(i) }).collect();
        let kept = corners(&rates, 1000);
        assert!(kept.len() < 500, "{}", kept.len());
        let (before, after) =
            (kept.iter().rfind(|p| p.1 > 0.2).unwrap(), kept.iter().find(|p| p.1 < 0.1).unwrap());
        assert!((before.0 - 40.8).abs() < 1e-9 && (after.0 - 40.8).abs() < 1e-9, "{before:?} {after:?}");
        for pair in kept.windows(2).filter(|pair| pair[1].0 > pair[0].0) {
            let middle = f64::midpoint(pair[0].0, pair[1].0);
            let line = f64::midpoint(pair[0].1, pair[1].1);
            let rate = rates[(middle * 1000.0) as usize];
            assert!((line - rate).abs() < 0.002, "{pair:?}: {rate}");
        }
    }
}
