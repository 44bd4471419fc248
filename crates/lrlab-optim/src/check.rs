//! Checks of constants and groups.

use candle_core::{Result, bail};

pub(crate) fn in_range(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) { Ok(()) } else { bail!("{name} is {value}, expected {low} … {high}") }
}

/// Checks a factor by which a step shrinks a moment: in [0, 1).
pub(crate) fn decay(name: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    bail!("{name} is {value}, expected 0 or more and below 1")
}

/// Returns an error if a rule without groups gets the name of a group.
pub(crate) fn reject_group(group: &str) -> Result<()> {
    if group.is_empty() { Ok(()) } else { bail!("there is no group {group:?}: this rule has no groups") }
}
