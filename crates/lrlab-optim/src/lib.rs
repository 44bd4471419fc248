//! SGD, Adam and AdamW for candle with the rate as an argument, clipping and weight averaging.

mod optimizer;

pub use optimizer::Optimizer;
