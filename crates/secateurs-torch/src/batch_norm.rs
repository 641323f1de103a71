//! Batch normalization by kernels of our own (shim/batch_norm.cpp).

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use tch::{TchError, Tensor};

/// The functions of the glue, once it is loaded.
pub(crate) static TRAINING: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
pub(crate) static INFERENCE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

type Address = *const c_void;
/// y, x, scale, bias, mean, variance, rate, ε, whether to cut off at 0.
type Training = unsafe extern "C" fn(
    *mut *mut c_void,
    Address,
    Address,
    Address,
    Address,
    Address,
    f64,
    f64,
    bool,
) -> *mut c_char;
/// y, x, scale, bias, mean, variance, ε, whether to cut off at 0.
type Inference = unsafe extern "C" fn(
    *mut *mut c_void,
    Address,
    Address,
    Address,
    Address,
    Address,
    f64,
    bool,
) -> *mut c_char;

/// `x: [positions, channels]`, whose rows lie behind one another, in 32 bits or bfloat16, normalized by its statistics, times scale and plus
/// bias, and cut off at 0 if `relu`; with gradients. `[scale, bias, mean, variance]` are `[channels]` in 32 bits; the last two are running
/// statistics and move in place, the batch having the weight `rate`.
///
/// # Panics
/// Before [`load`](crate::load).
pub fn batch_norm_training(
    x: &Tensor,
    parameters: [&Tensor; 4],
    rate: f64,
    epsilon: f64,
    relu: bool,
) -> Result<Tensor, TchError> {
    let called = loaded(&TRAINING);
    // The signature is that of the source that the glue is compiled from.
    let function = unsafe { std::mem::transmute::<*mut c_void, Training>(called) };
    let [scale, bias, mean, variance] = parameters.map(address);
    answered(|y| unsafe { function(y, address(x), scale, bias, mean, variance, rate, epsilon, relu) })
}

/// [`batch_norm_training`] by the given mean and variance, which stay, without gradients.
///
/// # Panics
/// Before [`load`](crate::load).
pub fn batch_norm_inference(
    x: &Tensor,
    parameters: [&Tensor; 4],
    epsilon: f64,
    relu: bool,
) -> Result<Tensor, TchError> {
    let called = loaded(&INFERENCE);
    // The signature is that of the source that the glue is compiled from.
    let function = unsafe { std::mem::transmute::<*mut c_void, Inference>(called) };
    let [scale, bias, mean, variance] = parameters.map(address);
    answered(|y| unsafe { function(y, address(x), scale, bias, mean, variance, epsilon, relu) })
}

fn address(tensor: &Tensor) -> Address {
    tensor.as_ptr().cast()
}

fn loaded(function: &AtomicPtr<c_void>) -> *mut c_void {
    let called = function.load(Ordering::Relaxed);
    assert!(!called.is_null(), "libtorch is used before secateurs_torch::load()");
    called
}

/// The tensor that a function of the glue made, or what it says went wrong.
fn answered(function: impl FnOnce(*mut *mut c_void) -> *mut c_char) -> Result<Tensor, TchError> {
    let mut y = ptr::null_mut();
    let failed = function(&raw mut y);
    if failed.is_null() {
        return Ok(unsafe { Tensor::from_ptr(y.cast()) });
    }
    let message = unsafe { CStr::from_ptr(failed) }.to_string_lossy().into_owned();
    unsafe { libc::free(failed.cast()) };
    Err(TchError::Torch(message))
}
