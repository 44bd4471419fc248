//! Tables as values, rendered as CSV, LaTeX, Markdown, HTML and text.

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

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// File name without extension, and anchor on the page.
    pub name: &'static str,
    /// The heading.
    pub title: String,
    /// The caption, which defines the quantities.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Whether the page shows the table folded.
    pub long: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in the manifest.
    pub key: String,
    /// Names in CSV files, one for each field of a cell.
    pub fields: Vec<String>,
    /// Display name.
    pub title: String,
    /// Second line of the display name: point in training, unit.
    pub detail: String,
    /// Whether the column contains numbers, which are right-aligned.
    pub numeric: bool,
    /// Whether all rows have the same value. Only CSV files contain constant columns.
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

    /// A column of means and standard deviations over runs.
    pub(crate) fn estimate(key: &str, title: &str, detail: &str) -> Self {
        Self::number(key, title, detail).suffixed(&["mean", "std", "n"])
    }

    /// Sets the names of the fields in CSV files, for cells with several fields.
    pub(crate) fn fields(self, names: &[&str]) -> Self {
        Self { fields: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// Sets the names of the fields to the column's key with these suffixes.
    pub(crate) fn suffixed(self, names: &[&str]) -> Self {
        Self { fields: names.iter().map(|name| format!("{}_{name}", self.key)).collect(), ..self }
    }

    /// The display name in one line.
    pub(crate) fn heading(&self) -> String {
        if self.detail.is_empty() { self.title.clone() } else { format!("{} ({})", self.title, self.detail) }
    }
}

impl Table {
    /// Returns whether the table is written as LaTeX: a float is limited to a page.
    pub(crate) fn fits_latex(&self) -> bool {
        self.rows.len() <= 60
    }

    /// The columns that are not constant, with their indices.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| !column.constant)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One cell per column.
    pub cells: Vec<TableCell>,
    /// Whether the row starts a block (another model, data set or budget) and has a rule above it.
    pub rule: bool,
    /// The target of the row's link on the page.
    pub link: Option<Link>,
}

/// The subject of a row.
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
    /// The value.
    pub value: Value,
    /// Whether the value is set in bold, such as the best of its block.
    pub bold: bool,
    /// The runs from which a number is computed; the cells of a row may share them.
    pub runs: Arc<[RunId]>,
}

impl From<Value> for TableCell {
    fn from(value: Value) -> Self {
        Self { value, bold: false, runs: Arc::default() }
    }
}

/// The value of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A run id or digest in hexadecimal, and the number of digits to display.
    Id(String, usize),
    /// A coordinate; `None` if there is none.
    Label(Option<String>),
    /// A number out of a total, such as finished runs or pairs.
    Share(usize, usize),
    /// The numbers of done, planned and diverged runs of an arm.
    Runs(usize, usize, usize),
    /// The numbers of positive, zero and negative differences.
    Signs(Option<[usize; 3]>),
    /// Epochs in ascending order, with repetitions.
    Times(Vec<u64>),
    /// A word with an integer, such as an outcome and its epoch.
    Tagged {
        /// The display form.
        shown: String,
        /// The integer, if there is one.
        number: Option<u64>,
        /// The word.
        word: &'static str,
    },
    /// The condition of a claim.
    Claimed(Box<Claimed>),
    /// An integer.
    Count(u64),
    /// A number with the decimals of its unit; `None` if missing.
    Number(Option<f64>, Unit),
    /// A number with the given number of decimals; `None` if missing.
    Plain(Option<f64>, usize),
    /// A metric of a diverged run, which has no value.
    Diverged,
    /// A number in scientific notation; `None` if missing.
    Scientific(Option<f64>),
    /// Mean ± standard deviation.
    Estimate(Estimate, Unit),
    /// A mean difference with its interval, and the number of planned pairs.
    Difference(Option<Difference>, Unit, usize),
    /// The bounds of an interval.
    Interval(Option<(f64, f64)>, Unit),
    /// A p-value.
    P(Option<f64>),
}

/// The condition of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The display form.
    pub shown: String,
    /// `within`, `>=`, `>`, `<=` or `<`; empty if the claim is unreadable.
    pub compare: &'static str,
    /// The claimed number.
    pub value: Option<f64>,
    /// The tolerance around it.
    pub tolerance: Option<f64>,
    /// The coordinates of the reference arm; empty if the claim compares with a number alone.
    pub than: String,
}

/// A mean difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Arm minus baseline.
    pub mean: f64,
    /// The interval; `None` for fewer than two pairs.
    pub interval: Option<(f64, f64)>,
    /// The number of pairs.
    pub n: usize,
}

