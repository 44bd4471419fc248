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

/// Every table of a report, in display order.
#[must_use]
pub fn tables(report: &Report) -> Vec<Table> {
    let mut out = vec![result::results(report)];
    out.extend(search::searches(report));
    out.extend(verdict::claims(report));
    out.extend(comparison::differences(report));
    out.extend(profile::profiles(report));
    out.extend(decision::decisions(report));
    out.push(cost::cost(report));
    out.push(result::last(report));
    out.push(result::best(report));
    out.extend(comparison::comparisons(report));
    out.extend(decision::log(report));
    out.push(runs::runs(report));
    out
}
