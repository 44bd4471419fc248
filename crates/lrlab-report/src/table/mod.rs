//! A table as a value, rendered elsewhere as CSV, LaTeX, Markdown, HTML and for the terminal.

mod csv;
mod latex;
mod markdown;
mod terminal;
mod tex;

pub(crate) use csv::{csv, file as csv_file, names as csv_names};
pub(crate) use latex::latex;
pub(crate) use markdown::{escape as markdown_escape, markdown};
pub use terminal::terminal_table;
pub(crate) use tex::{escape as tex_escape, needs_t1};

use std::sync::Arc;

use lrlab_runs::RunId;

use crate::Unit;
use crate::arm::Estimate;

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// File name without extension, and anchor on the page.
    pub name: &'static str,
    /// Heading.
    pub title: String,
    /// What is in it, and how to read it.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Whether a page folds it away.
    pub long: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in the manifest.
    pub key: String,
    /// Names in CSV files, one for each number or word of a cell.
    pub fields: Vec<String>,
    /// Name for readers.
    pub title: String,
    /// Second line of the name: which weights, which unit.
    pub detail: String,
    /// Whether it holds numbers, set flush right.
    pub numeric: bool,
    /// Whether readers are spared it: every row says the same. CSV files have it.
    pub constant: bool,
}

impl Column {
    pub(crate) fn text(key: &str, title: &str) -> Self {
        Self {
            key: key.to_owned(),
            fields: vec![key.to_owned()],
            title: title.to_owned(),
            detail: String::new(),
            numeric: false,
            constant: false,
        }
    }

    pub(crate) fn number(key: &str, title: &str, detail: &str) -> Self {
        Self { detail: detail.to_owned(), numeric: true, ..Self::text(key, title) }
    }

    /// Mean and spread over runs.
    pub(crate) fn estimate(key: &str, title: &str, detail: &str) -> Self {
        Self::number(key, title, detail).suffixed(&["mean", "std", "n"])
    }

