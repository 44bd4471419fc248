//! Loads CIFAR-10, IMDB, data sets of the Hugging Face hub, custom and synthetic data sets, splits them and makes batches.
//!
//! [`load`] turns a [`DataConfig`] into a [`Dataset`]: three [`Split`]s, the digest of the content, and notes for readers
//! of results (a lossy copy, duplicates, an unknown file). A split makes [`Batches`] on the CPU; the training loop moves
//! tensors to a device. Every random choice (split, order, augmentation) is a function of a seed, so two runs with the same
//! seed see the same batches. Errors in files name the file and the row.
//!
//! ```
//! use lrlab_data::{BatchPlan, DataConfig, Features, Order, Source, SyntheticPictures, load};
//!
//! # fn main() -> Result<(), lrlab_data::Error> {
//! # let cache = std::env::temp_dir().join("lrlab-data-doc");
//! let pictures = SyntheticPictures { train: 100, test: 20, ..SyntheticPictures::default() };
//! let data = load(&DataConfig::new(Source::SyntheticPictures(pictures), cache))?;
//! assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (80, 20, 20));
//!
//! let plan = BatchPlan::new(32, Order::Shuffled { seed: 0, epoch: 0 });
//! for batch in data.train.batches(plan) {
//!     let batch = batch?;
//!     let Features::Pictures(pictures) = &batch.features else { unreachable!() };
//!     assert_eq!(pictures.dims()[1..], [3, 16, 16]); // (batch, channels, height, width), normalised
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod cache;
mod catalog;
mod collector;
mod config;
mod dataset;
mod digest;
mod error;
mod files;
mod load;
mod memory;
mod pictures;
mod pixels;
mod row_file;
mod split;
mod synthetic;
mod tokens;
#[cfg(feature = "candle-datasets")]
mod vision;

pub use batch::{Batch, BatchPlan, Batches, Examples, Features, Order, Prefetch, Raw, Recipe, Recipes, View};
pub use catalog::{Card, FolderFiles, Generator, HubFiles, KnownFile, Part, Variant, catalog};
pub use config::DataConfig;
pub use dataset::{Dataset, Duplicates, Kind, Split};
pub use digest::{DatasetIdentity, FileIdentity};
pub use error::{Cause, Error};
pub use files::{Fetched, Progress};
pub use load::{Verified, digest, fetch, load, local_digest, verify};
pub use lrlab_config::{
    AugmentConfig, Files, HubPictures, HubTexts, Keep, Limit, Source, SyntheticPictures, SyntheticReviews,
    TokenConfig, TokenizerKind, Validation, ValidationSplit,
};
pub use memory::{InMemory, Labelled};
