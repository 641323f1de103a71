//! Memory a run may take, as a function of its input's size.
//!
//! Asked-for memory is what counts, not what the kernel has handed out: a vector of zeros costs nothing until it is read.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What any run may take: tables of ops, messages, a plan's choices.
const BASE: usize = 32 << 20;
/// For each byte of the input. A byte of a file can be a node or an axis, which take some hundred bytes each.
const PER_BYTE: usize = 2048;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, which refuses what is beyond the limit of the thread's run. What is refused ends the process, and
/// standard error says how much was asked for.
pub struct Limited;

/// Runs `run`, which may take as much memory as an input of this size may.
pub fn limited<T>(input_bytes: usize, run: impl FnOnce() -> T) -> T {
    struct Lift;
    impl Drop for Lift {
        fn drop(&mut self) {
            LIMIT.set(usize::MAX);
        }
    }
    let _lift = Lift;
    LIMIT.set(LIVE.get().saturating_add(BASE + PER_BYTE * input_bytes));
    run()
}

fn taken(bytes: usize) -> bool {
    let live = LIVE.get().saturating_add(bytes);
    // A panic has to be told.
    if live > LIMIT.get() && !std::thread::panicking() {
        LIMIT.set(usize::MAX);
        eprintln!("outsize allocation: {bytes} bytes are asked for, which makes {live} in use");
        return false;
    }
    LIVE.set(live);
    true
}

fn given(bytes: usize) {
    // What another thread took may be given back here.
    LIVE.set(LIVE.get().saturating_sub(bytes));
}

// SAFETY: every call is the system's with the same arguments, or returns null, which the trait allows.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match taken(layout.size()) {
            true => unsafe { System.alloc(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match taken(layout.size()) {
            true => unsafe { System.alloc_zeroed(layout) },
            false => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !taken(size) {
            return std::ptr::null_mut();
        }
        given(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}