    /// As a column whose cells hold several numbers or words: their names in CSV files.
    pub(crate) fn fields(self, names: &[&str]) -> Self {
        Self { fields: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// As [`Column::fields`], of names that begin with the column's own.
    pub(crate) fn suffixed(self, names: &[&str]) -> Self {
        Self { fields: names.iter().map(|name| format!("{}_{name}", self.key)).collect(), ..self }
    }

    /// Both lines in one.
    pub(crate) fn heading(&self) -> String {
        if self.detail.is_empty() { self.title.clone() } else { format!("{} ({})", self.title, self.detail) }
    }
}

impl Table {
    /// Whether it is set in LaTeX: a float holds no more than a page.
    pub(crate) fn fits_latex(&self) -> bool {
        self.rows.len() <= 60
    }

    /// The columns that readers are shown, with their places.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| !column.constant)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One cell per column.
    pub cells: Vec<TableCell>,
    /// Whether a rule stands above it: another model, data set or budget begins.
    pub rule: bool,
    /// Where the page leads from it.
    pub link: Option<Link>,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// An arm, by its index in the report.
    Arm(usize),
    /// A run.
    Run(RunId),
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct TableCell {
    /// What stands in it.
    pub value: Value,
    /// Whether it is the best of its block.
    pub bold: bool,
    /// The runs that a number is made of; the cells of a row may share them.
    pub runs: Arc<[RunId]>,
}

impl From<Value> for TableCell {
    fn from(value: Value) -> Self {
        Self { value, bold: false, runs: Arc::default() }
    }
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A run or a digest in hexadecimal digits, and how many of them tell it from the others.
    Id(String, usize),
    /// A coordinate; `None` where there is none.
    Label(Option<String>),
    /// So many of so many: runs, pairs.
    Share(usize, usize),
    /// Runs of an arm: done, planned, and of those done the diverged ones.
    Runs(usize, usize, usize),
    /// Differences above, at and below zero.
    Signs(Option<[usize; 3]>),
    /// Epochs in rising order, one for each time.
    Times(Vec<u64>),
    /// A whole number that belongs to a word, and both as a reader is told.
    Told {
        /// For readers.
        shown: String,
        /// The number, where there is one.
        number: Option<u64>,
        /// The word.
        word: &'static str,
    },
    /// What a claim says, and as a reader is told.
    Claimed {
        /// For readers.
        shown: String,
        /// `within`, `>=`, `>`, `<=`, `<`; empty where it cannot be read.
        compare: &'static str,
        /// The number claimed.
        value: Option<f64>,
        /// How far from it may be.
        tolerance: Option<f64>,
        /// What the claim's arms are held against; empty where that is a number.
        than: String,
    },
    /// A whole number.
    Count(u64),
    /// A number with its unit's decimals; `None` is missing.
    Number(Option<f64>, Unit),
    /// A number with so many decimals; `None` is missing.
    Plain(Option<f64>, usize),
    /// A figure of a run that diverged, which has none.
    Diverged,
    /// A number by powers of ten; `None` is missing.
    Scientific(Option<f64>),
    /// Mean ± standard deviation.
    Estimate(Estimate, Unit),
    /// A mean difference with its interval, of so many pairs planned.
    Difference(Option<Difference>, Unit, usize),
    /// Bounds.
    Interval(Option<(f64, f64)>, Unit),
    /// A probability.
    P(Option<f64>),
}

/// A mean difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Arm minus baseline.
    pub mean: f64,
    /// Interval, from two pairs on.
    pub interval: Option<(f64, f64)>,
    /// Pairs.
    pub n: usize,
}

/// The sign of a missing value.
pub(crate) const MISSING: &str = "–";

fn scaled(x: f64, unit: Unit) -> String {
    fixed(x * unit.factor(), unit.digits())
}

/// Fixed decimals with a true minus sign, and no minus before zero; from a hundred million on, powers of ten.
pub(crate) fn fixed(x: f64, digits: usize) -> String {
    let text = if x.abs() < 1e8 { format!("{x:.digits$}") } else { format!("{x:.2e}") };
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// As [`fixed`], with a plus sign before what is above zero.
pub(crate) fn signed(x: f64, digits: usize) -> String {
    let text = fixed(x, digits);
    let zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    if text.starts_with('−') || zero { text } else { format!("+{text}") }
}

fn difference(x: f64, unit: Unit) -> String {
    signed(x * unit.factor(), unit.digits())
}

/// "3 (2×), 5".
fn times(epochs: &[u64]) -> String {
    let runs = epochs.chunk_by(|a, b| a == b);
    let one = |same: &[u64]| match same {
        [epoch] => epoch.to_string(),
        _ => format!("{} ({}×)", same[0], same.len()),
    };
    runs.map(one).collect::<Vec<_>>().join(", ")
}

fn count(n: usize, planned: usize) -> String {
    if n == planned { String::new() } else { format!(" ({n}/{planned})") }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) | Self::Label(Some(text)) => f.write_str(text),
            Self::Id(id, digits) => f.write_str(id.get(..*digits).unwrap_or(id)),
            Self::Told { shown, .. } | Self::Claimed { shown, .. } => f.write_str(shown),
            Self::Share(have, of) | Self::Runs(have, of, 0) => write!(f, "{have}/{of}"),
            Self::Runs(done, planned, diverged) => write!(f, "{done}/{planned}, {diverged} diverged"),
            Self::Signs(Some([above, at, below])) => write!(f, "{above}/{at}/{below}"),
            Self::Times(epochs) => f.write_str(&times(epochs)),
            Self::Diverged => f.write_str("diverged"),
            Self::Count(n) => write!(f, "{n}"),
            Self::Number(Some(x), unit) => f.write_str(&scaled(*x, *unit)),
            Self::Plain(Some(x), digits) => f.write_str(&fixed(*x, *digits)),
            Self::Scientific(Some(x)) => write!(f, "{x:.3e}"),
            Self::Estimate(e, unit) => match e.summary {
                None => write!(f, "{MISSING} (0/{})", e.planned),
                Some(s) => {
                    f.write_str(&scaled(s.mean, *unit))?;
                    if let Some(std) = s.std {
                        write!(f, " ± {}", scaled(std, *unit))?;
                    }
                    f.write_str(&count(s.n, e.planned))
                }
            },
            Self::Difference(None, _, planned) => write!(f, "{MISSING} (0/{planned})"),
            Self::Difference(Some(d), unit, planned) => {
                f.write_str(&difference(d.mean, *unit))?;
                if let Some((low, high)) = d.interval {
                    write!(f, " [{}, {}]", difference(low, *unit), difference(high, *unit))?;
                }
                f.write_str(&count(d.n, *planned))
            }
            Self::Interval(Some((low, high)), unit) => {
                write!(f, "[{}, {}]", difference(*low, *unit), difference(*high, *unit))
            }
            Self::P(Some(p)) if *p < 0.0005 => f.write_str("< 0.001"),
            Self::P(Some(p)) => write!(f, "{p:.3}"),
            Self::Label(None)
            | Self::Signs(None)
            | Self::Number(None, _)
            | Self::Plain(None, _)
            | Self::Scientific(None)
            | Self::Interval(None, _)
            | Self::P(None) => f.write_str(MISSING),
        }
    }
}

