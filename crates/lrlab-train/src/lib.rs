//! The training loop, written out in one function.
