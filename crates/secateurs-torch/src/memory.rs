//! What the C library does with freed memory.

/// Keeps freed memory in the process instead of giving it back to the kernel after every op.
///
/// libtorch allocates a block for each result and frees it soon after. glibc maps blocks above 128 KiB afresh each time and
/// the kernel zeroes their pages on first touch, which costs up to ten times the op itself (`cargo bench -p
/// secateurs-torch` shows it). A program calls this once at its start; a library that others import, such as a
/// Python module, must not change the host's allocator. Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        const GIB: i32 = 1 << 30;
        const MIB: i32 = 1 << 20;
        // glibc before 2.35 refuses a threshold above 32 MiB and keeps the old value.
        if unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, GIB) } == 0 {
            unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * MIB) };
        }
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) };
        // The heap grows by this much at least, so that growing it is rare.
        unsafe { libc::mallopt(libc::M_TOP_PAD, 64 * MIB) };
    }
}
