//! The global allocator: mimalloc, configured to keep its pages.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait, and mimalloc's options are C")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

use mimalloc::MiMalloc;

// Numbers of `mi_option_e` in mimalloc 3, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
const ARENA_MAX_OBJECT_SIZE: libmimalloc_sys::mi_option_t = 45;

/// mimalloc that never gives pages back to the system while the program runs.
///
/// Each training step allocates and frees the same large tensors. Where fresh pages are expensive (on a
/// virtual machine), giving them back after each step costs more than the arithmetic. In return, the process keeps its peak
/// memory.
///
/// Measured on a busy two-core virtual machine: a copy of 256 MB into fresh pages ran at 0.4 to 0.9 GB/s, into kept
/// pages at 7 to 10 GB/s.
///
/// ```
/// use lrlab_kernels::alloc::Allocator;
///
/// #[global_allocator]
/// static ALLOCATOR: Allocator = Allocator::keeping_pages();
/// # fn main() { assert_eq!(vec![1.0_f32; 1 << 20].len(), 1 << 20); }
/// ```
#[derive(Debug)]
pub struct Allocator {
    configured: AtomicBool,
}

/// The type of the allocator a program installs.
pub type GlobalAllocator = Allocator;

impl Allocator {
    /// For a `#[global_allocator]` static.
    #[must_use]
    pub const fn keeping_pages() -> Self {
        Self { configured: AtomicBool::new(false) }
    }

    #[inline]
    fn configure(&self) {
        if !self.configured.load(Ordering::Relaxed) {
            configure_once(&self.configured);
        }
    }
}

#[cold]
fn configure_once(configured: &AtomicBool) {
    if configured.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: setting an option is a plain store in mimalloc's table, allowed at any time from any thread.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
        // In KiB: objects up to 64 GiB come from arenas, which are kept, instead of from the system.
        libmimalloc_sys::mi_option_set(ARENA_MAX_OBJECT_SIZE, 64 << 20);
    }
}

// SAFETY: every call is handed to mimalloc, which is a correct allocator.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.configure();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.configure();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from this allocator, that is from mimalloc.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `ptr` came from this allocator, that is from mimalloc.
        unsafe { MiMalloc.realloc(ptr, layout, size) }
    }
}
