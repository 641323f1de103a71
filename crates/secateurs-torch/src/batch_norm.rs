//! Batch normalization by the statistics of the batch, by a kernel of our own (shim/batch_norm.cpp).

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use tch::{TchError, Tensor};

/// The function of the glue, once it is loaded.
pub(crate) static CALLED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Function = unsafe extern "C" fn(
    y: *mut *mut c_void,
    x: *const c_void,
    scale: *const c_void,
    bias: *const c_void,
    mean: *const c_void,
    variance: *const c_void,
    rate: f64,
    epsilon: f64,
    relu: bool,
) -> *mut c_char;

/// `x: [positions, channels]`, whose rows lie behind one another, in 32 bits or bfloat16, normalized by its statistics, times scale and plus
/// bias, and cut off at 0 if `relu`; with gradients. `[scale, bias, mean, variance]` are `[channels]` in 32 bits; the last two are running
/// statistics and move in place, the batch having the weight `rate`.
///
/// # Panics
/// Before [`load`](crate::load).
pub fn batch_norm(
    x: &Tensor,
    [scale, bias, mean, variance]: [&Tensor; 4],
    rate: f64,
    epsilon: f64,
    relu: bool,
) -> Result<Tensor, TchError> {
    let called = CALLED.load(Ordering::Relaxed);
    assert!(!called.is_null(), "libtorch is used before secateurs_torch::load()");
    // The signature is that of the source that the glue is compiled from.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(called) };
    let [x, scale, bias, mean, variance] =
        [x, scale, bias, mean, variance].map(|tensor| tensor.as_ptr().cast::<c_void>());
    let mut y = ptr::null_mut();
    let failed = unsafe { function(&raw mut y, x, scale, bias, mean, variance, rate, epsilon, relu) };
    if failed.is_null() {
        return Ok(unsafe { Tensor::from_ptr(y.cast()) });
    }
    let message = unsafe { CStr::from_ptr(failed) }.to_string_lossy().into_owned();
    unsafe { libc::free(failed.cast()) };
    Err(TchError::Torch(message))
}
