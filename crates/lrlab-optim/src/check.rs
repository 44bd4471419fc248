//! The ranges of constants.

use candle_core::{Result, bail};

pub(crate) fn in_range(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) { Ok(()) } else { bail!("{name} {value} is not in {low} … {high}") }
}
