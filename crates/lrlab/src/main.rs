//! The runner: see `lrlab --help`.

fn main() {}