/// The placeholder for a missing value.
pub(crate) const MISSING: &str = "–";

fn scaled(x: f64, unit: Unit) -> String {
    fixed(x * unit.factor(), unit.digits())
}

/// Formats with fixed decimals, a typographic minus sign and no minus before zero; from 10⁸, in scientific notation.
pub(crate) fn fixed(x: f64, digits: usize) -> String {
    let text = if x.abs() < 1e8 { format!("{x:.digits$}") } else { format!("{x:.2e}") };
    match text.strip_prefix('-') {
        Some(rest) if is_zero(rest) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// As [`fixed`], with a plus sign before positive numbers.
pub(crate) fn signed(x: f64, digits: usize) -> String {
    let text = fixed(x, digits);
    if text.starts_with('−') || is_zero(&text) { text } else { format!("+{text}") }
}

/// As [`signed`], for a limit of an interval. A limit that rounds to zero keeps its sign, which says whether the interval
/// contains zero.
pub(crate) fn limit(x: f64, digits: usize) -> String {
    let text = signed(x, digits);
    match x {
        x if x < 0.0 && is_zero(&text) => format!("−{text}"),
        x if x > 0.0 && is_zero(&text) => format!("+{text}"),
        _ => text,
    }
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0' | b'.'))
}

/// "p = 0.047" or "p < 0.001".
pub(crate) fn p_value(p: f64) -> String {
    let shown = Value::P(Some(p)).to_string();
    if shown.starts_with('<') { format!("p {shown}") } else { format!("p = {shown}") }
}

fn difference(x: f64, unit: Unit) -> String {
    signed(x * unit.factor(), unit.digits())
}

fn interval((low, high): (f64, f64), unit: Unit) -> String {
    let [low, high] = [low, high].map(|x| limit(x * unit.factor(), unit.digits()));
    format!("[{low}, {high}]")
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
            Self::Tagged { shown, .. } => f.write_str(shown),
            Self::Claimed(claimed) => f.write_str(&claimed.shown),
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
                None => write!(f, "{MISSING}{}", count(0, e.planned)),
                Some(s) => {
                    f.write_str(&scaled(s.mean, *unit))?;
                    if let Some(std) = s.std {
                        write!(f, " ± {}", scaled(std, *unit))?;
                    }
                    f.write_str(&count(s.n, e.planned))
                }
            },
            Self::Difference(None, _, planned) => write!(f, "{MISSING}{}", count(0, *planned)),
            Self::Difference(Some(d), unit, planned) => {
                f.write_str(&difference(d.mean, *unit))?;
                if let Some(limits) = d.interval {
                    write!(f, " {}", interval(limits, *unit))?;
                }
                f.write_str(&count(d.n, *planned))
            }
            Self::Interval(Some((low, high)), unit) => f.write_str(&interval((*low, *high), *unit)),
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
    /// The number that represents the value in the manifest.
    pub(crate) fn sort_key(&self) -> Option<f64> {
        match self {
            Self::Text(_) | Self::Id(..) | Self::Label(_) | Self::Diverged => None,
            Self::Share(n, _) | Self::Runs(n, ..) => Some(*n as f64),
            Self::Signs(signs) => signs.map(|signs| signs[0] as f64),
            Self::Times(epochs) => epochs.first().map(|epoch| *epoch as f64),
            Self::Tagged { number, .. } => number.map(|n| n as f64),
            Self::Claimed(claimed) => claimed.value,
            Self::Count(n) => Some(*n as f64),
            Self::Number(x, _) | Self::Plain(x, _) | Self::Scientific(x) | Self::P(x) => *x,
            Self::Estimate(e, _) => e.summary.map(|s| s.mean),
            Self::Difference(d, ..) => d.map(|d| d.mean),
            Self::Interval(bounds, _) => bounds.map(|(low, _)| low),
        }
    }

    /// Returns whether the value is missing.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Text(_) | Self::Id(..) | Self::Tagged { .. } | Self::Claimed(_) | Self::Label(Some(_)) => {
                false
            }
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
        let near = Difference { mean: -0.000_01, interval: Some((-0.000_02, 0.000_01)), n: 6 };
        check(Value::Difference(Some(near), Unit::Points, 6), "0.00 [−0.00, +0.00]");
        let same = Difference { mean: 0.0, interval: Some((0.0, 0.0)), n: 6 };
        check(Value::Difference(Some(same), Unit::Points, 6), "0.00 [0.00, 0.00]");
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
