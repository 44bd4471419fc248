//! The runner: see `lrlab --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: lrlab_kernels::alloc::Allocator = lrlab_kernels::alloc::Allocator::keeping_pages();

fn main() -> ExitCode {
    lrlab::cli(&lrlab::Registry::default())
}