impl Value {
    /// The number that the manifest names.
    pub(crate) fn sort_key(&self) -> Option<f64> {
        match self {
            Self::Text(_) | Self::Id(..) | Self::Label(_) | Self::Diverged => None,
            Self::Share(n, _) | Self::Runs(n, ..) => Some(*n as f64),
            Self::Signs(signs) => signs.map(|signs| signs[0] as f64),
            Self::Times(epochs) => epochs.first().map(|epoch| *epoch as f64),
            Self::Told { number, .. } => number.map(|n| n as f64),
            Self::Claimed { value, .. } => *value,
            Self::Count(n) => Some(*n as f64),
            Self::Number(x, _) | Self::Plain(x, _) | Self::Scientific(x) | Self::P(x) => *x,
            Self::Estimate(e, _) => e.summary.map(|s| s.mean),
            Self::Difference(d, ..) => d.map(|d| d.mean),
            Self::Interval(bounds, _) => bounds.map(|(low, _)| low),
        }
    }

    /// Whether nothing is there where a number is expected.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Text(_)
            | Self::Id(..)
            | Self::Told { .. }
            | Self::Claimed { .. }
            | Self::Label(Some(_)) => false,
            other => other.sort_key().is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary;

    #[test]
    fn shown() {
        let check = |value: Value, expected: &str| assert_eq!(value.to_string(), expected);
        let of = |x: &[f64], planned, unit| Value::Estimate(Estimate { summary: summary(x), planned }, unit);
        check(of(&[0.8, 0.82], 2, Unit::Percent), "81.00 ± 1.41");
        check(of(&[0.81], 2, Unit::Percent), "81.00 (1/2)");
        check(of(&[], 2, Unit::Percent), "– (0/2)");
        check(of(&[0.81], 1, Unit::Score), "0.810");
        check(of(&[0.8, 0.82], 6, Unit::Score), "0.810 ± 0.014 (2/6)");
        check(of(&[-0.8], 1, Unit::Points), "−80.00");
        check(Value::Number(Some(-0.000_01), Unit::Nats), "0.000");
        check(Value::Number(None, Unit::Nats), "–");
        check(Value::Number(Some(-1.234_5e32), Unit::Nats), "−1.23e32");
        check(Value::P(Some(0.031_25)), "0.031");
        check(Value::P(Some(1e-6)), "< 0.001");
        let d = Difference { mean: 0.0123, interval: Some((-0.004, 0.0286)), n: 6 };
        check(Value::Difference(Some(d), Unit::Points, 6), "+1.23 [−0.40, +2.86]");
        check(
            Value::Difference(Some(Difference { interval: None, n: 1, ..d }), Unit::Points, 2),
            "+1.23 (1/2)",
        );
        check(Value::Difference(None, Unit::Points, 2), "– (0/2)");
        check(Value::Times(vec![3, 5, 5]), "3, 5 (2×)");
        check(Value::Times(Vec::new()), "");
        check(Value::Runs(2, 3, 0), "2/3");
        check(Value::Runs(2, 3, 1), "2/3, 1 diverged");
        check(Value::Signs(Some([4, 0, 2])), "4/0/2");
        check(Value::Scientific(Some(0.05)), "5.000e-2");
    }
}
