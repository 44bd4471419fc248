//! A claim as an experiment states it, and its condition in words.

use lrlab_runs::Cell;
use serde::Deserialize;

use super::verdict::Condition;
use crate::table::fixed;
use crate::{Metric, Unit, label};

/// The verdict that an experiment expects for a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The claim holds.
    #[default]
    Supported,
    /// The opposite holds.
    Contradicted,
    /// There is no difference larger than the margin.
    Equivalent,
    /// Any verdict.
    Any,
}

/// The arms over which a claim must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every arm.
    #[default]
    Every,
    /// More than half of the arms.
    Most,
    /// The mean over the arms, seed by seed.
    Average,
}

impl Scope {
    /// The scope in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Every => "in every arm",
            Self::Most => "in most arms",
            Self::Average => "on average",
        }
    }
}

/// A claim as the plan has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) metric: String,
    #[serde(rename = "where")]
    pub(super) place: Cell,
    pub(super) value: Option<f64>,
    pub(super) tolerance: Option<f64>,
    pub(super) compare: Option<String>,
    pub(super) than: Option<Cell>,
    pub(super) arms: Scope,
    pub(super) margin: Option<f64>,
    pub(super) expect: Expect,
}

impl Condition {
    pub(super) fn read(claim: &Claim) -> Option<Self> {
        match (claim.compare.as_deref(), claim.tolerance) {
            (None | Some("within" | "about" | "="), tolerance) => Some(Self::Within(tolerance?)),
            (Some(">=" | "at_least"), _) => Some(Self::AtLeast),
            (Some(">" | "above"), _) => Some(Self::Above),
            (Some("<=" | "at_most"), _) => Some(Self::AtMost),
            (Some("<" | "below"), _) => Some(Self::Below),
            (Some(_), _) => None,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Within(_) => "within",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }
}

/// "schedule = static, monitor = off".
pub(crate) fn coordinates(cell: &Cell) -> String {
    cell.iter().map(|(k, v)| format!("{k} = {}", label::value(v))).collect::<Vec<_>>().join(", ")
}

/// The condition in words: "within 1.00 pp of 75.70 %", "difference from schedule = static: > 0".
pub(super) fn claimed(claim: &Claim, condition: Condition, metric: Metric) -> String {
    let show = |x: f64, unit: Unit| {
        let number = fixed(x * unit.factor(), unit.digits());
        [number.as_str(), unit.sign()].join(" ").trim_end().to_owned()
    };
    let points = metric.unit().of_differences();
    let (subject, value) = match (&claim.than, claim.value) {
        (None, value) => (String::new(), show(value.unwrap_or_default(), metric.unit())),
        (Some(than), value) => {
            let value = value.map_or_else(|| "0".to_owned(), |value| show(value, points));
            (format!("difference from {}: ", coordinates(than)), value)
        }
    };
    let sign = match condition {
        Condition::Within(tolerance) => {
            return format!("{subject}within {} of {value}", show(tolerance, points));
        }
        Condition::AtLeast => "≥",
        Condition::Above => ">",
        Condition::AtMost => "≤",
        Condition::Below => "<",
    };
    format!("{subject}{sign} {value}")
}
