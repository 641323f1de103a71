//! The functions of torch-sys, each a jump through [`table`].

use std::ffi::c_void;
use std::sync::atomic::AtomicPtr;

const SYMBOLS: &str = include_str!("../symbols.txt");

const COUNT: usize = {
    let bytes = SYMBOLS.as_bytes();
    let (mut count, mut i) = (0, 0);
    while i < bytes.len() {
        count += (bytes[i] == b'\n') as usize;
        i += 1;
    }
    count
};

std::arch::global_asm!(include_str!(concat!(env!("OUT_DIR"), "/trampolines.s")), unloaded = sym unloaded);

unsafe extern "C" {
    static secateurs_torch_table: [AtomicPtr<c_void>; COUNT];
}

/// Puts the object that holds the trampolines on the linker's command line in every program, wherever its
/// calls come from.
#[used]
static KEEP: &[AtomicPtr<c_void>; COUNT] = unsafe { &secateurs_torch_table };

/// What every function is before `load`.
extern "C" fn unloaded() -> ! {
    eprintln!("libtorch is used before secateurs_torch::load()");
    std::process::abort();
}

/// The names of the functions with their slots.
pub(crate) fn slots() -> impl Iterator<Item = (&'static str, &'static AtomicPtr<c_void>)> {
    SYMBOLS.lines().zip(KEEP)
}
