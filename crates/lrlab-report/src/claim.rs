//! Claims: what an experiment says should come out, beside what came out.
//!
//! A claim is a JSON object of the plan:
//!
//! | key | meaning |
//! | --- | --- |
//! | `id`, `text` | its name, and what is claimed, for readers |
//! | `metric` | `val_accuracy`, `best.test_f1`, `max.val_accuracy`, `final.accuracy_gap`, … ([`Metric::parse`]) |
//! | `where` | coordinates of the arms it speaks about, e.g. `{ model = "resnet", schedule = "static" }` |
//! | `value` | the number claimed, in the units of `result.json` (accuracies are fractions) |
//! | `tolerance` | the claim is that the mean over seeds lies within so much of `value` |
//! | `compare` | instead of a tolerance: `>=`, `>`, `<=`, `<` (or `at_least`, `above`, `at_most`, `below`) against `value` |
//! | `than` | further coordinates; `compare` is then against the runs of equal seed there, plus `value` where given |
//! | `arms` | `every` arm that it speaks about (the default), `most` of them, or on `average` over them |
//! | `margin` | a difference within ± so much is none: what makes a claim *equivalent* |
//! | `expect` | the verdict that `report --check` expects: `supported` (the default), `contradicted`, `equivalent`, or `any` |
//!
//! Tests and intervals decide, not means alone ([`Verdict`]).

use lrlab_runs::Cell;
use serde::Deserialize;
use serde_json::Value;

use crate::arm::Arm;
use crate::{Metric, label};

mod judge;
mod verdict;

use verdict::{ALPHA, Condition};
pub use verdict::{Judged, Measured, Verdict};

/// The verdict that an experiment expects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// It holds.
    #[default]
    Supported,
    /// Its opposite holds.
    Contradicted,
    /// There is no difference.
    Equivalent,
    /// Nothing.
    Any,
}

/// Over which of its arms a claim is to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All.
    #[default]
    Every,
    /// More than half.
    Most,
    /// Their mean, seed by seed.
    Average,
}

impl Scope {
    /// For readers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Every => "in every arm",
            Self::Most => "in most arms",
            Self::Average => "on average",
        }
    }
}

/// A claim and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimVerdict {
    /// Its name.
    pub id: String,
    /// What is claimed.
    pub text: String,
    /// The figure it is about.
    pub metric: Option<Metric>,
    /// The condition, for readers: "75.70 ± 2.00 %".
    pub claimed: String,
    /// How: `within`, `>=`, `>`, `<=` or `<`; empty where it cannot be read.
    pub compare: &'static str,
    /// The number claimed, in the units of `result.json`.
    pub value: Option<f64>,
    /// How far from it a figure may be.
    pub tolerance: Option<f64>,
    /// The coordinates it is held against, for readers; empty where it is held against the number alone.
    pub than: String,
    /// Over which arms it is to hold.
    pub scope: Scope,
    /// A difference within ± so much is none.
    pub margin: Option<f64>,
    /// What the experiment expects.
    pub expect: Expect,
    /// Every arm that it speaks about.
    pub measured: Vec<Measured>,
    /// The mean over the arms, of a claim on average.
    pub average: Option<Judged>,
    /// What the runs say.
    pub verdict: Verdict,
    /// What a reader should know: missing runs, why it cannot be read.
    pub note: String,
}

