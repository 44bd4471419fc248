//! The ranges of constants, and where they are set.

use candle_core::{Result, bail};

pub(crate) fn in_range(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) { Ok(()) } else { bail!("{name} {value} is not in {low} … {high}") }
}

/// Refuses the name of a group where there are none.
pub(crate) fn whole(group: &str) -> Result<()> {
    if group.is_empty() { Ok(()) } else { bail!("there is no group {group:?}: this rule has no groups") }
}
