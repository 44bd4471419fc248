//! ResNet, LSTM, Transformer and bag-of-embeddings classifiers for candle, with seeded initialisation.

mod model;

pub use model::{Input, Mode, Model};
