//! The arms that a claim covers, their reference, and the differences of each.

use std::collections::HashMap;

use lrlab_runs::Cell;

use super::judge;
use super::stated::Claim;
use super::verdict::{Condition, Judged, Measured, Verdict};
use crate::arm::{Arm, key};
use crate::compare::same_networks;
use crate::{Metric, label};

/// The result of every arm that the claim covers.
pub(super) fn measure(claim: &Claim, condition: Condition, metric: Metric, arms: &[Arm]) -> Vec<Measured> {
    let references = claim.than.as_ref().map(|than| References::of(arms, than));
    let mut measured: Vec<Measured> = matching(arms, &claim.place)
        .map(|arm| {
            let than = references.as_ref().and_then(|references| references.other(arms, arm));
            let same = than.map_or(0, |than| same_networks(&arms[arm], &arms[than], metric));
            let judged = differences(claim, metric, &arms[arm], than.map(|than| &arms[than]))
                .and_then(|differences| judge::of(differences, condition, claim.margin))
                .map(|judged| Judged { same, ..judged });
            let estimate = arms[arm].estimate(metric);
            let verdict = match (arms[arm].all_diverged(), than.is_some_and(|than| arms[than].all_diverged()))
            {
                (true, false) => Verdict::Contradicted,
                (_, true) => Verdict::Undecided,
                (false, false) => Verdict::NotRun,
            };
            Measured { arm, estimate, than, judged, verdict }
        })
        .collect();
    judge::correct(&mut measured, condition);
    measured
}

/// The metric minus its reference, by seed; `None` if the reference arm does not exist.
fn differences(
    claim: &Claim,
    metric: Metric,
    ours: &Arm,
    theirs: Option<&Arm>,
) -> Option<Vec<(String, f64)>> {
    let offset = claim.value.unwrap_or(0.0);
    let figures = ours.values(metric).into_iter();
    if claim.than.is_none() {
        return Some(figures.map(|(seed, x)| (seed.to_owned(), x - offset)).collect());
    }
    let reference = theirs?.values(metric);
    let pair = |(seed, x): (&str, f64)| {
        let (_, y) = reference.iter().find(|(other, _)| *other == seed)?;
        Some((seed.to_owned(), x - y - offset))
    };
    Some(figures.filter_map(pair).collect())
}

/// The arms with the coordinates of a claim's reference.
struct References<'a> {
    changed: Vec<&'a str>,
    /// Their indices, by their coordinates on all other axes.
    arms: HashMap<String, Vec<usize>>,
}

impl<'a> References<'a> {
    fn of(arms: &[Arm], than: &'a Cell) -> Self {
        let changed: Vec<&str> = than.keys().map(String::as_str).collect();
        let mut of: HashMap<String, Vec<usize>> = HashMap::new();
        for i in matching(arms, than) {
            of.entry(key(&arms[i].cell, &changed)).or_default().push(i);
        }
        Self { changed, arms: of }
    }

    /// Another arm that agrees with `arm` on all other axes.
    fn other(&self, arms: &[Arm], arm: usize) -> Option<usize> {
        let alike = self.arms.get(&key(&arms[arm].cell, &self.changed))?;
        alike.iter().copied().find(|i| *i != arm)
    }
}

/// The indices of the arms with the given coordinates. `monitor = "on"` is every monitor, unless a monitor has that name.
pub(crate) fn matching(arms: &[Arm], place: &Cell) -> impl Iterator<Item = usize> {
    let is_named =
        || arms.iter().any(|arm| label::coordinate(&arm.cell, label::MONITOR).as_deref() == Some("on"));
    let on = place.get(label::MONITOR).is_some_and(|wanted| label::value(wanted) == "on");
    let every_monitor = on && !is_named();
    let fits = move |arm: &Arm| {
        place.iter().all(|(axis, wanted)| {
            let wanted = label::value(wanted);
            label::coordinate(&arm.cell, axis).is_some_and(|label| {
                let both_off = axis == label::MONITOR && label::is_off(&label) && label::is_off(&wanted);
                let both_on = axis == label::MONITOR && every_monitor && arm.monitored;
                label == wanted || both_off || both_on
            })
        })
    };
    (0..arms.len()).filter(move |&i| fits(&arms[i]))
}