impl ClaimVerdict {
    /// Whether the verdict is the one that the experiment expects.
    #[must_use]
    pub fn as_expected(&self) -> bool {
        match self.expect {
            Expect::Supported => self.verdict == Verdict::Supported,
            Expect::Contradicted => self.verdict == Verdict::Contradicted,
            Expect::Equivalent => self.verdict == Verdict::Equivalent,
            Expect::Any => self.verdict != Verdict::Unreadable,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Claim {
    id: String,
    text: String,
    metric: String,
    #[serde(rename = "where")]
    place: Cell,
    value: Option<f64>,
    tolerance: Option<f64>,
    compare: Option<String>,
    than: Option<Cell>,
    arms: Scope,
    margin: Option<f64>,
    expect: Expect,
}

impl Condition {
    fn read(claim: &Claim) -> Option<Self> {
        match (claim.compare.as_deref(), claim.tolerance) {
            (None | Some("within" | "about" | "="), tolerance) => Some(Self::Within(tolerance?)),
            (Some(">=" | "at_least"), _) => Some(Self::AtLeast),
            (Some(">" | "above"), _) => Some(Self::Above),
            (Some("<=" | "at_most"), _) => Some(Self::AtMost),
            (Some("<" | "below"), _) => Some(Self::Below),
            (Some(_), _) => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Within(_) => "within",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }
}

pub(crate) fn verdicts(claims: &Value, arms: &[Arm]) -> Vec<ClaimVerdict> {
    let Some(list) = claims.as_array() else { return Vec::new() };
    list.iter()
        .enumerate()
        .map(|(i, json)| match Claim::deserialize(json) {
            Ok(claim) => judge(&claim, arms),
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

fn judge(claim: &Claim, arms: &[Arm]) -> ClaimVerdict {
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
        out.note = format!("{:?} is no metric", claim.metric);
        return out;
    };
    let Some(condition) = Condition::read(claim) else {
        "it has neither a tolerance nor a known way to compare".clone_into(&mut out.note);
        return out;
    };
    if claim.value.is_none() && claim.than.is_none() {
        "it has no value".clone_into(&mut out.note);
        return out;
    }
    out.claimed = claimed(claim, condition, metric);
    out.measured = measure(claim, condition, metric, arms);
    out.average =
        judge::average(&out.measured, condition, out.margin).filter(|_| out.scope == Scope::Average);
    out.verdict = overall(&out);
    out.note = note(&out, arms);
    out
}

fn measure(claim: &Claim, condition: Condition, metric: Metric, arms: &[Arm]) -> Vec<Measured> {
    let matching = |(i, arm): (usize, &Arm)| matches(arm, &claim.place).then_some(i);
    let mut measured: Vec<Measured> = arms
        .iter()
        .enumerate()
        .filter_map(matching)
        .map(|arm| {
            let than = claim.than.as_ref().and_then(|than| other(arms, arm, than));
            let judged = differences(claim, metric, &arms[arm], than.map(|than| &arms[than]))
                .and_then(|differences| judge::of(differences, condition, claim.margin));
            let estimate = arms[arm].estimate(metric);
            let died = estimate.summary.is_none() && arms[arm].diverged() == estimate.planned;
            let verdict = if died { Verdict::Contradicted } else { Verdict::NotRun };
            Measured { arm, estimate, than, judged, verdict }
        })
        .collect();
    judge::correct(&mut measured, condition);
    measured
}

/// Figure minus what it is held against, by seed; `None` where the arm that it is compared with is not there.
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
    let before = theirs?.values(metric);
    let pair = |(seed, x): (&str, f64)| {
        let (_, y) = before.iter().find(|(other, _)| *other == seed)?;
        Some((seed.to_owned(), x - y - offset))
    };
    Some(figures.filter_map(pair).collect())
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
        Scope::Average => claim.average.as_ref().map_or(Verdict::NotRun, |average| average.verdict),
        Scope::Every if supported == all => Verdict::Supported,
        Scope::Every if equivalent == all => Verdict::Equivalent,
        Scope::Every if contradicted > 0 || (equivalent > 0 && supported > 0) => Verdict::Contradicted,
        Scope::Most if 2 * supported > all => Verdict::Supported,
        Scope::Most if 2 * equivalent > all => Verdict::Equivalent,
        Scope::Most if 2 * (contradicted + equivalent) > all => Verdict::Contradicted,
        Scope::Every | Scope::Most => Verdict::Undecided,
    }
}

/// The arm with the coordinates of `arm` where `than` does not say otherwise.
fn other(arms: &[Arm], arm: usize, than: &Cell) -> Option<usize> {
    let changed: Vec<&str> = than.keys().map(String::as_str).collect();
    arms.iter()
        .enumerate()
        .find(|(i, other)| *i != arm && matches(other, than) && other.agrees(&arms[arm], &changed))
        .map(|(i, _)| i)
}

pub(crate) fn matches(arm: &Arm, place: &Cell) -> bool {
    place.iter().all(|(axis, wanted)| {
        let wanted = label::value(wanted);
        label::coordinate(&arm.cell, axis).is_some_and(|label| {
            let both_off = axis == label::MONITOR && label::is_off(&label) && label::is_off(&wanted);
            label == wanted || both_off || (axis == label::MONITOR && wanted == "on" && arm.monitored)
        })
    })
}

/// The smallest margin of the claims that compare arms by a metric.
pub(crate) fn margin(claims: &[ClaimVerdict], metric: Metric) -> Option<f64> {
    let about = claims.iter().filter(|claim| claim.metric == Some(metric) && !claim.than.is_empty());
    about.filter_map(|claim| claim.margin).reduce(f64::min)
}

/// "schedule = static, monitor = off".
pub(crate) fn coordinates(cell: &Cell) -> String {
    cell.iter().map(|(k, v)| format!("{k} = {}", label::value(v))).collect::<Vec<_>>().join(", ")
}

fn claimed(claim: &Claim, condition: Condition, metric: Metric) -> String {
    let unit = metric.unit();
    let show = |x: f64| format!("{:.*}", unit.digits(), x * unit.factor());
    let value = claim.value.map(show);
    let place = claim.than.as_ref().map(|than| match &value {
        Some(value) => format!("{} + {value}", coordinates(than)),
        None => coordinates(than),
    });
    let target = place.or(value).unwrap_or_default();
    let sign = if unit.sign().is_empty() || claim.value.is_none() {
        String::new()
    } else {
        format!(" {}", unit.sign())
    };
    match condition {
        Condition::Within(tolerance) => format!("{target} ± {}{sign}", show(tolerance)),
        Condition::AtLeast => format!("≥ {target}{sign}"),
        Condition::Above => format!("> {target}{sign}"),
        Condition::AtMost => format!("≤ {target}{sign}"),
        Condition::Below => format!("< {target}{sign}"),
    }
}

fn note(verdict: &ClaimVerdict, arms: &[Arm]) -> String {
    if verdict.measured.is_empty() {
        return "no arm of this grid is what it speaks about".to_owned();
    }
    let mut notes = Vec::new();
    let (have, planned) = verdict
        .measured
        .iter()
        .fold((0, 0), |(have, planned), m| (have + m.estimate.n(), planned + m.estimate.planned));
    if have < planned {
        notes.push(format!("{have} of {planned} runs"));
    }
    let diverged: usize = verdict.measured.iter().map(|m| arms[m.arm].diverged()).sum();
    if diverged > 0 {
        notes.push(format!("{diverged} diverged"));
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
    if verdict.verdict == Verdict::Undecided && judged().all(|judged| judged.smallest_p >= ALPHA) {
        let seeds = judged().map(|judged| judged.summary.n).max().unwrap_or(0);
        notes.push(format!("n = {seeds} cannot reach p < {ALPHA}"));
    }
    notes.join("; ")
}
