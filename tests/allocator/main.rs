//! What an allocator sees: what a request allocates, how much memory is in use, and what memory
//! holds when it is freed. One allocator counts for all tests here, so they take turns.

#![allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only looks")]

mod allocations;
mod memory_use;
#[cfg(all(feature = "file", feature = "encrypted"))]
mod wiped;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    slice,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use tokio::sync::Mutex;

/// One test at a time: what another allocates would be counted with it.
static TURN: Mutex<()> = Mutex::const_new(());

thread_local! {
    /// How often this thread has allocated.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that are in use, and the most since a test last set it.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Whether memory is searched when it is freed, and how often a secret was in it.
static LOOKS: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// What all secrets here have in common.
const SECRET: &[u8] = b"s3cret";

struct Watching;

// SAFETY: every call goes to the system's allocator as it came, and what is read of a block when
// it is freed was zeroed when it was allocated.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        if LOOKS.load(SeqCst) {
            let freed = unsafe { slice::from_raw_parts(memory, layout.size()) };
            if freed.windows(SECRET.len()).any(|bytes| bytes == SECRET) {
                FOUND.fetch_add(1, SeqCst);
            }
        }
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;
