//! Contrasts: along an axis of the grid, arms are compared with the arms that have the axis' baseline value.

use std::collections::BTreeMap;

use lrlab_runs::Cell;

use crate::label::{self, CONDITIONS, phrase};
use crate::{Arm, arm};

/// An axis and its baseline value. Arms that agree on all other axes are compared with the baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contrast {
    /// The axis, or several axes that vary together, as in a `zip`.
    pub axes: Vec<String>,
    /// The baseline value of each axis in display form.
    pub baseline: Vec<String>,
    /// Why this value is the baseline.
    pub reason: Reason,
}

/// Why a value of an axis is the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The experiment file names it.
    Named,
    /// It is the fixed rate.
    FixedRate,
    /// It has no monitor.
    Unmonitored,
    /// It is the first value of the axis.
    First,
}

impl Contrast {
    /// "schedule vs static".
    #[must_use]
    pub fn word(&self) -> String {
        format!("{} vs {}", self.axis(), self.against())
    }

    /// The axis in display form: `lr`, or `lr, batch_size`.
    #[must_use]
    pub fn axis(&self) -> String {
        self.axes.join(", ")
    }

    /// The baseline in display form: "static", "no monitor", "0.1".
    #[must_use]
    pub fn against(&self) -> String {
        let one = |(axis, value): (&String, &String)| {
            let phrase = phrase(axis, value);
            phrase.strip_prefix(&format!("{axis} ")).map_or(phrase.clone(), str::to_owned)
        };
        self.axes.iter().zip(&self.baseline).map(one).collect::<Vec<_>>().join(", ")
    }

    /// An arm's value in display form: "cosine", "monitor", "lr 0.01".
    #[must_use]
    pub fn value(&self, arm: &Arm) -> String {
        let one = |(axis, value): (&String, &String)| phrase(axis, value);
        self.axes.iter().zip(&self.labels(arm)).map(one).collect::<Vec<_>>().join(", ")
    }

    fn labels(&self, arm: &Arm) -> Vec<String> {
        self.axes.iter().map(|axis| arm.label(axis)).collect()
    }

    /// The axes on which the arms of one family of Holm's correction agree.
    pub(crate) fn condition(&self) -> Vec<&str> {
        CONDITIONS.into_iter().filter(|axis| !self.axes.iter().any(|own| own == axis)).collect()
    }

    /// Pairs of an arm and its baseline.
    pub(crate) fn pairs(&self, arms: &[Arm]) -> Vec<(usize, usize)> {
        let axes: Vec<&str> = self.axes.iter().map(String::as_str).collect();
        let mut pairs = Vec::new();
        for group in arm::grouped(arms, &axes) {
            let is_baseline = |arm: &usize| self.labels(&arms[*arm]) == self.baseline;
            let Some(baseline) = group.iter().copied().find(is_baseline) else { continue };
            pairs.extend(group.into_iter().filter(|arm| *arm != baseline).map(|arm| (arm, baseline)));
        }
        pairs.sort_unstable();
        pairs
    }
}

/// The contrasts of a grid along which at least two arms can be compared: schedule and monitor first, then the other axes
/// in order. `named` holds the baselines that the experiment file names.
pub(crate) fn contrasts(arms: &[Arm], axes: &[String], named: &Cell) -> Vec<Contrast> {
    let several = |axis: &&String| arms.iter().any(|arm| arm.cell.get(*axis) != arms[0].cell.get(*axis));
    let several: Vec<&String> = axes.iter().filter(several).collect();
    let is_condition = |axis: &str| CONDITIONS.contains(&axis);
    let settings = several.iter().filter(|axis| !is_condition(axis)).count();
    let rank = |axis: &str| match axis {
        label::SCHEDULE => 0,
        label::MONITOR => 1,
        _ if is_condition(axis) => 3,
        _ => 2,
    };
    let mut ordered: Vec<&String> = several
        .into_iter()
        .filter(|axis| !is_condition(axis) || settings == 0 || named.contains_key(*axis))
        .collect();
    ordered.sort_by_key(|axis| rank(axis));
    let mut out: Vec<Contrast> = Vec::new();
    for axis in &ordered {
        if out.iter().any(|known| known.axes.contains(axis)) {
            continue;
        }
        let together = |other: &&&String| {
            *other == axis || (!is_condition(axis) && !is_condition(other) && one_to_one(arms, axis, other))
        };
        let together: Vec<String> = ordered.iter().filter(together).map(|axis| (*axis).clone()).collect();
        out.extend(contrast(arms, together, named));
    }
    out.retain(|contrast| !contrast.pairs(arms).is_empty());
    out
}

fn contrast(arms: &[Arm], axes: Vec<String>, named: &Cell) -> Option<Contrast> {
    let has = |axis: &str| axes.iter().any(|own| own == axis);
    let is_named = |arm: &Arm| {
        let mut given =
            axes.iter().filter_map(|axis| Some((arm.cell.get(axis), named.get(axis)?))).peekable();
        given.peek().is_some() && given.all(|(ours, wanted)| ours == Some(wanted))
    };
    let first =
        |reason, fits: &dyn Fn(&Arm) -> bool| arms.iter().find(|arm| fits(arm)).map(|arm| (reason, arm));
    let (reason, arm) = first(Reason::Named, &is_named)
        .or_else(|| first(Reason::FixedRate, &|arm| has(label::SCHEDULE) && arm.fixed_rate))
        .or_else(|| first(Reason::Unmonitored, &|arm| has(label::MONITOR) && !arm.monitored))
        .or_else(|| first(Reason::First, &|_| true))?;
    Some(Contrast { baseline: axes.iter().map(|axis| arm.label(axis)).collect(), axes, reason })
}

/// Returns whether the values of two axes correspond one to one.
fn one_to_one(arms: &[Arm], a: &str, b: &str) -> bool {
    let determines = |a: &str, b: &str| {
        let mut known = BTreeMap::new();
        arms.iter().all(|arm| {
            let theirs = arm.label(b);
            *known.entry(arm.label(a)).or_insert_with(|| theirs.clone()) == theirs
        })
    };
    determines(a, b) && determines(b, a)
}
