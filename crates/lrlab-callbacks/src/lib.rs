//! Training callbacks: they watch a run and decide; the host acts.
//!
//! Fixed phases, not list order: at every event all callbacks *measure*, then all *control*, then all
//! *snapshot*, then all *report*, so a checkpoint always holds the state after control.

mod callback;

pub use callback::{Action, Averaging, Callback, Context, Error, Host, Moment, Phase};
