//! Batch normalization by kernels of our own (shim/batch_norm.cpp).

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use tch::{TchError, Tensor};

/// The function of the glue, once it is loaded.
pub(crate) static NORMALIZE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Address = *const c_void;
/// y, x, scale, bias, mean, variance, rate or null, ε, whether to cut off at 0.
type Normalize = unsafe extern "C" fn(
    *mut *mut c_void,
    Address,
    Address,
    Address,
    Address,
    Address,
    *const f64,
    f64,
    bool,
) -> *mut c_char;

/// `x: [positions, channels]`, whose rows lie behind one another, in 32 bits or bfloat16, normalized, times scale and plus bias, and cut off
/// at 0 if `relu`. `[scale, bias, mean, variance]` are `[channels]` in 32 bits.
///
/// With a `rate` by the statistics of the batch and with gradients; mean and variance are running ones and move in place, the batch having
/// that weight. Without one by the given mean and variance, which stay, and without gradients.
///
/// # Panics
/// Before [`load`](crate::load).
pub fn batch_norm(
    x: &Tensor,
    parameters: [&Tensor; 4],
    rate: Option<f64>,
    epsilon: f64,
    relu: bool,
) -> Result<Tensor, TchError> {
    let called = NORMALIZE.load(Ordering::Relaxed);
    assert!(!called.is_null(), "libtorch is used before secateurs_torch::load()");
    // The signature is that of the source that the glue is compiled from.
    let function = unsafe { std::mem::transmute::<*mut c_void, Normalize>(called) };
    let address = |tensor: &Tensor| -> Address { tensor.as_ptr().cast() };
    let [scale, bias, mean, variance] = parameters.map(address);
    let rate = rate.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mut y = ptr::null_mut();
    let failed =
        unsafe { function(&raw mut y, address(x), scale, bias, mean, variance, rate, epsilon, relu) };
    if failed.is_null() {
        return Ok(unsafe { Tensor::from_ptr(y.cast()) });
    }
    let message = unsafe { CStr::from_ptr(failed) }.to_string_lossy().into_owned();
    unsafe { libc::free(failed.cast()) };
    Err(TchError::Torch(message))
}
