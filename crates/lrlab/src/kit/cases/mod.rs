//! Every public operator of `lrlab-kernels`, on the shapes of networks and on irregular shapes.

mod dims;
mod encoder;
mod lstm;
mod net;
mod pictures;
mod pointwise;
mod text;
mod update;

use super::compare::Case;

/// Returns all cases, grouped by operator.
pub(super) fn all() -> Vec<Case> {
    let mut all = pictures::cases();
    all.extend(net::cases());
    all.extend(pointwise::cases());
    all.extend(text::cases());
    all.extend(lstm::cases());
    all.extend(encoder::cases());
    all.extend(update::cases());
    all
}

/// Returns a small case of each operator for the NaN check.
pub(super) fn for_nan() -> Vec<Case> {
    let mut all = pictures::for_nan();
    all.extend(net::for_nan());
    all.extend(pointwise::for_nan());
    all.extend(text::for_nan());
    all.extend(lstm::for_nan());
    all.extend(encoder::for_nan());
    all
}
