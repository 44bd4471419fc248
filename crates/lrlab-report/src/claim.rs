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
//! | `tolerance` | reproduced where the mean over seeds lies within so much of `value` |
//! | `compare` | instead of a tolerance: `>=`, `>`, `<=`, `<` (or `at_least`, `above`, `at_most`, `below`) against `value` |
//! | `than` | further coordinates; `compare` is then against the mean of those arms, plus `value` where given |

use lrlab_runs::Cell;
use serde::Deserialize;
use serde_json::Value;

use crate::arm::{Arm, Estimate};
use crate::{Metric, label};

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was measured agrees with it.
    Reproduced,
    /// What was measured does not.
    NotReproduced,
    /// No run that it speaks about has the figure.
    NotRun,
    /// It cannot be read: an unknown metric, a missing value.
    Unreadable,
}

impl Verdict {
    /// For readers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::NotRun => "not run",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One arm's figure beside a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Index into the report's arms.
    pub arm: usize,
    /// Our figure.
    pub estimate: Estimate,
    /// What it is held against: `value`, or the other arm's mean plus `value`.
    pub expected: Option<f64>,
    /// Index of that other arm.
    pub than: Option<usize>,
    /// Whether it agrees; `None` where nothing can be said. An arm whose runs all diverged does not.
    pub holds: Option<bool>,
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
    /// Every arm that it speaks about.
    pub measured: Vec<Measured>,
    /// Whether it holds: in every arm that it speaks about.
    pub verdict: Verdict,
    /// What a reader should know: missing runs, why it cannot be read.
    pub note: String,
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
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Within(f64),
    AtLeast,
    Above,
    AtMost,
    Below,
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

    fn holds(self, ours: f64, expected: f64) -> bool {
        // Numbers that are equal in decimals may differ in the last bits.
        let slack = 1e-12 * ours.abs().max(expected.abs()).max(1.0);
        match self {
            Self::Within(tolerance) => (ours - expected).abs() <= tolerance + slack,
            Self::AtLeast => ours >= expected - slack,
            Self::Above => ours > expected,
            Self::AtMost => ours <= expected + slack,
            Self::Below => ours < expected,
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
                measured: Vec::new(),
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
        measured: Vec::new(),
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
    let verdicts: Vec<Option<bool>> = out.measured.iter().map(|m| m.holds).collect();
    out.verdict = if verdicts.contains(&Some(false)) {
        Verdict::NotReproduced
    } else if verdicts.is_empty() || verdicts.contains(&None) {
        Verdict::NotRun
    } else {
        Verdict::Reproduced
    };
    out.note = note(&out, arms);
    out
}

fn measure(claim: &Claim, condition: Condition, metric: Metric, arms: &[Arm]) -> Vec<Measured> {
    let matching = |(i, arm): (usize, &Arm)| matches(arm, &claim.place).then_some(i);
    arms.iter()
        .enumerate()
        .filter_map(matching)
        .map(|arm| {
            let estimate = arms[arm].estimate(metric);
            let than = claim.than.as_ref().and_then(|than| other(arms, arm, than));
            let offset = claim.value.unwrap_or(0.0);
            let expected = match (&claim.than, than) {
                (None, _) => claim.value,
                (Some(_), None) => None,
                (Some(_), Some(i)) => arms[i].estimate(metric).summary.map(|s| s.mean + offset),
            };
            let holds = match estimate.summary {
                Some(s) => expected.map(|expected| condition.holds(s.mean, expected)),
                // Every run came to an end, and none to a figure.
                None => (arms[arm].diverged() == estimate.planned).then_some(false),
            };
            Measured { arm, estimate, expected, than, holds }
        })
        .collect()
}

/// The arm with the coordinates of `arm` where `than` does not say otherwise.
fn other(arms: &[Arm], arm: usize, than: &Cell) -> Option<usize> {
    let changed: Vec<&str> = than.keys().map(String::as_str).collect();
    arms.iter()
        .enumerate()
        .find(|(i, other)| *i != arm && matches(other, than) && other.agrees(&arms[arm], &changed))
        .map(|(i, _)| i)
}

fn matches(arm: &Arm, place: &Cell) -> bool {
    place.iter().all(|(axis, wanted)| {
        let wanted = label::value(wanted);
        label::coordinate(&arm.cell, axis).is_some_and(|label| {
            let both_off = axis == label::MONITOR && label::is_off(&label) && label::is_off(&wanted);
            label == wanted || both_off || (axis == label::MONITOR && wanted == "on" && arm.monitored)
        })
    })
}

/// "schedule = static, monitor = off".
fn coordinates(cell: &Cell) -> String {
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
        let agree = verdict.measured.iter().filter(|m| m.holds == Some(true)).count();
        notes.push(format!("agrees in {agree} of {} arms", verdict.measured.len()));
    }
    notes.join("; ")
}
