//! Discrete Fourier transforms: what `DFT` and `STFT` share. A real signal's last axis has one entry, a complex one's two.

use secateurs_torch::tch::{Kind, Tensor};

use crate::op::OpError;

/// A signal without its last axis, complex if it has two entries. libtorch transforms 32 and 64 bits only.
pub(in crate::ops) fn signal(x: &Tensor) -> Result<Tensor, OpError> {
    let x = match x.f_kind()? {
        Kind::Half | Kind::BFloat16 => x.f_to_kind(Kind::Float)?,
        _ => x.shallow_clone(),
    };
    match x.size().last() {
        Some(1) => Ok(x.f_squeeze_dim(-1)?),
        Some(2) => Ok(x.f_contiguous()?.f_view_as_complex()?),
        _ => Err(OpError::invalid("the last axis of a signal has 1 entry (real) or 2 (complex)")),
    }
}

/// The transform along an axis of so many entries, as real and imaginary part on a last axis; one-sided: the first half and one.
pub(in crate::ops) fn transform(
    x: &Tensor,
    length: i64,
    axis: i64,
    onesided: bool,
) -> Result<Tensor, OpError> {
    let y = match onesided {
        true if x.f_is_complex()? => {
            return Err(OpError::invalid("a one-sided transform needs a real signal"));
        }
        true => x.f_fft_rfft(Some(length), axis, "backward")?,
        false => x.f_fft_fft(Some(length), axis, "backward")?,
    };
    Ok(y.f_view_as_real()?.f_contiguous()?)
}
