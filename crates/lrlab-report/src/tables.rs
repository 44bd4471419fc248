//! The report's tables.

mod cells;
mod comparison;
mod cost;
mod decision;
mod profile;
mod result;
mod runs;
mod search;
mod verdict;

pub(crate) use cost::{remaining, seconds, total};
pub(crate) use result::{brief, progress};
pub(crate) use runs::{curves, own_names};

use crate::{Report, Table};

/// Makes a table of a report; `None` if the report has nothing to show in it.
type Make = fn(&Report) -> Option<Table>;

/// The tables by name, in display order.
const ALL: [(&str, Make); 13] = [
    ("results", |report| Some(result::results(report))),
    ("search", search::winners),
    ("trials", search::trials),
    ("claims", verdict::claims),
    ("differences", comparison::differences),
    ("methods", profile::profiles),
    ("decisions", decision::decisions),
    ("cost", |report| Some(cost::cost(report))),
    ("final", |report| Some(result::last(report))),
    ("best", |report| Some(result::best(report))),
    ("comparisons", comparison::comparisons),
    ("decision-log", decision::log),
    ("runs", |report| Some(runs::runs(report))),
];

/// Every table of a report, in display order.
#[must_use]
pub fn tables(report: &Report) -> Vec<Table> {
    each(report).collect()
}

/// Every table of a report, in display order, made one at a time: tables of many rows are large.
pub(crate) fn each(report: &Report) -> impl Iterator<Item = Table> {
    ALL.iter().filter_map(|(_, make)| make(report))
}

/// The table of this name, if the report has it.
pub(crate) fn table(report: &Report, name: &str) -> Option<Table> {
    ALL.iter().find(|(known, _)| *known == name).and_then(|(_, make)| make(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArmSearch;

    /// Tables are found by the name that they have.
    #[test]
    fn names() {
        let search = ArmSearch {
            cell: lrlab_runs::Cell::new(),
            metric: "val_accuracy".to_owned(),
            stages: Vec::new(),
            trials: Vec::new(),
            winner: None,
            over: true,
            epochs: 0,
            full_epochs: 0,
        };
        let report = Report { searches: vec![search], ..Report::default() };
        let made: Vec<&str> = tables(&report).iter().map(|table| table.name).collect();
        assert_eq!(made, ["results", "search", "trials", "cost", "final", "best", "runs"]);
        for name in made {
            assert_eq!(table(&report, name).map(|table| table.name), Some(name));
        }
    }
}
