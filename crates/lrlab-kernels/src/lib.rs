//! Fast training operators for candle, the parameter store and the allocator.

mod params;

pub use params::{Param, Params, Role};
