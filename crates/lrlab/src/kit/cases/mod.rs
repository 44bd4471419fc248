//! Every public operator of `lrlab-kernels`, on shapes that networks have and on shapes that are nobody's favourites.

mod dims;
mod encoder;
mod lstm;
mod net;
mod pictures;
mod pointwise;
mod text;
mod update;

use super::compare::Case;

/// All cases, those of one operator one after the other.
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

/// One small case of each operator for a NaN.
pub(super) fn for_nan() -> Vec<Case> {
    let mut all = pictures::for_nan();
    all.extend(net::for_nan());
    all.extend(pointwise::for_nan());
    all.extend(text::for_nan());
    all.extend(lstm::for_nan());
    all.extend(encoder::for_nan());
    all
}
