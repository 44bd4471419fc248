//! Claims: the outcomes that an experiment states, and the verdicts of its runs on them.
//!
//! A claim is a JSON object in the plan:
//!
//! | key | meaning |
//! | --- | --- |
//! | `id`, `text` | the claim's name, and the claim in words |
//! | `metric` | `val_accuracy`, `best.test_f1`, `max.val_accuracy`, `final.accuracy_gap`, … ([`Metric::parse`]) |
//! | `where` | coordinates of the arms that the claim covers, e.g. `{ model = "resnet", schedule = "static" }` |
//! | `value` | the claimed number, in the units of `result.json` (accuracies are fractions) |
//! | `tolerance` | claims that the mean over seeds lies within ± `tolerance` of `value` |
//! | `compare` | instead of a tolerance: `>=`, `>`, `<=`, `<` (or `at_least`, `above`, `at_most`, `below`) against `value` |
//! | `than` | coordinates of the arm to compare with; `compare` then refers to its runs of equal seed, plus `value` if given |
//! | `arms` | the claim holds in `every` covered arm (the default), in `most` of them, or on `average` over them |
//! | `margin` | the equivalence margin: a difference within ± `margin` counts as none |
//! | `expect` | the verdict that `report --check` expects: `supported` (the default), `contradicted`, `equivalent`, or `any` |
//!
//! Verdicts are based on tests and intervals ([`Verdict`]).

use std::collections::HashSet;

use lrlab_runs::RunId;
use serde::Deserialize;
use serde_json::Value;

use crate::Metric;
use crate::arm::{Arm, paired};

mod arms;
mod judge;
mod stated;
mod verdict;

pub(crate) use arms::matching;
pub(crate) use stated::coordinates;
use stated::{Claim, claimed};
pub use stated::{Expect, Scope};
use verdict::{ALPHA, Condition};
pub use verdict::{Judged, Measured, Verdict};

/// A claim and its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimVerdict {
    /// The claim's name.
    pub id: String,
    /// The claim in words.
    pub text: String,
    /// The metric; `None` if the claim is unreadable.
    pub metric: Option<Metric>,
    /// The condition in display form: "within 2.00 pp of 75.70 %".
    pub claimed: String,
    /// The comparison: `within`, `>=`, `>`, `<=` or `<`; empty if the claim is unreadable.
    pub compare: &'static str,
    /// The claimed number, in the units of `result.json`.
    pub value: Option<f64>,
    /// The largest deviation from `value` that still counts as agreement.
    pub tolerance: Option<f64>,
    /// The coordinates of the reference arm in display form; empty if the claim compares with a number alone.
    pub than: String,
    /// The arms over which the claim must hold.
    pub scope: Scope,
    /// The equivalence margin: a difference within ± `margin` counts as none.
    pub margin: Option<f64>,
    /// The verdict that the experiment expects.
    pub expect: Expect,
    /// The result of every arm that the claim covers.
    pub measured: Vec<Measured>,
    /// The result for the mean over the arms, of a claim with [`Scope::Average`].
    pub average: Option<Judged>,
    /// The verdict over all arms.
    pub verdict: Verdict,
    /// A remark: missing runs, or why the claim is unreadable.
    pub note: String,
}

impl ClaimVerdict {
    /// Returns whether the verdict is the one that the experiment expects.
    #[must_use]
    pub fn as_expected(&self) -> bool {
        match self.expect {
            Expect::Supported => self.verdict == Verdict::Supported,
            Expect::Contradicted => self.verdict == Verdict::Contradicted,
            Expect::Equivalent => self.verdict == Verdict::Equivalent,
            Expect::Any => self.verdict != Verdict::Unreadable,
        }
    }

    /// The runs from which the difference of an arm is computed: those of the arm and, if the claim has a reference, those
    /// of the reference of equal seed.
    pub(crate) fn runs_of(&self, m: &Measured, arms: &[Arm]) -> Vec<RunId> {
        let Some(metric) = self.metric else { return Vec::new() };
        match m.than {
            Some(than) => paired(&arms[m.arm], &arms[than], metric).collect(),
            None => arms[m.arm].measured(metric).collect(),
        }
    }

    /// The runs from which the differences of every arm are computed, each once.
    pub(crate) fn runs(&self, arms: &[Arm]) -> Vec<RunId> {
        let mut known = HashSet::new();
        let all = self.measured.iter().flat_map(|m| self.runs_of(m, arms));
        all.filter(|id| known.insert(id.clone())).collect()
    }
}

pub(crate) fn verdicts(claims: &Value, arms: &[Arm]) -> Vec<ClaimVerdict> {
    let Some(list) = claims.as_array() else { return Vec::new() };
    list.iter()
        .enumerate()
        .map(|(i, json)| match Claim::deserialize(json) {
            Ok(claim) => evaluate(&claim, arms),
            Err(e) => ClaimVerdict {
                id: json
                    .get("id")
                    .and_then(Value::as_str)
                    .map_or_else(|| format!("claim {}", i + 1), str::to_owned),
                text: json.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
                metric: None,
                claimed: String::new(),
                compare: "",
                value: None,
                tolerance: None,
                than: String::new(),
                scope: Scope::default(),
                margin: None,
                expect: Expect::default(),
                measured: Vec::new(),
                average: None,
                verdict: Verdict::Unreadable,
                note: e.to_string(),
            },
        })
        .collect()
}

