//! A target as libFuzzer runs it: most mutations are made in the decoded model, some by libFuzzer.

pub use libfuzzer_sys;
use secateurs_fuzz::mutate::mutate;

/// One in so many mutations is libFuzzer's own.
const OWN: u32 = 8;

/// Changes `data[..size]` in place; returns the new size, at most `max_size`.
pub fn change(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed.is_multiple_of(OWN) {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    put(mutate(&data[..size], None, seed.into()), data, max_size).unwrap_or(size)
}

/// Puts a part of `b` into `a`.
pub fn cross(a: &[u8], b: &[u8], out: &mut [u8], seed: u32) -> usize {
    let max_size = out.len();
    put(mutate(a, Some(b), seed.into()), out, max_size).unwrap_or(0)
}

fn put(made: Vec<u8>, data: &mut [u8], max_size: usize) -> Option<usize> {
    let fits = made.len() <= max_size.min(data.len());
    fits.then(|| {
        data[..made.len()].copy_from_slice(&made);
        made.len()
    })
}

/// The entry points of a target.
#[macro_export]
macro_rules! fuzz {
    ($target:path) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $target(data));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::change(data, size, max_size, seed)
        });
        libfuzzer_sys::fuzz_crossover!(|a: &[u8], b: &[u8], out: &mut [u8], seed: u32| {
            $crate::cross(a, b, out, seed)
        });
    };
}