fn evaluate(claim: &Claim, arms: &[Arm]) -> ClaimVerdict {
    let mut out = ClaimVerdict {
        id: claim.id.clone(),
        text: claim.text.clone(),
        metric: Metric::parse(&claim.metric),
        claimed: String::new(),
        compare: Condition::read(claim).map_or("", Condition::word),
        value: claim.value.filter(|x| x.is_finite()),
        tolerance: claim.tolerance.filter(|x| x.is_finite()),
        than: claim.than.as_ref().map(coordinates).unwrap_or_default(),
        scope: claim.arms,
        margin: claim.margin.filter(|x| x.is_finite()),
        expect: claim.expect,
        measured: Vec::new(),
        average: None,
        verdict: Verdict::Unreadable,
        note: String::new(),
    };
    let Some(metric) = out.metric else {
        out.note = format!("unknown metric {:?}", claim.metric);
        return out;
    };
    let Some(condition) = Condition::read(claim) else {
        "expected `tolerance`, or `compare` with one of >=, >, <=, <".clone_into(&mut out.note);
        return out;
    };
    if claim.value.is_none() && claim.than.is_none() {
        "`value` is missing".clone_into(&mut out.note);
        return out;
    }
    out.claimed = claimed(claim, condition, metric);
    out.measured = arms::measure(claim, condition, metric, arms);
    out.average =
        judge::average(&out.measured, condition, out.margin).filter(|_| out.scope == Scope::Average);
    out.verdict = overall(&out);
    out.note = note(&out, condition, arms);
    out
}

/// The verdict over the arms.
fn overall(claim: &ClaimVerdict) -> Verdict {
    let count = |verdict| claim.measured.iter().filter(|m| m.verdict == verdict).count();
    let (all, missing) = (claim.measured.len(), count(Verdict::NotRun));
    let [supported, contradicted, equivalent] =
        [Verdict::Supported, Verdict::Contradicted, Verdict::Equivalent].map(count);
    if missing == all {
        return Verdict::NotRun;
    }
    match claim.scope {
        Scope::Average => {
            let without = if contradicted > 0 { Verdict::Contradicted } else { Verdict::NotRun };
            claim.average.as_ref().map_or(without, |average| average.verdict)
        }
        Scope::Every if supported == all => Verdict::Supported,
        Scope::Every if equivalent == all => Verdict::Equivalent,
        Scope::Every if contradicted > 0 || (equivalent > 0 && supported > 0) => Verdict::Contradicted,
        Scope::Most if 2 * supported > all => Verdict::Supported,
        Scope::Most if 2 * equivalent > all => Verdict::Equivalent,
        Scope::Most if 2 * (contradicted + equivalent) > all => Verdict::Contradicted,
        Scope::Every | Scope::Most => Verdict::Undecided,
    }
}

/// The smallest equivalence margin of the claims that compare arms by `metric`.
pub(crate) fn margin(claims: &[ClaimVerdict], metric: Metric) -> Option<f64> {
    let about = claims.iter().filter(|claim| claim.metric == Some(metric) && !claim.than.is_empty());
    about.filter_map(|claim| claim.margin).reduce(f64::min)
}

fn note(verdict: &ClaimVerdict, condition: Condition, arms: &[Arm]) -> String {
    if verdict.measured.is_empty() {
        return "no arm of the grid matches `where`".to_owned();
    }
    let mut notes = Vec::new();
    let (have, planned) = verdict
        .measured
        .iter()
        .fold((0, 0), |(have, planned), m| (have + m.estimate.n(), planned + m.estimate.planned));
    if have < planned {
        notes.push(format!("{have} of {planned} runs"));
    }
    let (same, pairs) = verdict
        .measured
        .iter()
        .filter_map(|m| m.judged.as_ref())
        .fold((0, 0), |(same, pairs), judged| (same + judged.same, pairs + judged.summary.n));
    if same > 0 {
        notes.push(format!("the same network in {same} of {pairs} pairs"));
    }
    let diverged: usize = verdict.measured.iter().map(|m| arms[m.arm].diverged()).sum();
    if diverged > 0 {
        notes.push(format!("{diverged} diverged"));
    }
    let theirs = verdict.measured.iter().filter_map(|m| m.than).filter(|than| arms[*than].all_diverged());
    if theirs.count() > 0 {
        notes.push(format!("every run of {} diverged", verdict.than));
    }
    if verdict.measured.len() > 1 {
        let mut words: Vec<String> = Vec::new();
        for kind in [
            Verdict::Supported,
            Verdict::Contradicted,
            Verdict::Equivalent,
            Verdict::Undecided,
            Verdict::NotRun,
        ] {
            let count = verdict.measured.iter().filter(|m| m.verdict == kind).count();
            if count > 0 {
                words.push(format!("{} in {count}", kind.word()));
            }
        }
        notes.push(format!(
            "{}: {} of {} arms",
            verdict.scope.word(),
            words.join(", "),
            verdict.measured.len()
        ));
    }
    let judged = || verdict.average.iter().chain(verdict.measured.iter().filter_map(|m| m.judged.as_ref()));
    let seeds = judged().map(|judged| judged.summary.n).max();
    if let Some(seeds) = seeds
        && verdict.verdict == Verdict::Undecided
        && !matches!(condition, Condition::Within(_))
        && judged().all(|judged| judged.smallest_p >= ALPHA)
    {
        notes.push(format!("n = {seeds} is too small for p < {ALPHA}"));
    }
    notes.join("; ")
}
